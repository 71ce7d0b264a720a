"""Contributing rows: their form, one upload in the place of another, and what a cut-off leaves."""

from __future__ import annotations

import asyncio
import hashlib
import math
import sqlite3
import struct
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from grpc import aio

from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward.compute.v1.compute_service_pb2_grpc import (
    ComputeServiceServicer,
    ComputeServiceStub,
    add_ComputeServiceServicer_to_server,
)
from cipherward_compute import contribution_stream, datasets_form
from cipherward_compute.datasets import DataSets
from cipherward_compute.datasets_form import Arriving, Column, Header, RowsEnd, RowsPart
from cipherward_compute.errors import DataSetMalformed, DataSetTooLarge
from cipherward_compute.failures import RowsChanged
from cipherward_compute.opt_outs import OptOuts
from cipherward_compute.rows import Stored, TakingPart
from cipherward_compute.schema import SCHEMA
from cipherward_compute.vault import Vault, VaultCorrupt
from cipherward_kit.database import Database
from cipherward_kit.errors import reason_of
from cipherward_kit.testing import TestAlliance, eventually, serve_in_process
from cipherward_studies.variables import CHUNK_ROWS

if TYPE_CHECKING:
    from conftest import Hospital, World

AGE = [61.0, 24.5, 48.0, math.nan]


def header(**changed: Any) -> pb.ContributeRequest:
    names = changed.pop("variables", ("age", "bmi"))
    units = changed.pop("units", ("",) * len(names))
    good: dict[str, Any] = {
        "request_id": str(uuid.uuid4()),
        "data_set": "cohort-1",
        "variables": [
            pb.DataSetVariable(name=name, unit=unit)
            for name, unit in zip(names, units, strict=True)
        ],
    }
    return pb.ContributeRequest(header=pb.ContributeHeader(**{**good, **changed}))


def part(values: Sequence[float], references: bytes = b"") -> pb.ContributeRequest:
    octets = struct.pack(f"<{len(values)}d", *values)
    return pb.ContributeRequest(part=pb.ContributePart(values=octets, references=references))


def end(rows: int) -> pb.ContributeRequest:
    return pb.ContributeRequest(end=pb.ContributeEnd(rows=rows))


async def refused(call: Any) -> str:
    with pytest.raises(aio.AioRpcError) as refusal:
        await call
    return reason_of(refusal.value)


def send(hospital: Hospital, *messages: pb.ContributeRequest) -> Any:
    return hospital.stub().Contribute(iter(messages))


@pytest.mark.slow
async def test_rows_are_stored_once_for_a_request_id(lone: World) -> None:
    hospital = lone.hospitals["hospital-a"]
    first = header()
    assert (await send(hospital, first, part(AGE), end(2))).rows == 2
    assert (await send(hospital, first, part(AGE[:2]), part(AGE[2:]), end(2))).rows == 2
    assert await refused(send(hospital, first, part([1, 2]), end(1))) == "REQUEST_ID_REUSED"


@pytest.mark.slow
async def test_a_data_set_out_of_form_is_refused(lone: World) -> None:
    hospital = lone.hospitals["hospital-a"]
    for wrong in (
        (header(request_id="one"), part(AGE), end(2)),
        (header(request_id=str(uuid.uuid4()).upper()), part(AGE), end(2)),
        (header(data_set="diabetes"), part(AGE), end(2)),
        (header(data_set="cohort-100"), part(AGE), end(2)),
        (header(variables=()), part(AGE), end(2)),
        (header(variables=("age", "age")), part(AGE), end(2)),
        (header(variables=("Age", "bmi")), part(AGE), end(2)),
        (header(units=("a", "kg\n")), part(AGE), end(2)),
        (header(units=("a", "k" * 33)), part(AGE), end(2)),
        (header(), end(0)),
        (header(), part([]), end(0)),
        (header(), part([1, 2, 3]), end(1)),
        (header(), part([1, math.inf]), end(1)),
        (header(), part(AGE, b"r" * 16), end(2)),
        (header(), part(AGE, b"r" * 33), end(2)),
        (header(), part(AGE[:2], b"r" * 16), part(AGE[2:]), end(2)),
        (header(), part(AGE[:2]), part(AGE[2:], b"r" * 16), end(2)),
        (header(), part(AGE), end(3)),
        (header(), part(AGE)),
        (header(), part(AGE), end(2), part(AGE)),
        (header(), part(AGE), header(), end(2)),
        (part(AGE), end(2)),
        (),
    ):
        assert await refused(send(hospital, *wrong)) == "DATA_SET_MALFORMED"
    wide = [f"v{i}" for i in range(65)]
    assert await refused(send(hospital, header(variables=wide))) == "DATA_SET_TOO_LARGE"
    assert await stored(hospital) == (0, 0)


