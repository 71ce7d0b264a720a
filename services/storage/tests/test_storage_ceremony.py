"""A storage in the ceremony of a record key, from the order that begins it to its share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.group_key_orders import SHARE_KEY, CeremonyOrder
from cipherward_chain.group_keys import RECORD
from cipherward_chain.orders import Order
from cipherward_chain.testing import seed_of
from cipherward_chain.transactions import parse_transaction
from cipherward_kit.testing import eventually
from cipherward_member.ceremony_steps import FollowedCeremony, Self
from cipherward_member.ceremony_store import CeremonyMessage
from cipherward_member.testing_keys import SharedKey
from cipherward_storage.records import digest_of
from cipherward_storage.testing import CHAIN, MEMBERS, alliance_part, make_record
from cipherward_threshold.group.tdh2 import Label, make_share, verify_slot

if TYPE_CHECKING:
    from conftest import OpenWorld

    from cipherward_storage.testing import TestReader, TestRecord
    from cipherward_storage.testing_world import World

OURS, OTHERS = MEMBERS[0], MEMBERS[1:]
WINDOW = 10


def ceremony_order(world: World, number: int, old: SharedKey | None = None) -> CeremonyOrder:
    return CeremonyOrder(
        ceremony=bytes([number]) * 16,
        purpose=RECORD,
        key_epoch=1,
        sharing=1 if old is None else old.entry.sharing + 1,
        members=MEMBERS,
        dealers=MEMBERS,
        threshold=3,
        window=WINDOW,
        start=world.chain.next_height(),
        old=None if old is None else old.entry,
    )


@dataclass
class Table:
    """The ceremony as the other three members play it; ours is played by the storage.

    seats: what each member has followed; ours is only looked at.
    """

    world: World
    order: CeremonyOrder
    old: SharedKey | None = None
    seats: dict[str, FollowedCeremony] = field(default_factory=dict[str, FollowedCeremony])
    taken: int = 0  # of what the storage has submitted

    def __post_init__(self) -> None:
        self.seats = {name: FollowedCeremony(Self(CHAIN, name), self.order) for name in MEMBERS}

    async def begin(self) -> None:
        height = self.world.chain.next_height()
        arguments = self.order.arguments()
        ceremony = self.order.ceremony
        begun = Order(height, 0, ceremony, "key-ceremony", SHARE_KEY, arguments)
        await self.world.block(orders=[begun])

    async def round(self) -> None:
        """Let everybody say what it owes, and make the block that takes it."""
        ours = [] if not self.seats[OURS].awaits_us else await self._said_by_storage()
        theirs = [
            (name, kind, body)
            for name in OTHERS
            if self.seats[name].awaits_us
            for kind, body in self.seats[name].owed(
                seed_of(f"{name}/{self.order.sharing}"),
                None if self.old is None else self.old.shares[name],
            )
        ]
        await self._take([*ours, *theirs])

    async def _said_by_storage(self) -> list[tuple[str, str, bytes]]:
        submitted = self.world.ledger.submitted
        await eventually(lambda: len(submitted) > self.taken, what="the storage's message")
        fresh, self.taken = submitted[self.taken :], len(submitted)
        acts = [act for raw in fresh for act in parse_transaction(raw).body.acts]
        said = [act.ceremony_message for act in acts if act.HasField("ceremony_message")]
        assert {one.instance_id for one in said} == {self.order.ceremony}
        return [(OURS, one.kind, one.body) for one in said]

    async def _take(self, said: Sequence[tuple[str, str, bytes]]) -> None:
        height = self.world.chain.next_height()
        transactions = [
            self.world.transaction(
                name,
                chain_pb.Act(
                    ceremony_message=chain_pb.CeremonyMessage(
                        instance_id=self.order.ceremony, kind=kind, body=body
                    )
                ),
            )
            for name, kind, body in said
        ]
        messages = [
            CeremonyMessage(self.order.ceremony, height, place, *one)
            for place, one in enumerate(said)
        ]
        for seat in self.seats.values():
            seat.take(messages, height)
        await self.world.block(*transactions)

    async def finish(self) -> SharedKey:
        """Go on to the end, bring the sharing into force; return it with the others' shares."""
        while self.seats[OURS].phase != "over":
            await self.round()
        entry = self.seats[OURS].entry(self.world.chain.next_height())
        assert entry is not None
        shares = {
            name: self.seats[name].share(seed_of(f"{name}/{self.order.sharing}")) for name in OTHERS
        }
        made = SharedKey(CHAIN, entry, shares)
        await self.world.block(orders=[self.world.sharing_order(made)])
        return made


def share_by(key: SharedKey, name: str, record: TestRecord, order: Order) -> bytes:
    """Return another guardian's share."""
    anchor = record.anchor
    label = Label(CHAIN, anchor.record_id, anchor.custodian, anchor.key_epoch)
    slot = verify_slot(key.key, label, record.alliance_slot)
    index = key.entry.index_of(name)
    assert index is not None
    context = digest_of(order.to_bytes())
    return make_share(key.key, index, key.shares[name], slot, context)


async def opens(world: World, key: SharedKey, reader: TestReader) -> bool:
    """Store a record under a key and have it opened by us and two others."""
    record = make_record(world.keys, OURS, 100, held=key)
    await world.put(record)
    await world.anchored(record)
    order = await world.released(record, reader)
    sealed = await world.share(record, order, reader)
    shares = {name: share_by(key, name, record, order) for name in OTHERS[:2]}
    shares[OURS] = reader.share(sealed, world.keys, record, order, OURS)
    return alliance_part(record, shares, order, key) == record.alliance_part


@pytest.mark.slow
async def test_a_storage_makes_a_key_with_others_and_serves_its_share(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world(applied=False) as world:
        table = Table(world, ceremony_order(world, 1))
        await table.begin()
        key = await table.finish()
        assert key.entry.guardians == MEMBERS
        assert await opens(world, key, reader)
        await world.stop()
        await world.start()
        await world.block()
        assert await opens(world, key, reader)


@pytest.mark.slow
async def test_a_storage_that_restarts_in_every_window_has_the_same_share(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world(applied=False) as world:
        table = Table(world, ceremony_order(world, 1))
        await table.begin()
        while table.seats[OURS].phase != "over":
            await table.round()
            await world.stop()
            await world.start()
            await world.block()  # a chain that was silent to it speaks again
            for seat in table.seats.values():
                seat.take([], world.chain.height)
        key = await table.finish()
        assert await opens(world, key, reader)


@pytest.mark.slow
async def test_a_resharing_replaces_the_share_and_keeps_the_key(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world(applied=False) as world:
        first = Table(world, ceremony_order(world, 1))
        await first.begin()
        key = await first.finish()
        second = Table(world, ceremony_order(world, 2, key), key, taken=first.taken)
        await second.begin()
        renewed = await second.finish()
        assert renewed.entry.public_key == key.entry.public_key
        assert renewed.entry.sharing == 2
        assert await opens(world, renewed, reader)
        with pytest.raises(Exception, match="too few"):  # old and new shares do not mix
            await opens(world, key, reader)
