"""Chapter: a consent ends by itself; nobody calls, and the chain does what it was preset to do."""

from __future__ import annotations

import asyncio
import time

from cipherward_client.demo.cast import Case, Cast
from cipherward_client.demo.staff import Staff
from cipherward_client.sdk.consents import Consent, ConsentTerms, grant_consent, show_consent
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.records import get_record

GOOD_SECONDS = 3  # time to open the record once, on a machine with other work
EXPIRED_SECONDS = 20.0
POLL_SECONDS = 0.1


async def expiry(cast: Cast, case: Case, reader: Staff) -> None:
    """Tell the chapter."""
    teller, alliance = cast.teller, cast.alliance
    teller.chapter("A consent ends by itself")
    expires = int(time.time()) + GOOD_SECONDS
    terms = ConsentTerms(case.record.record_id, reader.member, expires)
    given = await grant_consent(alliance, case.wallet, terms)
    cast.acts.append(given.act)
    with cast.report.timed("expiry"):
        ended = await _until_ended(cast, case, given.grant_id)
    late = cast.report.timings["expiry"] - GOOD_SECONDS
    reason = "opened"
    try:
        await get_record(alliance, reader.wallet, case.record.record_id, given.grant_id)
    except ClientError as refusal:
        reason = refusal.reason
    teller.say(
        f"A consent is good for {GOOD_SECONDS} seconds. Nobody does anything; in block "
        f"{ended.changed_height} the contract ends it, and the next read is refused ({reason})."
    )
    cast.report.check(
        "a consent ends by its timer, with nobody calling",
        ended.state == "expired" and reason == "STATE_FORBIDS",
        f"{ended.state} in block {ended.changed_height}, {max(0.0, late):.1f} s late; {reason}",
    )


async def _until_ended(cast: Cast, case: Case, grant_id: bytes) -> Consent:
    """Return the consent once it has ended; asking is a read, and ends nothing."""
    ends = time.monotonic() + EXPIRED_SECONDS
    while True:
        found = await show_consent(cast.alliance, case.wallet, grant_id)
        if found.state != "active" or time.monotonic() > ends:
            return found
        await asyncio.sleep(POLL_SECONDS)