@pytest.mark.slow
async def test_only_the_own_member_contributes(lone: World) -> None:
    hospital = lone.hospitals["hospital-a"]
    for stub in (hospital.stub("hospital-b", "client"), hospital.holder()):
        call = stub.Contribute(iter((header(), part(AGE), end(2))))
        assert await refused(call) == "CALLER_REFUSED"


@pytest.mark.slow
async def test_no_value_of_a_patient_stands_on_the_disk_in_the_clear(lone: World) -> None:
    hospital = lone.hospitals["hospital-a"]
    await send(hospital, header(), part([61.0625, 24.5] * 50), end(50))
    await hospital.stop()
    for path in hospital.config.data_dir.glob("compute.db*"):
        assert struct.pack("<d", 61.0625) not in path.read_bytes()


@pytest.mark.slow
async def test_references_that_stand_twice_are_refused_by_their_number_only(lone: World) -> None:
    hospital = lone.hospitals["hospital-a"]
    names = [hashlib.sha256(b"%d" % place).digest()[:16] for place in (1, 2, 3, 2, 1, 1)]
    messages = (header(), part([0.0] * 12, b"".join(names)), end(6))
    with pytest.raises(aio.AioRpcError) as refusal:
        await send(hospital, *messages)
    assert reason_of(refusal.value) == "DATA_SET_MALFORMED"
    text = refusal.value.details() or ""
    assert text.startswith("2 references stand for more than one row")
    assert not [name for name in names if name.hex() in text]


async def stored(hospital: Hospital) -> tuple[int, int]:
    """Return the data sets and chunks that stand on the disk."""
    import sqlite3

    def look() -> tuple[int, int]:
        path = hospital.config.data_dir / "compute.db"
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return tuple(
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("data_sets", "data_set_chunks")
            )
        finally:
            connection.close()

    return await asyncio.to_thread(look)


MIB = 1 << 20


