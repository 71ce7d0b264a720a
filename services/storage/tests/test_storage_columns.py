"""Encrypted columns of data keys: kept by their digest, compared, and gone with their key."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from grpc import aio

from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from cipherward_chain.orders import Order
from cipherward_kit.database import Database
from cipherward_kit.errors import reason_of
from cipherward_kit.testing import eventually
from cipherward_storage.columns import (
    AT_ONCE_MAX,
    COLUMN_BYTES_MAX,
    PART_BYTES_MAX,
    ColumnName,
)
from cipherward_storage.effects import BlockEffects
from cipherward_storage.errors import DataKeyRetired, DiskFull
from cipherward_storage.place import Room
from cipherward_storage.schema import SCHEMA
from cipherward_storage.sqlite_columns import SqliteColumns
from cipherward_storage.sqlite_records import SqliteRecordStore

if TYPE_CHECKING:
    from conftest import OpenHome, OpenWorld

    from cipherward_storage.testing_world import World

KEY, OTHER = b"k" * 16, b"o" * 16


def named(octets: bytes, data_key: bytes = KEY) -> ColumnName:
    return ColumnName(data_key, hashlib.sha256(octets).digest())


def retired(world: World, data_key: bytes, template: str = "data-key") -> Order:
    named: dict[str, Any] = {"study": data_key, "members": ["hospital-a"], "cause": "retired"}
    height = world.chain.next_height()
    return Order(height, 0, data_key, template, "retire_key", named)


async def refused(call: Any) -> str:
    """Return the reason of the refusal that `call` ends in."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return reason_of(caught.value)


async def put(
    world: World, octets: bytes, data_key: bytes = KEY, parts: Sequence[bytes] = (), **other: Any
) -> None:
    fields: dict[str, Any] = {
        "data_key": data_key,
        "digest": hashlib.sha256(octets).digest(),
        "bytes": len(octets),
    }
    header = pb.PutColumnHeader(**{**fields, **other})

    def messages() -> Iterator[pb.PutColumnRequest]:
        yield pb.PutColumnRequest(header=header)
        for part in parts or [octets[at : at + 700_000] for at in range(0, len(octets), 700_000)]:
            yield pb.PutColumnRequest(part=part)

    await world.stub.PutColumn(messages(), timeout=30)


async def get(world: World, octets: bytes, data_key: bytes = KEY) -> bytes:
    """Get a column as another member's compute service."""
    stub = StorageServiceStub(world.served.channel_as("hospital-b", "compute"))
    request = pb.GetColumnRequest(data_key=data_key, digest=hashlib.sha256(octets).digest())
    return b"".join([message.chunk async for message in stub.GetColumn(request, timeout=30)])


async def test_a_column_is_kept_whole_and_again_the_same(open_home: OpenHome) -> None:
    long, short = os.urandom(2 * PART_BYTES_MAX + 5), b"x"
    async with open_home() as home:
        for octets in (long, short, long):
            await home.columns.put(named(octets), octets)
    async with open_home() as home:
        assert await home.columns.find(named(long)) == long
        assert await home.columns.find(named(short)) == short
        assert await home.columns.find(named(b"y")) is None
        assert await home.columns.find(named(long, OTHER)) is None


async def test_columns_of_a_retired_key_are_refused_at_once_and_swept_in_pieces(
    open_home: OpenHome,
) -> None:
    columns = [os.urandom(100 + size) for size in range(5)]
    async with open_home() as home:
        for octets in columns:
            await home.columns.put(named(octets), octets)
        await home.columns.put(named(b"stays", OTHER), b"stays")
        effects = BlockEffects(5, 1_800_000_000, b"at 5", retired_keys=(KEY, KEY[::-1]))
        await home.chain.apply(effects)
        await home.chain.apply(effects)
        assert await home.columns.find(named(columns[0])) is None
        with pytest.raises(DataKeyRetired):
            await home.columns.put(named(b"new"), b"new")
        assert [await home.columns.sweep(3) for _ in range(3)] == [3, 2, 0]
        assert await home.columns.find(named(b"stays", OTHER)) == b"stays"


async def test_columns_count_against_the_quota_until_they_are_swept(open_home: OpenHome) -> None:
    async with open_home() as home:  # its quota is 8 MiB
        most = os.urandom(7 * PART_BYTES_MAX)
        for _ in range(2):  # the same again takes no more room
            await home.columns.put(named(most), most)
        rest, more = os.urandom(PART_BYTES_MAX), b"x"
        await home.columns.put(named(rest), rest)
        with pytest.raises(DiskFull):
            await home.columns.put(named(more, OTHER), more)
        assert await home.columns.find(named(more, OTHER)) is None
    async with open_home() as home:
        with pytest.raises(DiskFull):
            await home.columns.put(named(more, OTHER), more)
        effects = BlockEffects(5, 1_800_000_000, b"at 5", retired_keys=(KEY,))
        await home.chain.apply(effects)
        while await home.columns.sweep(16):
            pass
        await home.columns.put(named(most, OTHER), most)
        assert await home.columns.find(named(most, OTHER)) == most


