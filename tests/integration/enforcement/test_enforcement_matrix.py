"""Every read path in every state of a contract: after the block that ended it, not one byte."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio

from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward_client.sdk.audit import audit_record
from cipherward_client.sdk.connection import Alliance
from cipherward_kit.testing import eventually
from tests.integration.enforcement.openings import (
    CONTENT,
    End,
    Opening,
    close,
    consented,
    emergency,
    erase,
    expire,
    revoke,
    run_out,
)
from tests.integration.enforcement.paths import (
    LARGE,
    PAGES,
    READS,
    ciphertext,
    drained,
    handed_out,
    nothing_runs,
    settled,
    taken,
    withheld,
    wrong,
)
from tests.integration.enforcement.states import SOON, STATES, Scenes
from tests.integration.enforcement.town import CUSTODIAN, MEMBERS, WAIT_SECONDS, Town

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENDING = [name for name, state in STATES.items() if state.ended_by_order]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scenes(town: Town) -> Scenes:
    scenes = Scenes(town)
    await scenes.begin_slow_ones()
    return scenes


@pytest.mark.parametrize("name", STATES)
async def test_every_read_path_does_what_the_contracts_state_says(
    town: Town, scenes: Scenes, name: str
) -> None:
    state, opening = STATES[name], await scenes.of(name)
    answers = await taken(town, opening, READS)
    found = withheld(answers) if state.stands else wrong(answers, state.reads)
    assert not found
    assert not wrong(await taken(town, opening, PAGES), ("READ_REJECTED",))
    assert await state.again(town, opening) in state.another


ENDS: dict[str, tuple[str, int, End]] = {
    "revoked": ("consent", 3600, revoke),
    "expired": ("consent", SOON, expire),
    "erased": ("consent", 3600, erase),
    "closed": ("emergency", 3600, close),
    "run out": ("emergency", SOON, run_out),
}


@dataclass
class Running:
    """A download that runs, and what its reader has taken of it."""

    opening: Opening
    stream: AsyncIterator[pb.GetRecordResponse]
    first: int


@asynccontextmanager
async def downloading(town: Town, name: str) -> AsyncGenerator[Running]:
    """Open a record under what an end is the end of, and take the first part of it."""
    kind, seconds, _ = ENDS[name]
    if kind == "consent":
        opening = await consented(town, content=LARGE, seconds=seconds)
    else:
        opening = await emergency(
            town, clinician=f"reader of {name}", content=LARGE, seconds=seconds
        )
    # On a line of its own: one that has served many downloads holds tens of MiB for its reader.
    files = town.folder.endpoints_file, town.folder.genesis_file
    async with Alliance.open(*files) as line:
        stream = ciphertext(replace(town, alliance=line), opening, 0)
        yield Running(opening, stream, len((await anext(stream)).part))


# The two that timers end are waited for together.
APART = [["revoked"], ["erased"], ["closed"], ["expired", "run out"]]


@pytest.mark.parametrize("names", APART, ids=", ".join)
async def test_a_running_download_is_cut_and_does_not_go_on(town: Town, names: list[str]) -> None:
    async with AsyncExitStack() as stack:
        downloads = [await stack.enter_async_context(downloading(town, name)) for name in names]
        for name, download in zip(names, downloads, strict=True):
            await ENDS[name][2](town, download.opening)
            await settled(town, download.opening)
        await eventually(lambda: nothing_runs(town), seconds=WAIT_SECONDS)
        before = await handed_out(town)
        for download in downloads:
            rest = await drained(download.stream)  # what was on its way to a reader that stopped
            assert rest.reason == "RELEASE_ENDED"
            assert 0 < download.first + rest.given < len(LARGE)
            for offset in (0, download.first, download.first + rest.given):
                again = await drained(ciphertext(town, download.opening, offset))
                assert (again.given, again.reason) == (0, "RELEASE_ENDED")
    assert await handed_out(town) == before  # after the end, not one octet left the custodian


@pytest.mark.parametrize("name", ENDING)
async def test_what_was_released_is_gone_from_every_members_store(
    town: Town, scenes: Scenes, name: str
) -> None:
    opening = await scenes.of(name)
    for member in MEMBERS:
        for table in ("releases", "shares"):
            kept = await asyncio.to_thread(_sealed, town, member, table, opening.grant_id)
            assert set(kept) <= {b""}
            # The custodian has made a part, and every guardian was asked for one.
            assert kept or (table == "releases" and member != CUSTODIAN)


def _sealed(town: Town, member: str, table: str, grant: bytes) -> list[bytes]:
    """Return the sealed parts that a member's store has for a grant."""
    file = town.folder.member(member).data("storage") / "storage.sqlite"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        query = f"SELECT sealed FROM {table} WHERE contract = ?"
        return [row[0] for row in database.execute(query, (grant,))]


@pytest.mark.parametrize("name", ["active", "revoked", "emergency, closed by its reader"])
async def test_what_an_owner_exports_holds_nothing_of_the_record(
    town: Town, scenes: Scenes, name: str
) -> None:
    """The rows and receipts that `cipherward audit --json` and `receipt` write."""
    opening = await scenes.of(name)
    rows = await audit_record(town.alliance, opening.patient, opening.record_id)
    assert rows
    exported = b"".join(row.receipt + row.report_receipt for row in rows) + repr(rows).encode()
    assert opening.fetched is not None
    for secret in (opening.fetched.key, opening.key.secret_bytes(), CONTENT[:64]):
        assert secret not in exported


async def test_services_that_were_killed_give_nothing_that_had_ended(
    town: Town, scenes: Scenes
) -> None:
    openings = {name: await scenes.of(name) for name in STATES}
    await town.restart([f"{member}/storage" for member in MEMBERS])
    for name, opening in openings.items():
        state = STATES[name]
        answers = await taken(town, opening, READS)
        found = withheld(answers) if state.stands else wrong(answers, state.reads)
        assert not found, name