@pytest.mark.slow
async def test_a_contribution_that_is_cut_off_leaves_the_old_version_whole(lone: World) -> None:
    hospital = lone.hospitals["hospital-a"]
    await send(hospital, header(), part(AGE), end(2))
    call = hospital.stub().Contribute(timeout=30)
    await call.write(header())
    large = part([1.0] * (MIB // 8))
    for _ in range(3):
        await call.write(large)

    async def arriving() -> bool:
        return (await stored(hospital))[1] >= 3

    async def old_alone() -> bool:
        return await stored(hospital) == (1, 1)

    await eventually(arriving)
    call.cancel()
    await eventually(old_alone)


@pytest.mark.slow
async def test_what_a_crash_in_the_middle_left_is_destroyed_at_the_next_start(
    lone: World,
) -> None:
    import sqlite3

    hospital = lone.hospitals["hospital-a"]
    await send(hospital, header(), part(AGE), end(2))
    await hospital.stop()
    connection = sqlite3.connect(hospital.config.data_dir / "compute.db")
    with connection:  # as if it had been killed before the end of the stream
        connection.executemany(
            "INSERT INTO data_set_chunks VALUES (?, ?, ?)",
            [(b"v" * 16, number, b"chunk") for number in range(9)],
        )
    connection.close()
    await hospital.start()
    assert await stored(hospital) == (1, 1)


@pytest.mark.slow
async def test_a_new_version_takes_the_place_of_the_old_one_whose_chunks_go(lone: World) -> None:
    hospital = lone.hospitals["hospital-a"]
    large = part([1.0] * (MIB // 8))
    await send(hospital, header(), *[large] * 6, end(6 * MIB // 16))
    assert await stored(hospital) == (1, 6)
    await send(hospital, header(), part(AGE), end(2))
    assert await stored(hospital) == (1, 1)


@pytest.mark.slow
async def test_contributions_under_way_are_bounded(lone: World) -> None:
    hospital = lone.hospitals["hospital-a"]
    calls = [hospital.stub().Contribute(timeout=30) for _ in range(4)]
    large = part([1.0] * (MIB // 8))
    for call in calls:
        await call.write(header())
        await call.write(large)

    async def all_there() -> bool:
        return (await stored(hospital))[1] == 4

    await eventually(all_there)
    assert await refused(send(hospital, header(), part(AGE), end(2))) == "CONTRIBUTIONS_FULL"
    for call in calls:
        await call.done_writing()
        assert await refused(call) == "DATA_SET_MALFORMED"
    assert (await send(hospital, header(), part(AGE), end(2))).rows == 2


@pytest.mark.slow
async def test_a_contribution_that_stalls_ends(
    lone: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contribution_stream, "STALL_SECONDS", 0.2)
    hospital = lone.hospitals["hospital-a"]
    call = hospital.stub().Contribute(timeout=30)
    await call.write(header())
    await call.write(part(AGE))
    assert await refused(call) == "CONTRIBUTION_STALLED"
    assert await stored(hospital) == (0, 0)


def name_of(reference: bytes) -> bytes:
    return hashlib.sha256(reference).digest()


COLUMNS = (Column("age", "a"), Column("bmi", "kg/m2"), Column("bp"))


def chunks_of(parts: Sequence[RowsPart]) -> tuple[list[bytes], bool]:
    """Return the chunks that parts are stored as, and whether the rows have names."""
    arriving = Arriving(Header(str(uuid.uuid4()), "cohort-1", COLUMNS), name_of)
    found = [arriving.add(one) for one in parts]
    last, _ = arriving.end(RowsEnd(arriving.rows))
    return [chunk.octets for chunk in (*found, last) if chunk is not None], bool(arriving.named)


def rows_and_parts(rows: int, *, named: bool) -> tuple[np.ndarray[Any, Any], list[RowsPart]]:
    values = np.random.default_rng(rows).normal(size=(rows, len(COLUMNS)))
    references = np.random.default_rng(rows + 1).bytes(16 * rows) if named else b""
    parts = [
        RowsPart(values[at : at + 5_000].tobytes(), references[16 * at : 16 * (at + 5_000)])
        for at in range(0, rows, 5_000)
    ]
    return values, parts


def reading(octets: list[bytes], named: bool, out: frozenset[bytes] = frozenset()) -> TakingPart:
    return TakingPart(b"v", Stored(COLUMNS, named, len(octets), octets.__getitem__), out)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("rows", [1, CHUNK_ROWS - 1, CHUNK_ROWS, 3 * CHUNK_ROWS - 1])
def test_rows_are_read_as_they_came_in_chunks_that_are_large_enough(rows: int, named: bool) -> None:
    values, parts = rows_and_parts(rows, named=named)
    found = list(reading(*chunks_of(parts)).chunks(("bp", "age")))
    for place, name in ((2, "bp"), (0, "age")):
        read = np.concatenate([one.columns[name] for one in found])
        assert np.array_equal(read, values[:, place])
    sizes = [len(one.fingerprints) for one in found]
    assert sum(sizes) == rows
    assert len(sizes) == 1 or min(sizes) >= CHUNK_ROWS
    assert max(sizes) < 2 * CHUNK_ROWS + 2 * (datasets_form.STORED_BYTES // 24)
    assert len(np.unique(np.concatenate([one.fingerprints for one in found]))) == rows


def test_who_is_out_is_in_no_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    values, parts = rows_and_parts(70_000, named=True)
    references = b"".join(one.references for one in parts)
    gone = [0, 4_999, 5_000, 43_690, 69_999]
    out = frozenset(name_of(references[16 * at : 16 * at + 16]) for at in gone)
    found = list(reading(*chunks_of(parts), out).chunks(("age",)))
    read = np.concatenate([one.columns["age"] for one in found])
    assert np.array_equal(read, np.delete(values[:, 0], gone))


def test_a_name_that_only_begins_like_one_that_is_out_takes_part() -> None:
    _, parts = rows_and_parts(10, named=True)
    octets, named = chunks_of(parts)
    name = name_of(parts[0].references[:16])
    alike = name[:8] + bytes(24)
    (chunk,) = reading(octets, named, frozenset([alike])).chunks(("age",))
    assert len(chunk.columns["age"]) == 10


def test_a_data_set_without_anybody_left_has_one_empty_chunk() -> None:
    _, parts = rows_and_parts(3, named=True)
    references = parts[0].references
    out = frozenset(name_of(references[16 * at : 16 * at + 16]) for at in range(3))
    (chunk,) = reading(*chunks_of(parts), out).chunks(("age", "bp"))
    assert {name: len(column) for name, column in chunk.columns.items()} == {"age": 0, "bp": 0}


def test_more_rows_than_a_data_set_has_are_refused_as_they_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(datasets_form, "PATIENTS_MAX", 9_999)
    _, parts = rows_and_parts(10_000, named=False)
    arriving = Arriving(Header(str(uuid.uuid4()), "cohort-1", COLUMNS), name_of)
    arriving.add(parts[0])
    with pytest.raises(DataSetTooLarge):
        arriving.add(parts[1])


def test_the_same_rows_in_other_parts_are_the_same_content() -> None:
    def content(parts: Sequence[RowsPart], columns: tuple[Column, ...] = COLUMNS) -> bytes:
        arriving = Arriving(Header("", "cohort-1", columns), name_of)
        for one in parts:
            arriving.add(one)
        return arriving.end(RowsEnd(arriving.rows))[1]

    def cut(one: RowsPart) -> Iterator[RowsPart]:
        yield RowsPart(one.values[: 24 * 7], one.references[: 16 * 7])
        yield RowsPart(one.values[24 * 7 :], one.references[16 * 7 :])

    _, parts = rows_and_parts(9_000, named=True)
    assert content(parts) == content([piece for one in parts for piece in cut(one)])
    assert content(parts) != content(parts[:1])
    assert content(parts) != content(parts, (*COLUMNS[:2], Column("bp", "mmHg")))


def test_a_cut_off_after_whole_rows_is_noticed() -> None:
    arriving = Arriving(Header("", "cohort-1", COLUMNS), name_of)
    _, parts = rows_and_parts(9_000, named=False)
    arriving.add(parts[0])
    for said in (None, RowsEnd(9_000)):
        with pytest.raises(DataSetMalformed):
            arriving.end(said)


@pytest.fixture
async def data_sets(tmp_path: Path) -> AsyncGenerator[tuple[DataSets, Database]]:
    async with Database(tmp_path / "compute.db", SCHEMA) as database:
        vault = Vault(b"k" * 32)
        yield DataSets(database, vault, OptOuts(database, vault)), database


async def messages(parts: Sequence[RowsPart]) -> AsyncIterator[RowsPart | RowsEnd]:
    for one in parts:
        yield one
    yield RowsEnd(sum(len(one.values) for one in parts) // (8 * len(COLUMNS)))


async def contributed(data_sets: DataSets, parts: Sequence[RowsPart]) -> None:
    await data_sets.contribute(Header(str(uuid.uuid4()), "cohort-1", COLUMNS), messages(parts))


async def test_rows_that_are_replaced_while_they_are_read_are_not_mixed(
    data_sets: tuple[DataSets, Database],
) -> None:
    store, _ = data_sets
    _, parts = rows_and_parts(250_000, named=False)
    await contributed(store, parts)
    taking_part = await store.taking_part("cohort-1", 1)
    assert taking_part is not None
    chunks = taking_part.chunks(("age",))
    first = await asyncio.to_thread(next, chunks)
    assert len(first.fingerprints) >= CHUNK_ROWS
    await contributed(store, parts)
    with pytest.raises(RowsChanged):
        await asyncio.to_thread(list, chunks)


class Contributing(ComputeServiceServicer):
    """The part of the service that takes contributions, over a store that a test bounds."""

    def __init__(self, data_sets: DataSets) -> None:
        self._data_sets = data_sets

    async def Contribute(self, request_iterator: AsyncIterator[Any], context: Any) -> Any:
        header, parts = await contribution_stream.read_contribution(request_iterator)
        return pb.ContributeResponse(rows=await self._data_sets.contribute(header, parts))


@pytest.mark.slow
async def test_a_full_disk_ends_a_contribution_by_name_and_leaves_what_stood(
    data_sets: tuple[DataSets, Database], tmp_path: Path
) -> None:
    store, database = data_sets
    values, parts = rows_and_parts(20_000, named=False)
    await contributed(store, parts)

    async def allow(pages: int) -> None:
        def bound(connection: sqlite3.Connection) -> None:
            (used,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {used + pages}").fetchone()

        await database.read(bound)

    def left(connection: sqlite3.Connection) -> tuple[int, int]:
        count = "SELECT count(*), count(DISTINCT version) FROM data_set_chunks"
        return connection.execute(count).fetchone()

    before = await database.read(left)
    more = rows_and_parts(200_000, named=False)[1]
    await allow(600)  # of 4 KiB: some of the chunks of 1.5 MB fit
    servicer = Contributing(store)  # pyright: ignore[reportAbstractUsage] - nobody asks for more
    async with serve_in_process(
        lambda server: add_ComputeServiceServicer_to_server(servicer, server),
        domain="compute.cipherward",
        alliance=TestAlliance(tmp_path / "certificates"),
        service="compute",
    ) as served:
        stub = ComputeServiceStub(served.channel_as("hospital-a", "storage"))
        variables = [pb.DataSetVariable(name=one.name, unit=one.unit) for one in COLUMNS]
        asked = [
            pb.ContributeRequest(
                header=pb.ContributeHeader(
                    request_id=str(uuid.uuid4()), data_set="cohort-1", variables=variables
                )
            ),
            *[pb.ContributeRequest(part=pb.ContributePart(values=one.values)) for one in more],
            end(200_000),
        ]
        assert await refused(stub.Contribute(iter(asked), timeout=30)) == "DISK_FULL"
    assert await database.read(left) == before
    standing = await store.taking_part("cohort-1", 1)
    assert standing is not None
    chunks = await asyncio.to_thread(list, standing.chunks(("age",)))
    ages = np.concatenate([chunk.columns["age"] for chunk in chunks])
    assert np.array_equal(ages, values[:, 0])
    await allow(100_000)
    await contributed(store, more)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM data_set_chunks WHERE number = 1",
        "UPDATE data_set_chunks SET number = number + 3 WHERE number = 0",
        "UPDATE data_set_chunks SET sealed ="
        " (SELECT sealed FROM data_set_chunks WHERE number = 1) WHERE number = 0",
    ],
)
async def test_chunks_that_are_missing_or_in_another_order_are_noticed(
    data_sets: tuple[DataSets, Database], damage: str
) -> None:
    store, database = data_sets
    _, parts = rows_and_parts(131_072, named=False)  # three chunks
    await contributed(store, parts)
    await database.write(lambda connection: connection.execute(damage).rowcount)
    taking_part = await store.taking_part("cohort-1", 1)
    assert taking_part is not None
    with pytest.raises(VaultCorrupt):
        await asyncio.to_thread(list, taking_part.chunks(("age",)))
