"""What nobody anchors goes after a day of block time, and nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from grpc import aio

from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward_chain.wire import NANOS
from cipherward_kit.database import Database
from cipherward_kit.testing import eventually
from cipherward_member.following import ChainProgress
from cipherward_storage.cleanup import UNANCHORED_SECONDS, Cleanup
from cipherward_storage.place import Room
from cipherward_storage.records import PART_BYTES
from cipherward_storage.schema import SCHEMA
from cipherward_storage.sqlite_records import SqliteRecordStore
from cipherward_storage.testing import header_of

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import OpenWorld

    from cipherward_storage.testing import TestReader, TestRecord
    from cipherward_storage.testing_world import World

HOUR = 3600
NOW = 1_800_000_000


async def test_an_unanchored_record_goes_after_a_day_and_an_anchored_one_stays(
    open_world: OpenWorld,
) -> None:
    async with open_world() as world:
        anchored, forgotten = await world.stored(1000), world.record(2000)
        await world.put(forgotten)
        for hours, there in ((23, True), (2, False)):
            world.clock.advance(hours * HOUR)
            await world.block()
            await world.stop()  # a start sweeps
            await world.start()
            await world.block()
            assert await is_there(world, anchored)
            await eventually(
                lambda expected=there: shows(world, forgotten, expected), what="the sweep"
            )


async def shows(world: World, record: TestRecord, there: bool) -> bool:
    return await is_there(world, record) == there


async def is_there(world: World, record: TestRecord) -> bool:
    page = await world.stub.ListRecords(pb.ListRecordsRequest(), timeout=10)
    return record.id in [listed.record_id for listed in page.records]


async def test_a_chain_that_is_read_up_from_long_ago_deletes_nothing_of_today(
    tmp_path: Path,
) -> None:
    progress = ChainProgress(30, lambda: NOW * NANOS)
    async with (
        Database(tmp_path / "storage.sqlite", SCHEMA) as database,
        SqliteRecordStore(
            database, tmp_path / "bodies", Room(1 << 40, 0), progress.latest_seconds
        ) as records,
    ):
        header = header_of(bytes(PART_BYTES))
        month_ago = NOW - 30 * 24 * HOUR
        progress.saw(1, month_ago * NANOS)
        async with records.write(header, 0) as spool:
            await spool.append([b"begun today"])
        cleanup = Cleanup(records, progress)
        progress.saw(2, (month_ago + 2 * 24 * HOUR) * NANOS)
        assert await cleanup.sweep() == 0
        progress.saw(3, (NOW + UNANCHORED_SECONDS) * NANOS)
        assert await cleanup.sweep() == 0
        progress.saw(4, (NOW + UNANCHORED_SECONDS + 1) * NANOS)
        assert await cleanup.sweep() == 1


async def test_a_release_of_a_record_that_is_gone_fails(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        order = await world.released(world.record(10), reader)
        (report,) = await world.reports(1)
        assert report.digest == b""
        with pytest.raises(aio.AioRpcError):
            await world.key(world.record(10), order, reader)
