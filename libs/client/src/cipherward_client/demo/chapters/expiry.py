"""Chapter: a consent ends by itself; nobody calls, and the chain does what it was preset to do.

The consent is given early, so that the story goes on while it is good.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from cipherward_chain.comet import header_time_ns, parse_header
from cipherward_chain.wire import NANOS
from cipherward_client.demo.cast import Case, Cast
from cipherward_client.demo.staff import Staff
from cipherward_client.sdk.consents import Consent, ConsentTerms, grant_consent, show_consent
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.proven_orders import block_at
from cipherward_client.sdk.records import get_record

GOOD_SECONDS = 3  # as long as the chapters take that are told meanwhile
EXPIRED_SECONDS = 20.0
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Brief:
    """A consent that is good for a moment: the patient's, to a clinician, until `expires`."""

    case: Case
    reader: Staff
    grant_id: bytes
    expires: int


async def give_briefly(cast: Cast, case: Case, reader: Staff) -> Brief:
    """Let a patient give the consent, at the end of another chapter."""
    expires = int(time.time()) + GOOD_SECONDS
    terms = ConsentTerms(case.record.record_id, reader.member, expires)
    given = await grant_consent(cast.alliance, case.wallet, terms)
    cast.acts.append(given.act)
    cast.teller.say(
        f"Another patient gives a consent that is good for {GOOD_SECONDS} seconds. The story comes "
        "back to it."
    )
    return Brief(case, reader, given.grant_id, expires)


async def expiry(cast: Cast, brief: Brief) -> None:
    """Tell the chapter."""
    teller, alliance, case = cast.teller, cast.alliance, brief.case
    teller.chapter("A consent ends by itself")
    with cast.report.timed("wait for the expiry"):
        ended = await _until_ended(cast, case, brief.grant_id)
    block = await block_at(alliance, ended.changed_height)
    late = header_time_ns(parse_header(block.header)) / NANOS - brief.expires
    reason = "opened"
    try:
        await get_record(alliance, brief.reader.wallet, case.record.record_id, brief.grant_id)
    except ClientError as refusal:
        reason = refusal.reason
    teller.say(
        f"The consent of {GOOD_SECONDS} seconds: nobody has touched it; in block "
        f"{ended.changed_height} the contract has ended it, and the next read is refused "
        f"({reason})."
    )
    cast.report.check(
        "a consent ends by its timer, with nobody calling",
        ended.state == "expired" and late >= 0 and reason == "STATE_FORBIDS",
        f"{ended.state} in block {ended.changed_height}, {late:.1f} s late; {reason}",
    )


async def _until_ended(cast: Cast, case: Case, grant_id: bytes) -> Consent:
    """Return the consent once it has ended; asking is a read, and ends nothing."""
    ends = time.monotonic() + EXPIRED_SECONDS
    while True:
        found = await show_consent(cast.alliance, case.wallet, grant_id)
        if found.state != "active" or time.monotonic() > ends:
            return found
        await asyncio.sleep(POLL_SECONDS)
