"""Erasure: no byte after the block, no copy of the store that opens, and reports that mean it."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward_chain.acts import anchor_record
from cipherward_chain.canonical import decode_map
from cipherward_chain.domains import ERASED
from cipherward_chain.sealing import OpeningRejected, custodian_place
from cipherward_chain.signatures import SigningKey, verify_signature
from cipherward_kit.errors import reason_of
from cipherward_kit.testing import eventually
from cipherward_member.reports import OrderKey
from cipherward_storage.effects import Erasure
from cipherward_storage.erasures import Statements
from cipherward_storage.records import Anchor, KeptSlot, digest_of
from cipherward_storage.slot_keys import SlotKeys
from cipherward_storage.slots import CustodianSlots, KeptSlotUnusable
from cipherward_storage.testing import make_record

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import OpenWorld

    from cipherward_chain.orders import Order
    from cipherward_storage.testing import TestReader, TestRecord
    from cipherward_storage.testing_world import World

MEMBER = "hospital-a"
ENDED = ("FAILED_PRECONDITION", "RELEASE_ENDED")
RENEWAL_SECONDS = 5  # by the test's clock; the renewal looks ten times a second then


async def refused(call: Any) -> tuple[str, str]:
    """Return code and reason of the refusal that `call` ends in."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, reason_of(caught.value)


async def described(world: World, record: TestRecord) -> bool:
    try:
        await world.stub.DescribeRecord(pb.DescribeRecordRequest(record_id=record.id), timeout=10)
    except aio.AioRpcError:
        return False
    return True


async def renewed(world: World) -> None:
    """Let the time of a slot key pass."""
    keys = SlotKeys(world.slot_keys, lambda: 0)
    before = await asyncio.to_thread(keys.oldest_number)
    world.clock.advance(RENEWAL_SECONDS + 1)
    await world.block()

    async def gone() -> bool:
        return await asyncio.to_thread(keys.oldest_number) > before

    await eventually(gone, what="the renewal")


def statement_digest(world: World, order: Order, record: TestRecord, *, ours: bool) -> bytes:
    """The digest that a member's statement must have."""
    key = SigningKey(world.keys.member_seeds[world.member])
    statements = Statements(world.genesis.chain_id, world.member, key)
    at = OrderKey(order.height, order.index)
    erasure = Erasure(at, digest_of(order.to_bytes()), record.id, ours)
    return digest_of(statements.of(erasure))


