"""Guardians between real sockets: an order in, one share out; everything else gives nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc import aio

from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from cipherward_chain.acts import anchor_record
from cipherward_chain.sealing import OpeningRejected
from cipherward_kit.errors import reason_of
from cipherward_kit.testing import TestAlliance
from cipherward_storage.assembly import SlotKeeping
from cipherward_storage.mongo.settings import MongoSettings
from cipherward_storage.mongo.testing import mongo_settings
from cipherward_storage.place import Room
from cipherward_storage.testing import (
    MEMBERS,
    TestReader,
    TestRecord,
    alliance_part,
    make_record,
    record_key,
)
from cipherward_storage.testing_storage import WEEK, open_scene
from cipherward_storage.testing_world import World
from cipherward_storage.uploads import UploadBounds
from cipherward_threshold.group.errors import WrongShares

if TYPE_CHECKING:
    from cipherward_chain.orders import Order
    from tests.servers.mongo import MongoServer

UNKNOWN = ("NOT_FOUND", "RELEASE_UNKNOWN")
ENDED = ("FAILED_PRECONDITION", "RELEASE_ENDED")


@dataclass(frozen=True, slots=True)
class Members:
    """The storages of hospital-a, the custodian, and of the guardians b and c."""

    a: World
    b: World
    c: World

    @property
    def all(self) -> dict[str, World]:
        return {world.member: world for world in (self.a, self.b, self.c)}


OpenMembers = Callable[..., AbstractAsyncContextManager[Members]]


@pytest.fixture
def open_members(tmp_path: Path, certificates: TestAlliance) -> OpenMembers:
    """Open three storages, each with its share; a record key is in force."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Members]:
        async with open_scene(certificates) as scene, AsyncExitStack() as stack:
            bounds = UploadBounds(1 << 30, 30.0)
            first = World(scene, tmp_path / "a", Room(1 << 40, 0), bounds)
            worlds = Members(
                first,
                first.another(tmp_path / "b", "hospital-b"),
                first.another(tmp_path / "c", "hospital-c"),
            )
            for world in worlds.all.values():
                await world.hold_share()
                await world.start()
                stack.push_async_callback(world.stop)
            await first.block(orders=[first.sharing_order()])
            yield worlds

    return opened