async def test_a_column_leaves_the_reserve_of_the_disk_free(open_embedded_world: OpenWorld) -> None:
    async with open_embedded_world(reserve_bytes=1 << 60) as world:
        assert await refused(put(world, b"x")) == "DISK_FULL"
        assert await refused(get(world, b"x")) == "COLUMN_UNKNOWN"


async def test_a_disk_that_is_full_keeps_nothing_of_a_column(tmp_path: Path) -> None:
    pages = 300  # of 4 KiB: a column of 2 MiB finds no room in the middle of its parts
    octets = os.urandom(2 * PART_BYTES_MAX)
    async with (
        Database(tmp_path / "storage.sqlite", SCHEMA) as database,
        SqliteRecordStore(database, tmp_path / "bodies", Room(1 << 40, 0), lambda: 0) as records,
    ):
        columns = SqliteColumns(database, records, 1 << 40)
        await database.read(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchone())
        with pytest.raises(DiskFull):
            await columns.put(named(octets), octets)
        assert await columns.find(named(octets)) is None
        use = "SELECT promised_bytes, (SELECT count(*) FROM columns) FROM use"
        assert await database.read(lambda db: db.execute(use).fetchone()) == (0, 0)
        await columns.put(named(b"small"), b"small")


async def test_a_members_compute_gets_a_column_until_the_chain_retires_its_key(
    open_world: OpenWorld,
) -> None:
    octets = os.urandom(3_000_000)
    async with open_world() as world:
        await put(world, octets)
        assert await get(world, octets) == octets
        await world.block(orders=[retired(world, KEY, "study")])  # of another template
        assert await get(world, octets) == octets
        await world.block(orders=[retired(world, KEY)])
        assert await refused(get(world, octets)) == "COLUMN_UNKNOWN"
        assert await refused(put(world, octets)) == "DATA_KEY_RETIRED"


async def test_what_is_not_what_was_announced_is_not_kept(open_embedded_world: OpenWorld) -> None:
    octets = os.urandom(1000)
    async with open_embedded_world() as world:
        malformed: list[dict[str, Any]] = [
            {"data_key": b"short"},
            {"digest": b"short"},
            {"bytes": 0},
            {"bytes": COLUMN_BYTES_MAX + 1},
            {"bytes": 1001},
            {"bytes": 999},
            {"parts": [octets[:400], b"", octets[400:]]},
        ]
        for changed in malformed:
            data_key = changed.pop("data_key", KEY)
            assert await refused(put(world, octets, data_key, **changed)) == "COLUMN_MALFORMED"
        assert await refused(put(world, octets, parts=[bytes(1000)])) == "DIGEST_DIFFERS"
        assert await refused(world.stub.PutColumn(iter(()), timeout=30)) == "COLUMN_MALFORMED"
        assert await refused(get(world, octets)) == "COLUMN_UNKNOWN"
        assert await refused(get(world, octets, b"short")) == "COLUMN_MALFORMED"


async def test_a_damaged_column_is_never_sent(open_embedded_world: OpenWorld) -> None:
    octets = os.urandom(PART_BYTES_MAX + 1)
    async with open_embedded_world() as world:
        await put(world, octets)
        connection = sqlite3.connect(world.folder / "storage.sqlite")
        with connection:
            connection.execute("UPDATE columns SET part = zeroblob(1) WHERE number = 1")
        connection.close()
        assert await refused(get(world, octets)) == "COLUMN_CORRUPT"


async def test_what_a_retired_key_has_left_is_gone_from_the_disk(
    open_embedded_world: OpenWorld,
) -> None:
    async with open_embedded_world() as world:
        for size in range(40):
            octets = os.urandom(1000 + size)
            await put(world, octets)
        await world.block(orders=[retired(world, KEY)])

        def left() -> int:
            connection = sqlite3.connect(world.folder / "storage.sqlite")
            (count,) = connection.execute("SELECT count(*) FROM columns").fetchone()
            connection.close()
            return count

        await eventually(lambda: left() == 0, what="the end of the columns")


async def test_so_many_are_moved_at_once_and_silence_ends_a_turn(
    open_embedded_world: OpenWorld,
) -> None:
    async with open_embedded_world(stall_seconds=1.0) as world:
        silent = asyncio.Event()

        async def nothing() -> AsyncIterator[pb.PutColumnRequest]:
            header = pb.PutColumnHeader(data_key=KEY, digest=bytes(32), bytes=1)
            yield pb.PutColumnRequest(header=header)
            await silent.wait()

        async def moving() -> str:
            return await refused(world.stub.PutColumn(nothing(), timeout=30))

        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(moving()) for _ in range(AT_ONCE_MAX + 1)]
        reasons = sorted(call.result() for call in calls)
        assert set(reasons) == {"COLUMNS_BUSY", "COLUMN_STALLED"}
        assert reasons.count("COLUMN_STALLED") >= AT_ONCE_MAX
        await put(world, b"x")  # every turn has ended
