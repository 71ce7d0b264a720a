"""From a proven order to the key part in the reader's hands, and to everybody else's refusal."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from cipherward_chain.acts import anchor_record
from cipherward_chain.sealing import OpeningRejected
from cipherward_kit.errors import reason_of
from cipherward_storage.service import GET_RECORD, GET_RELEASED_KEY

if TYPE_CHECKING:
    from conftest import OpenWorld

    from cipherward_storage.testing import TestReader
    from cipherward_storage.testing_world import World


async def test_a_released_record_is_opened_by_its_reader(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = await world.stored()
        order = await world.released(record, reader)
        answer = await world.key(record, order, reader)
        part = reader.key_part(answer.sealed_part, world.keys, record, order)
        assert part == record.key_part
        assert (answer.anchor, answer.alliance_slot) == (record.octets, record.alliance_slot)
        assert await world.ciphertext(record, order, reader) == record.ciphertext
        (report,) = await world.reports(1)
        assert report.outcome == chain_pb.OUTCOME_DONE
        assert report.digest == hashlib.sha256(answer.sealed_part).digest()


async def refused(call: Awaitable[object]) -> tuple[str, str]:
    """Return code and reason of the refusal that `call` ends in."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, reason_of(caught.value)


async def test_two_readers_of_one_record_each_open_their_own_release(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record, other = await world.stored(1000), world.reader()
        first = await world.released(record, reader)
        second = await world.released(record, other, grant=b"H" * 16)
        sealed = (await world.key(record, first, reader)).sealed_part
        sealed_other = (await world.key(record, second, other)).sealed_part
        assert reader.key_part(sealed, world.keys, record, first) == record.key_part
        assert other.key_part(sealed_other, world.keys, record, second) == record.key_part
        with pytest.raises(OpeningRejected):
            other.key_part(sealed, world.keys, record, first)
        with pytest.raises(OpeningRejected):  # the order is part of the place
            reader.key_part(sealed, world.keys, record, second)
        assert await refused(world.key(record, first, other)) == (
            "UNAUTHENTICATED",
            "READ_REJECTED",
        )


async def test_the_same_bytes_are_answered_every_time(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = await world.stored(1000)
        order = await world.released(record, reader)
        first = await world.key(record, order, reader)
        assert await world.key(record, order, reader) == first
        await world.stop()
        await world.start()
        await world.block()
        assert await world.key(record, order, reader) == first


async def test_a_read_by_another_key_is_refused_like_a_bad_signature(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = await world.stored(1000)
        order = await world.released(record, reader)
        stranger = world.reader()
        for method, fetch in fetches_of(world).items():
            by_stranger = world.read(method, record.id, order, stranger)
            forged = world.read(method, record.id, order, reader)
            message = chain_pb.Authorization.FromString(forged.authorization)
            message.pseudonym.signature = bytes(64)
            forged.authorization = message.SerializeToString()
            replayed = world.read(method, record.id, order, reader)
            await fetch(replayed)
            other_method = GET_RECORD if method == GET_RELEASED_KEY else GET_RELEASED_KEY
            crossed = world.read(other_method, record.id, order, reader)
            late = world.read(method, record.id, order, reader)
            answers = [
                await refused(fetch(read)) for read in (by_stranger, forged, replayed, crossed)
            ]
            world.clock.advance(61)
            await world.block()
            answers.append(await refused(fetch(late)))
            assert set(answers) == {("UNAUTHENTICATED", "READ_REJECTED")}


Fetch = Callable[[chain_pb.AuthorizedRead], Awaitable[object]]


def fetches_of(world: World) -> dict[str, Fetch]:
    """Return, by method, what fetches with a read and ends when the answer is whole."""

    async def key(read: chain_pb.AuthorizedRead) -> object:
        return await world.holder.GetReleasedKey(pb.GetReleasedKeyRequest(read=read), timeout=10)

    async def ciphertext(read: chain_pb.AuthorizedRead) -> object:
        call = world.holder.GetRecord(pb.GetRecordRequest(read=read), timeout=10)
        return [message.part async for message in call]

    return {GET_RELEASED_KEY: key, GET_RECORD: ciphertext}


async def test_a_read_out_of_form_is_malformed(open_world: OpenWorld, reader: TestReader) -> None:
    async with open_world() as world:
        record = await world.stored(1000)
        order = await world.released(record, reader)
        for method, fetch in fetches_of(world).items():
            without_order = world.read(method, record.id, None, reader)
            short_id = world.read(method, b"short", order, reader)
            garbage = chain_pb.AuthorizedRead(body=b"\xff", authorization=b"\xff")
            for read in (without_order, short_id, garbage):
                answer = await refused(fetch(read))
                assert answer == ("INVALID_ARGUMENT", "READ_MALFORMED")


async def test_an_order_that_released_nothing_here_is_unknown(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record, another = await world.stored(1000), await world.stored(500)
        order = await world.released(record, reader)
        never = replace(order, index=7)
        assert await refused(world.key(record, never, reader)) == ("NOT_FOUND", "RELEASE_UNKNOWN")
        assert await refused(world.key(another, order, reader)) == ("NOT_FOUND", "RELEASE_UNKNOWN")
        for wrong in ((record, never), (another, order)):
            assert await refused(world.ciphertext(*wrong, reader)) == (
                "NOT_FOUND",
                "RECORD_UNKNOWN",
            )


async def test_an_order_for_another_custodian_is_ignored(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = await world.stored(1000)
        order = await world.released(record, reader, custodian="hospital-b")
        assert await refused(world.key(record, order, reader)) == ("NOT_FOUND", "RELEASE_UNKNOWN")
        mine = await world.released(record, reader)
        (report,) = await world.reports(1)
        assert report.order.height == mine.height  # the other custodian's is not ours to report


@pytest.mark.parametrize(
    "change",
    [
        {"anchor_digest": bytes(32)},
        {"slot_digest": bytes(32)},
        {"record": bytes(16)},
        {"reader_key": b"\xff" * 1216},
        {"reader_key": bytes(10)},
        {"reader": b""},
        {"ends": "tomorrow"},
        {"surplus": 1},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_an_order_that_does_not_fit_the_record_fails_and_releases_nothing(
    open_world: OpenWorld, reader: TestReader, change: dict[str, bytes | str | int]
) -> None:
    async with open_world() as world:
        record = await world.stored(1000)
        order = await world.released(record, reader, **change)
        (report,) = await world.reports(1)
        assert (report.outcome, report.digest) == (chain_pb.OUTCOME_FAILED, b"")
        assert report.order == chain_pb.OrderRef(height=order.height, index=0)
        assert await refused(world.key(record, order, reader)) == ("NOT_FOUND", "RELEASE_UNKNOWN")


async def test_a_record_that_the_chain_does_not_anchor_is_not_released(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = world.record(1000)
        await world.put(record)
        await world.released(record, reader)
        (report,) = await world.reports(1)
        assert report.outcome == chain_pb.OUTCOME_FAILED


async def test_a_revoked_release_is_refused(open_world: OpenWorld, reader: TestReader) -> None:
    async with open_world() as world:
        record = await world.stored(1000)
        order = await world.released(record, reader)
        other = await world.released(record, reader, grant=b"H" * 16)
        await world.block(orders=world.ending_orders(record))
        ended = ("FAILED_PRECONDITION", "RELEASE_ENDED")
        assert await refused(world.key(record, order, reader)) == ended
        assert await refused(world.ciphertext(record, order, reader)) == ended
        assert (await world.key(record, other, reader)).sealed_part  # another grant lives on


async def test_a_release_ends_at_its_time_by_the_local_clock_and_by_block_time(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = await world.stored(1000)
        order = await world.released(record, reader, ends=world.clock.seconds + 20)
        world.clock.advance(18)
        assert (await world.key(record, order, reader)).sealed_part
        world.clock.advance(3)  # no block has come: the local clock may refuse
        ended = ("FAILED_PRECONDITION", "RELEASE_ENDED")
        assert await refused(world.key(record, order, reader)) == ended
        await world.block()
        world.clock.advance(-10)  # a local clock that is set back does not bring it back
        assert await refused(world.key(record, order, reader)) == ended
        assert await refused(world.ciphertext(record, order, reader)) == ended


async def test_a_silent_chain_ends_every_right_until_it_speaks_again(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = await world.stored(1000)
        order = await world.released(record, reader)
        world.clock.advance(world.genesis.parameters.fresh_seconds - 1)
        assert (await world.key(record, order, reader)).sealed_part
        world.clock.advance(2)
        stale = ("FAILED_PRECONDITION", "CHAIN_STALE")
        assert await refused(world.key(record, order, reader)) == stale
        assert await refused(world.ciphertext(record, order, reader)) == stale
        await world.block()
        assert (await world.key(record, order, reader)).sealed_part


async def test_a_read_that_is_ahead_of_the_block_waits_for_it(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = await world.stored(1000)
        order = world.release_order(record, reader)
        world.grow(orders=[order])  # the reader knows the block before storage does
        assert (await world.key(record, order, reader)).sealed_part


async def test_record_and_release_may_come_in_one_block(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = world.record(1000)
        await world.put(record)
        order = world.release_order(record, reader)
        act = anchor_record(record.anchor, record.slot_digest)
        await world.block(world.transaction("hospital-a", act), orders=[order])
        assert (await world.key(record, order, reader)).sealed_part


async def test_only_the_members_own_services_manage_records(open_world: OpenWorld) -> None:
    async with open_world() as world:
        for stub in (
            StorageServiceStub(world.served.channel_as("hospital-b", "client")),
            StorageServiceStub(world.served.holder_channel()),
        ):
            with pytest.raises(aio.AioRpcError) as caught:
                await stub.ListRecords(pb.ListRecordsRequest(), timeout=10)
            assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
