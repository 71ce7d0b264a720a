"""Chapter: every record is sealed, stored, owned by its patient, and anchored on the chain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cipherward_client.demo.cast import Case, Cast
from cipherward_client.demo.report import size
from cipherward_client.demo.searching import search
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.many_records import put_records
from cipherward_client.sdk.records import WalletOwner

# Words that stand in every patient's bundle, and in nothing else that the alliance stores.
READABLE = [b'"resourceType"', b"valueQuantity", b"http://loinc.org"]


async def store(cast: Cast) -> None:
    """Tell the chapter."""
    teller, report, total = cast.teller, cast.report, len(cast.cases)
    teller.chapter("Hospitals store what nobody can read")
    teller.explain(
        "Each record is encrypted before it leaves the hospital's own program. The patient's "
        "wallet countersigns: a key that only the wallet can derive owns the record from then on."
    )
    with report.timed("store"), teller.counting("records", total) as told:
        await _store_all(cast, told)
    seconds = report.timings["store"]
    clear = sum(len(case.content) for case in cast.cases)
    sealed = sum(case.record.ciphertext_bytes for case in cast.cases)
    teller.say(
        f"{total} records ({size(clear)}, {size(sealed)} encrypted and padded) are stored and "
        f"anchored in {seconds:.1f} s ({1000 * seconds / total:.0f} ms each)."
    )
    teller.explain(
        "Anchored: the chain holds a fingerprint of the ciphertext and the owner's key, no word "
        "about the patient. Every act gave a receipt, and each was verified on the spot."
    )
    cast.acts.extend(case.record.act for case in cast.cases)
    records = {case.record.record_id for case in cast.cases}
    owned = sum(case.record.record_id in case.wallet.records for case in cast.cases)
    report.check(
        "every record is sealed, stored, owned and anchored",
        len(records) == owned == total,
        f"{len(records)} of {total}, {size(sealed)}",
    )
    folders = [cast.folder / member / "data" for member in cast.hospitals]
    searched, found = await asyncio.to_thread(search, folders, READABLE)
    teller.say(
        f"All that the services have written, {size(searched)}, is searched for words of a record: "
        f"{found} found."
    )
    teller.explain(
        "A record's key has two halves: one is sealed to the hospital that keeps the record, the "
        "other is encrypted under the record key that all of them share. It takes both."
    )
    report.check(
        "no record can be read on any disk",
        searched > sealed and not found,
        f"{found} readable words in {size(searched)}",
    )


async def _store_all(cast: Cast, told: Callable[[int], None]) -> None:
    done = dict.fromkeys(cast.hospitals, 0)

    async def one(member: str, hospital: Hospital) -> None:
        def progress(_stage: str, stored: int, _total: int) -> None:
            done[member] = stored
            told(sum(done.values()))

        cases = cast.cases_of(member)
        records = [(case.content, _owner(cast, case)) for case in cases]
        receipts = await put_records(hospital, records, progress=progress)
        for case, receipt in zip(cases, receipts, strict=True):
            case.stored = receipt

    async with asyncio.TaskGroup() as group:
        for member, hospital in cast.hospitals.items():
            group.create_task(one(member, hospital))


def _owner(cast: Cast, case: Case) -> WalletOwner:
    return WalletOwner(cast.alliance, case.wallet, "my measurements")