@pytest.mark.slow
async def test_an_erased_record_is_gone_with_its_block_and_its_id_is_refused(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world(holds_share=True) as world:
        record, other = await world.stored(1000), await world.stored(500)
        release = await world.released(record, reader)
        kept = await world.released(other, reader, grant=b"H" * 16)
        assert await world.share(record, release, reader)
        await world.block(orders=[world.erasure_order(record)])
        for call in (
            world.key(record, release, reader),
            world.share(record, release, reader),
            world.ciphertext(record, release, reader),
        ):
            assert await refused(call) == ENDED
        assert await refused(world.put(record)) == ("FAILED_PRECONDITION", "RECORD_ERASED")

        async def gone() -> bool:
            return not await described(world, record) and await world.bodies.count() == 1

        await eventually(gone, what="the deletion")
        late = await world.released(record, reader, grant=b"I" * 16)
        unknown = ("NOT_FOUND", "RELEASE_UNKNOWN")
        assert await refused(world.key(record, late, reader)) == unknown
        assert await refused(world.share(record, late, reader)) == unknown
        assert await world.ciphertext(other, kept, reader) == other.ciphertext


@pytest.mark.slow
async def test_the_custodian_reports_when_the_slot_key_is_gone_and_not_before(
    open_world: OpenWorld,
) -> None:
    async with open_world(renewal_seconds=RENEWAL_SECONDS) as world:
        record = await world.stored(1000)
        order = world.erasure_order(record)
        await world.block(orders=[order])

        async def gone() -> bool:
            return not await described(world, record)

        await eventually(gone, what="the deletion")
        await world.stop()
        await world.start()
        await world.block()
        assert world.told() == []
        await renewed(world)
        (report,) = await world.reports(1)
        assert report.order == chain_pb.OrderRef(height=order.height, index=order.index)
        assert report.outcome == chain_pb.OUTCOME_DONE
        assert report.digest == statement_digest(world, order, record, ours=True)


async def test_a_guardian_reports_at_once_and_who_is_neither_reports_nothing(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        theirs, foreign = (make_record(world.keys, "hospital-b", 10) for _ in range(2))
        order = world.erasure_order(theirs)
        unnamed = world.erasure_order(foreign, 1)
        others = {**unnamed.arguments, "members": ["hospital-b", "hospital-c"]}
        unnamed = replace(unnamed, arguments=others)
        await world.block(orders=[order, unnamed])
        (report,) = await world.reports(1)
        assert (report.order.height, report.order.index) == (order.height, 0)
        assert report.digest == statement_digest(world, order, theirs, ours=False)
        # Refused for ever also by whoever was not named, and may become a guardian later.
        anchoring = anchor_record(foreign.anchor, foreign.slot_digest)
        await world.block(world.transaction("hospital-b", anchoring))
        later = await world.released(foreign, reader)
        assert await refused(world.share(foreign, later, reader)) == (
            "NOT_FOUND",
            "RELEASE_UNKNOWN",
        )


async def test_an_erasure_ends_a_running_download(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = await world.stored(24 * 1024 * 1024)  # more than the transport takes unread
        order = await world.released(record, reader)
        call = world.download(record, order, reader)
        assert (await call.read()).part
        await world.block(orders=[world.erasure_order(record)])

        async def rest() -> None:
            while await call.read() is not aio.EOF:
                pass

        assert await refused(rest()) == ENDED


async def test_record_and_erasure_out_of_form_change_nothing(open_world: OpenWorld) -> None:
    async with open_world() as world:
        record = await world.stored(100)
        for name, value in (("record", b"short"), ("custodian", 7), ("members", MEMBER)):
            order = world.erasure_order(record)
            broken = {**order.arguments, name: value}
            wrong = world.chain.order(0, "erase_record", **broken)  # pyright: ignore[reportArgumentType] - wrong on purpose
            await world.block(orders=[wrong])
            assert await described(world, record)


def test_a_statement_says_who_erased_what_for_which_order_and_is_signed() -> None:
    key = SigningKey(bytes(32))
    erasure = Erasure(OrderKey(7, 1), b"o" * 32, b"r" * 16, True)
    signed = Statements("chain", MEMBER, key).of(erasure)
    said, signature = signed[4:-64], signed[-64:]
    verify_signature(key.public_key, ERASED + said, signature)
    assert decode_map(said) == {
        "chain_id": "chain",
        "member": MEMBER,
        "role": "custodian",
        "record": b"r" * 16,
        "height": 7,
        "index": 1,
        "order_digest": b"o" * 32,
    }
    assert Statements("chain", MEMBER, key).of(erasure) == signed


def kept_slots(backup: Path, record: TestRecord) -> list[KeptSlot]:
    """Everything in a copy of the database that a slot could be made of."""
    with closing(sqlite3.connect(backup / "storage.sqlite")) as connection:
        rows = connection.execute(
            "SELECT key_number, kept FROM records WHERE record_id = ?1"
            " UNION ALL SELECT key_number, kept FROM uploads WHERE record_id = ?1 AND kept != x''",
            (record.id,),
        )
        return [KeptSlot(number, octets) for number, octets in rows]


@pytest.mark.slow
async def test_no_backup_opens_an_erased_record_after_the_next_renewal(
    open_embedded_world: OpenWorld, tmp_path: Path
) -> None:
    async with open_embedded_world(renewal_seconds=RENEWAL_SECONDS) as world:
        record = await world.stored(1000)
        backup = tmp_path / "backup"
        without_keys = shutil.ignore_patterns("slot-keys")
        await asyncio.to_thread(shutil.copytree, world.folder, backup, ignore=without_keys)
        keys = SlotKeys(world.slot_keys, lambda: 0)
        custodian = world.keys.custodian_keys[MEMBER]
        slots = CustodianSlots(world.genesis.chain_id, MEMBER, custodian, keys)
        anchor = Anchor.parse(record.octets)
        (kept,) = kept_slots(backup, record)
        assert slots.key_part(anchor, kept) == record.key_part  # as long as the key is there

        await world.block(orders=[world.erasure_order(record)])
        await renewed(world)
        await world.reports(1)
        with pytest.raises(KeptSlotUnusable):
            slots.key_part(anchor, kept)
        # Nor does the custodian's own key open anything that is in the backup.
        everything = b"".join(path.read_bytes() for path in backup.rglob("*") if path.is_file())
        assert record.slot not in everything
        assert record.key_part not in everything
        for octets in (kept.octets, record.alliance_slot):
            with pytest.raises(OpeningRejected):
                custodian.open(octets, custodian_place(world.genesis.chain_id, record.id, MEMBER))
