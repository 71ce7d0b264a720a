"""The load that each service is there for, put on a whole alliance until it is done.

Acts through consensus for contract, ledger and node; credentials and presentations for identity;
records for storage; studies and key ceremonies for compute. Everything that comes back is checked.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from bench import study_patients
from bench.consensus import ACTS, IN_FLIGHT, IN_FLIGHT_BATCHED
from bench.load.ledgers import Ledgers
from bench.load.putting import closed_load
from bench.stage import Stage
from bench.study_columns import TEXT
from bench.study_runs import Research
from cipherward_chain.acts import ID_BYTES
from cipherward_client.sdk.consents import ConsentTerms, grant_consent
from cipherward_client.sdk.credentials import register_pseudonym
from cipherward_client.sdk.data_keys import (
    DataKeyRequest,
    propose_data_key,
    show_data_key,
    vote_data_key,
)
from cipherward_client.sdk.records import WalletOwner, get_record, put_record
from cipherward_client.sdk.study_requests import threshold_of
from cipherward_client.wallet.scopes import STAFF, record_scope
from cipherward_client.wallet.wallet import Wallet

Load = Callable[[Stage], Awaitable[None]]

BATCHED_ACTS, SINGLE_ACTS = 20_000, 3_000  # some seconds of full load each
PATIENTS, SHOWN = 24, 4  # of each hospital, and under how many pseudonyms each shows itself
RECORDS = 8  # of each hospital
MIB: Final = 1 << 20
LARGE_BYTES: Final = 64 * MIB  # a record as `record-put` measures it
AT_ONCE: Final = 16  # people and records in all: four of each hospital
FOLLOWED_PATIENTS, SUMMED_PATIENTS = 10_000, 800_000  # 200,000 rows a hospital, as `rows` has
KEY_SECONDS: Final = 240.0  # of its eight steps; 25 s on two idle cores
HOUR_SECONDS: Final = 3_600
ENROLLING: Final = "enrolling"  # the state after the ceremony of a data key


class LoadFailed(Exception):
    """Something came back that is not what was to come."""


async def acts(stage: Stage) -> None:
    """Fill blocks: fifty acts a transaction, and then one."""
    ledgers = Ledgers(stage)
    await closed_load(ledgers, ACTS, BATCHED_ACTS, IN_FLIGHT_BATCHED)
    await closed_load(ledgers, 1, SINGLE_ACTS, IN_FLIGHT)


async def people(stage: Stage) -> None:
    """Let patients get credentials, and show them under pseudonyms that every member verifies."""

    async def come(member: str) -> None:
        wallet = await stage.person(member)
        for _ in range(SHOWN):
            scope = record_scope(secrets.token_bytes(ID_BYTES))
            await register_pseudonym(stage.alliance, wallet, scope)

    await _side_by_side(come(member) for member in stage.hospitals for _ in range(PATIENTS))


async def records(stage: Stage) -> None:
    """Put records of 1 MiB and open them under a consent; then one of 64 MiB at each hospital."""
    members = list(stage.hospitals)
    readers = {
        member: (reader, await stage.person(reader, STAFF, "clinician"))
        for member, reader in zip(members, [*members[1:], members[0]], strict=True)
    }
    await _side_by_side(
        _put_and_opened(stage, member, readers[member], MIB)
        for member in members
        for _ in range(RECORDS)
    )
    for member in members:  # one after the other: this process has each of them in memory thrice
        await _put_and_opened(stage, member, readers[member], LARGE_BYTES)


async def _put_and_opened(stage: Stage, member: str, reader: tuple[str, Wallet], size: int) -> None:
    reading, clinician = reader
    patient, content = await stage.person(member), secrets.token_bytes(size)
    owner = WalletOwner(stage.alliance, patient)
    record = await put_record(stage.hospitals[member], content, owner)
    terms = ConsentTerms(record.record_id, reading, int(time.time()) + HOUR_SECONDS)
    given = await grant_consent(stage.alliance, patient, terms)
    opened = await get_record(stage.alliance, clinician, record.record_id, given.grant_id)
    if opened.content != content:
        raise LoadFailed("a record that was opened is not what was put")


async def studies(stage: Stage) -> None:
    """Run a study of many rounds and one of many rows, each with the ceremony of its key."""
    members, cox, sums = list(stage.hospitals), study_patients.cox(), study_patients.sums()
    tables = {
        cox.data_set: study_patients.followed(FOLLOWED_PATIENTS, members),
        sums.data_set: study_patients.measured(SUMMED_PATIENTS, members),
    }
    research = await Research.begin(stage, tables, {name: name for name in tables})
    for draft in (cox, sums):
        await research.run(draft, await research.permit(draft))


async def data_key(stage: Stage) -> None:
    """Make the key of a data set, with all that multiplies under it."""
    hospitals = list(stage.hospitals.values())
    request = DataKeyRequest(TEXT, datetime.now(UTC).year, enrol_seconds=HOUR_SECONDS)
    key = (await propose_data_key(hospitals[0], request)).data_key
    for hospital in hospitals[: threshold_of(len(hospitals))]:
        await vote_data_key(hospital, key)
    async with asyncio.timeout(KEY_SECONDS):
        while (shown := await show_data_key(hospitals[0], key)).state != ENROLLING:
            if shown.failure:
                raise LoadFailed(f"the data key is {shown.state}: {shown.failure}")
            await asyncio.sleep(0.5)


async def _side_by_side(work: Iterable[Awaitable[None]]) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(part: Awaitable[None]) -> None:
        async with places:
            await part

    async with asyncio.TaskGroup() as group:
        for part in work:
            group.create_task(one(part))


LOADS: Final[Mapping[str, Load]] = {
    "acts": acts,
    "people": people,
    "records": records,
    "studies": studies,
    "a data key": data_key,
}