async def refused(call: Awaitable[object]) -> tuple[str, str]:
    """Return code and reason of the refusal that `call` ends in."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, reason_of(caught.value)


async def shares_of(
    members: Members, record: TestRecord, order: Order, reader: TestReader
) -> dict[str, bytes]:
    """Return the opened shares of all guardians that are there."""
    return {
        name: reader.share(
            await world.share(record, order, reader), world.keys, record, order, name
        )
        for name, world in members.all.items()
    }


@pytest.mark.slow
async def test_three_guardians_open_what_two_and_the_custodian_cannot(
    open_members: OpenMembers, reader: TestReader
) -> None:
    async with open_members() as members:
        record = await members.a.stored(1000)
        order = await members.a.released(record, reader)
        answer = await members.a.key(record, order, reader)
        assert reader.key_part(answer.sealed_part, members.a.keys, record, order) == (
            record.key_part
        )
        assert answer.alliance_slot == record.alliance_slot
        shares = await shares_of(members, record, order, reader)
        assert alliance_part(record, shares, order) == record.alliance_part
        broken = {**shares, "hospital-c": bytes(118)}  # two right ones, and no third
        with pytest.raises(WrongShares) as caught:
            alliance_part(record, broken, order)
        assert caught.value.indexes == (3,)
        (report,) = await members.a.reports(1)  # the custodian reports, and guardians do not
        assert report.order.height == order.height
        assert members.b.told() == members.c.told() == []


async def test_a_share_is_the_same_bytes_every_time_and_after_a_restart(
    open_members: OpenMembers, reader: TestReader
) -> None:
    async with open_members() as members:
        record = await members.a.stored(1000)
        order = await members.a.released(record, reader)
        first = await members.b.share(record, order, reader)
        assert await members.b.share(record, order, reader) == first
        await members.b.stop()
        await members.b.start()
        await members.a.block()
        assert await members.b.share(record, order, reader) == first


@pytest.mark.slow
async def test_a_guardian_that_was_stopped_before_it_made_its_share_makes_it_later(
    open_members: OpenMembers, reader: TestReader
) -> None:
    async with open_members() as members:
        record = await members.a.stored(1000)
        await members.a.stop()  # no slot can be had
        order = members.b.release_order(record, reader)
        await members.b.block(orders=[order])
        assert await refused(members.b.share(record, order, reader)) == UNKNOWN
        await members.b.stop()
        await members.b.start()
        await members.a.start()
        await members.a.block()
        sealed = await members.b.share(record, order, reader)
        share = reader.share(sealed, members.b.keys, record, order, "hospital-b")
        assert len(share) == 118


async def test_a_share_is_for_its_order_and_reader_only(
    open_members: OpenMembers, reader: TestReader
) -> None:
    async with open_members() as members:
        record, other, b = await members.a.stored(1000), members.a.reader(), members.b
        first = await members.a.released(record, reader)
        second = await members.a.released(record, reader)
        sealed = await b.share(record, first, reader)
        assert await refused(b.share(record, first, other)) == (
            "UNAUTHENTICATED",
            "READ_REJECTED",
        )
        with pytest.raises(OpeningRejected):  # an order at another height
            reader.share(sealed, b.keys, record, second, "hospital-b")
        with pytest.raises(OpeningRejected):
            replace(other, signer=reader.signer).share(sealed, b.keys, record, first, "hospital-b")
        shares = await shares_of(members, record, first, reader)
        shares["hospital-b"] = reader.share(
            await b.share(record, second, reader), b.keys, record, second, "hospital-b"
        )
        with pytest.raises(WrongShares):  # the proof is of the order
            alliance_part(record, shares, first)


@pytest.mark.slow
async def test_a_guardian_gives_nothing_for_an_order_that_is_not_what_it_says(
    open_members: OpenMembers, reader: TestReader
) -> None:
    async with open_members() as members:
        a, b = members.a, members.b
        record, other = await a.stored(1000), await a.stored(500)
        unanchored = a.record(100)
        cases: tuple[tuple[TestRecord, dict[str, Any]], ...] = (
            (record, {"anchor_digest": other.anchor_digest}),
            (record, {"slot_digest": bytes(32)}),
            (record, {"record": other.id}),
            (record, {"custodian": "hospital-c"}),
            (record, {"key_epoch": 2}),
            (record, {"ends": a.clock.seconds}),
            (record, {"reader_key": bytes(10)}),
            (record, {"surplus": 1}),
            (record, {"guardians": ["hospital-a", "hospital-c"]}),
            (record, {"guardians": []}),
            (unanchored, {}),
        )
        for wanted, changes in cases:
            order = await a.released(wanted, reader, **changes)
            about = replace(wanted, anchor=_with_id(wanted, order.arguments["record"]))
            assert await refused(b.share(about, order, reader)) == UNKNOWN
        unproven = replace(b.release_order(record, reader), height=a.chain.height)
        assert await refused(b.share(record, unproven, reader)) == UNKNOWN  # no block had it
        good = await a.released(record, reader)
        assert await b.share(record, good, reader)
        assert await refused(b.share(other, good, reader)) == UNKNOWN


def _with_id(record: TestRecord, record_id: Any) -> Any:
    changed = type(record.anchor)()
    changed.CopyFrom(record.anchor)
    changed.record_id = record_id
    return changed


async def test_a_readers_key_that_takes_nothing_is_given_up(
    open_members: OpenMembers, reader: TestReader
) -> None:
    async with open_members() as members:
        record = await members.a.stored(1000)
        order = await members.a.released(record, reader, reader_key=b"\xff" * 1216)
        assert await refused(members.b.share(record, order, reader)) == UNKNOWN
        good = await members.a.released(record, reader)
        assert await members.b.share(record, good, reader)


@pytest.mark.slow
async def test_a_slot_that_the_custodian_swaps_gives_nothing_until_it_is_right(
    open_members: OpenMembers, reader: TestReader
) -> None:
    async with open_members() as members:
        a, b = members.a, members.b
        record, other = await a.stored(1000), await a.stored(1000)
        # A copied slot under its own anchor: a record of the same custodian, made for another.
        copied = hashlib.sha256(other.alliance_slot).digest()
        forged = make_record(a.keys, "hospital-a", 10, alliance_slot_digest=copied)
        forged = replace(forged, alliance_slot=other.alliance_slot)
        assert await refused(a.put(forged)) == ("INVALID_ARGUMENT", "SLOT_REJECTED")
        await a.block(a.transaction("hospital-a", _anchoring(forged)))
        order = await a.released(forged, reader)
        assert await refused(b.share(forged, order, reader)) == UNKNOWN
        good = await a.released(record, reader)  # what cannot be made holds up nothing else
        assert await b.share(record, good, reader)


def _anchoring(record: TestRecord) -> Any:
    return anchor_record(record.anchor, record.slot_digest)


@pytest.mark.slow
async def test_a_custodian_that_is_away_holds_up_its_own_records_only(
    open_members: OpenMembers, reader: TestReader
) -> None:
    async with open_members() as members:
        gone = await members.c.stored(1000)
        record = await members.a.stored(1000)
        await members.c.stop()
        stuck = members.a.release_order(gone, reader)
        good = members.a.release_order(record, reader, 1)
        await members.a.block(orders=[stuck, good])
        assert await members.b.share(record, good, reader)
        assert await refused(members.b.share(gone, stuck, reader)) == UNKNOWN
        await members.c.start()
        await members.a.block()
        assert await members.b.share(gone, stuck, reader)


@pytest.mark.slow
async def test_an_order_whose_slot_is_not_there_yet_is_tried_again(
    open_members: OpenMembers, reader: TestReader
) -> None:
    async with open_members() as members:
        a, b = members.a, members.b
        record, other = a.record(1000), await a.stored(1000)
        await a.block(a.transaction("hospital-a", _anchoring(record)))  # not uploaded
        order = await a.released(record, reader)
        assert await refused(b.share(record, order, reader)) == UNKNOWN
        good = await a.released(other, reader)
        assert await b.share(other, good, reader)
        await a.put(record)
        a.clock.advance(2)
        await a.block(orders=[a.release_order(other, reader)])
        assert await b.share(record, order, reader)


async def test_what_was_revoked_or_is_over_is_refused_and_dropped(
    open_members: OpenMembers, reader: TestReader
) -> None:
    async with open_members() as members:
        record, b = await members.a.stored(1000), members.b
        order = await members.a.released(record, reader)
        other = await members.a.released(record, reader, grant=b"H" * 16)
        short = await members.a.released(record, reader, ends=b.clock.seconds + 20)
        assert await b.share(record, order, reader)
        assert await b.share(record, short, reader)
        await members.a.block(orders=members.a.ending_orders(record))
        assert await refused(b.share(record, order, reader)) == ENDED
        assert await b.share(record, other, reader)
        b.clock.advance(21)
        await members.a.block()
        assert await refused(b.share(record, short, reader)) == ENDED
        b.clock.advance(b.genesis.parameters.fresh_seconds + 1)
        assert await refused(b.share(record, other, reader)) == (
            "FAILED_PRECONDITION",
            "CHAIN_STALE",
        )


async def test_an_order_that_comes_with_its_own_end_gives_nothing(
    open_members: OpenMembers, reader: TestReader
) -> None:
    async with open_members() as members:
        record = await members.a.stored(1000)
        order = members.a.release_order(record, reader)
        ending = [replace(one, index=one.index + 1) for one in members.a.ending_orders(record)]
        await members.a.block(orders=[order, *ending])
        assert await refused(members.a.key(record, order, reader)) == ENDED
        assert await refused(members.b.share(record, order, reader)) == UNKNOWN


@pytest.mark.slow
async def test_no_share_is_made_while_the_chain_is_silent(
    open_members: OpenMembers, reader: TestReader
) -> None:
    async with open_members() as members:
        record = await members.a.stored(1000)
        await members.a.stop()
        order = members.b.release_order(record, reader)
        await members.b.block(orders=[order])
        members.b.clock.advance(members.b.genesis.parameters.fresh_seconds + 1)
        await members.a.start()
        stale = ("FAILED_PRECONDITION", "CHAIN_STALE")
        assert await refused(members.b.share(record, order, reader)) in (UNKNOWN, stale)
        await members.a.block()
        assert await members.b.share(record, order, reader)


async def test_only_another_members_storage_is_given_the_members_slot(
    open_members: OpenMembers,
) -> None:
    async with open_members() as members:
        record = await members.a.stored(1000)
        request = pb.GetAllianceSlotRequest(record_id=record.id)
        served = members.a.served
        stub = StorageServiceStub(served.channel_as("hospital-b", "storage"))
        answer = await stub.GetAllianceSlot(request)
        assert (answer.alliance_slot, answer.anchor) == (record.alliance_slot, record.octets)
        unknown = pb.GetAllianceSlotRequest(record_id=bytes(16))
        assert await refused(stub.GetAllianceSlot(unknown)) == ("NOT_FOUND", "RECORD_UNKNOWN")
        for channel in (served.channel_as("hospital-b", "compute"), served.holder_channel()):
            with pytest.raises(aio.AioRpcError) as caught:
                await StorageServiceStub(channel).GetAllianceSlot(request)
            assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.slow
async def test_a_member_without_a_share_makes_it_when_it_has_one(
    tmp_path: Path, certificates: TestAlliance, reader: TestReader
) -> None:
    async with open_scene(certificates) as scene:
        world = World(scene, tmp_path / "a", Room(1 << 40, 0), UploadBounds(1 << 30, 30.0))
        async with AsyncExitStack() as stack:
            await world.start()
            stack.push_async_callback(world.stop)
            await world.block(orders=[world.sharing_order()])
            record = await world.stored(1000)
            order = await world.released(record, reader)
            assert await refused(world.share(record, order, reader)) == UNKNOWN
            await world.stop()
            await world.hold_share()
            await world.start()
            world.clock.advance(5)
            await world.block(orders=[world.release_order(record, reader)])
            sealed = await world.share(record, order, reader)
            assert reader.share(sealed, world.keys, record, order, "hospital-a")


@pytest.mark.servers
async def test_two_storages_of_one_member_make_one_share(
    tmp_path: Path, certificates: TestAlliance, mongo_server: MongoServer, reader: TestReader
) -> None:
    mongo: MongoSettings = mongo_settings(mongo_server.uri)
    async with open_scene(certificates) as scene, AsyncExitStack() as stack:
        bounds, room = UploadBounds(1 << 30, 30.0), Room(1 << 40, 0)
        custodian = World(scene, tmp_path / "a", room, bounds)
        slots = SlotKeeping(tmp_path / "slot-keys", WEEK)  # of both
        one = World(scene, tmp_path / "b1", room, bounds, mongo, member="hospital-b", slots=slots)
        two = one.another(tmp_path / "b2", "hospital-b", mongo)
        await one.hold_share()
        for world in (custodian, one, two):
            await world.start()
            stack.push_async_callback(world.stop)
        await custodian.block(orders=[custodian.sharing_order()])
        record = await custodian.stored(1000)
        for _ in range(5):
            order = await custodian.released(record, reader)
            await two.applied(order.height)
            answers = await asyncio.gather(
                one.share(record, order, reader), two.share(record, order, reader)
            )
            assert answers[0] == answers[1]


def test_the_fixtures_key_is_three_of_four() -> None:
    entry = record_key().entry
    assert (entry.threshold, entry.guardians) == (3, MEMBERS)
