"""Chapter: the hospital that keeps a record tries to read it without the others."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace

from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.sealing import SealingKey
from cipherward_client.demo.cast import Case, Cast
from cipherward_client.demo.report import size
from cipherward_client.demo.searching import search
from cipherward_client.demo.staff import Staff
from cipherward_client.demo.teller import word
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.consents import ConsentTerms, grant_consent
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.proven_orders import orders_of
from cipherward_client.sdk.records import ask_to_open
from cipherward_client.sdk.release_orders import Release, release_of
from cipherward_client.sdk.releases import KeyRelease

HOUR_SECONDS = 3600


async def alone(cast: Cast, case: Case, reader: Staff) -> None:
    """Tell the chapter; a clinician with a consent is the thief's best helper.

    The parts that the custodian and the guardians made for the clinician's order are the real ones;
    the thief gets the custodian's, and its own share, and as many others as one too few.
    """
    teller, threshold = cast.teller, cast.threshold
    teller.chapter("The hospital that keeps a record tries to read it alone")
    released = await _released(cast, case, reader)
    release = released.release
    attempts = [
        await released.opened_with(cast.alliance, helpers)
        for helpers in (0, threshold - 2, threshold - 1)
    ]
    alone_says, few_say, enough_say = (attempt.outcome for attempt in attempts)
    teller.say(
        f"{release.custodian} has its part of the key and a share of its own: {alone_says}. With "
        f"{word(threshold - 2)} of the others: {few_say}. With {word(threshold - 1)}, as a consent "
        f"orders it: {enough_say}."
    )
    folder = cast.folder / release.custodian
    searched, found = await asyncio.to_thread(search, [folder], [attempts[-1].key])
    teller.say(
        f"Everything on the disks of {release.custodian}, databases and keys, {size(searched)}, is "
        f"searched for the record's key: {found} found."
    )
    cast.report.check(
        "the hospital that keeps a record cannot open it alone",
        (alone_says, few_say, enough_say) == ("SHARES_MISSING", "SHARES_MISSING", "opened")
        and searched > 0
        and not found
        and len(attempts[-1].key) > 0,
        f"alone {alone_says}; +{threshold - 2} {few_say}; +{threshold - 1} {enough_say}",
    )


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What came of trying to open: `opened` and the record's key, or why not and nothing."""

    outcome: str
    key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class _Released:
    """A record that is released to a clinician, whose one-time key opens every part of it."""

    release: Release
    signer: PseudonymSigner
    key: SealingKey

    async def opened_with(self, alliance: Alliance, helpers: int) -> _Attempt:
        """Try to open with the custodian's parts and those of so many other guardians."""
        custodian = self.release.custodian
        others = [member for member in self.release.guardians if member != custodian]
        some = replace(self.release, guardians=(custodian, *others[:helpers]))
        try:
            found = await KeyRelease(alliance, some, self.signer, self.key).fetch()
        except ClientError as refusal:
            return _Attempt(refusal.reason)
        return _Attempt("opened", found.key)


async def _released(cast: Cast, case: Case, reader: Staff) -> _Released:
    """Let the clinician have the record released."""
    terms = ConsentTerms(
        case.record.record_id, reader.member, int(time.time()) + HOUR_SECONDS, visits_max=1
    )
    given = await grant_consent(cast.alliance, case.wallet, terms)
    key = await asyncio.to_thread(SealingKey.generate)
    asked = await ask_to_open(
        cast.alliance, reader.wallet, case.record.record_id, given.grant_id, key
    )
    cast.acts += [given.act, asked.act]
    orders = await orders_of(cast.alliance, asked.act)
    record_id = case.record.record_id
    release = release_of(orders, record_id, asked.signer.public_key, key.public_key)
    return _Released(release, asked.signer, key)
