"""Slots at rest: under keys that are renewed and destroyed, never as their author sealed them."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cipherward_chain.testing import make_genesis
from cipherward_kit.testing import eventually
from cipherward_member.errors import KeyUnusable
from cipherward_storage.errors import SlotRejected
from cipherward_storage.records import Anchor, KeptSlot
from cipherward_storage.slot_keys import SlotKeyGone, SlotKeys
from cipherward_storage.slot_renewal import LivingSlot, Renewing, SlotRenewal
from cipherward_storage.slots import CustodianSlots, KeptSlotUnusable
from cipherward_storage.testing import make_record

if TYPE_CHECKING:
    from conftest import OpenHome, OpenWorld

    from cipherward_storage.testing import TestReader

_, KEYS = make_genesis()
MEMBER, CHAIN = "hospital-a", "test-chain"
WEEK = 7 * 24 * 3600


@dataclass
class Clock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Keeping:
    """A custodian's keys and slots in a folder."""

    folder: Path
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.keys = SlotKeys(self.folder, self.clock)
        self.keys.open()
        self.slots = CustodianSlots(CHAIN, MEMBER, KEYS.custodian_keys[MEMBER], self.keys)


@pytest.fixture
def keeping(tmp_path: Path) -> Keeping:
    return Keeping(tmp_path / "slot-keys")


def test_a_slot_is_kept_under_the_newest_key_and_opens_in_its_place_only(keeping: Keeping) -> None:
    record, other = make_record(KEYS, MEMBER, 10), make_record(KEYS, MEMBER, 10)
    anchor = Anchor.parse(record.octets)
    kept = keeping.slots.take(anchor, record.slot)
    assert kept.key_number == 1
    assert record.key_part not in kept.octets
    assert keeping.slots.key_part(anchor, kept) == record.key_part
    with pytest.raises(KeptSlotUnusable):  # copied into another record
        keeping.slots.key_part(Anchor.parse(other.octets), kept)
    with pytest.raises(KeptSlotUnusable):
        keeping.slots.key_part(anchor, KeptSlot(1, kept.octets[:-1] + b"\0"))
    with pytest.raises(KeptSlotUnusable):
        keeping.slots.key_part(anchor, KeptSlot(1, b""))
    changed = replace(anchor, custodian_part_commitment=bytes(32))
    with pytest.raises(KeptSlotUnusable):  # another anchor of the same id
        keeping.slots.key_part(changed, kept)
    keeping.keys.add()
    with pytest.raises(KeptSlotUnusable):  # the number is bound
        keeping.slots.key_part(anchor, replace(kept, key_number=2))
    moved = keeping.slots.rewrap(record.id, kept)
    assert moved.key_number == 2
    keeping.keys.destroy_below(2)
    assert keeping.slots.key_part(anchor, moved) == record.key_part
    with pytest.raises(KeptSlotUnusable):
        keeping.slots.key_part(anchor, kept)
    with pytest.raises(KeptSlotUnusable):
        keeping.slots.rewrap(record.id, kept)


def test_another_chains_custodian_opens_nothing(keeping: Keeping) -> None:
    record = make_record(KEYS, MEMBER, 10)
    anchor = Anchor.parse(record.octets)
    kept = keeping.slots.take(anchor, record.slot)
    other = CustodianSlots("other", MEMBER, KEYS.custodian_keys[MEMBER], keeping.keys)
    with pytest.raises(KeptSlotUnusable):
        other.key_part(anchor, kept)
    with pytest.raises(SlotRejected):
        other.take(anchor, record.slot)


def test_keys_are_numbered_and_destroyed_from_the_oldest(keeping: Keeping) -> None:
    keys = keeping.keys
    assert (keys.newest().number, keys.oldest_number()) == (1, 1)
    first = keys.get(1)
    keeping.clock.now += 5
    second = keys.add()
    assert (second.number, second.made_at - first.made_at) == (2, 5)
    assert first.secret != second.secret
    assert keys.newest() == second
    keys.open()  # a start makes no further key
    assert keys.newest() == second
    path = keeping.folder / "slot-key-0000000001"
    with path.open("rb") as still_open:
        assert keys.destroy_below(2) == 1
        assert set(still_open.read()) == {0}  # overwritten before it was deleted
    assert keys.oldest_number() == 2
    for _ in range(2):
        with pytest.raises(SlotKeyGone):
            keys.get(1)
    assert keys.destroy_below(2) == 0


def test_two_storages_that_make_a_key_at_once_have_the_same_one(keeping: Keeping) -> None:
    other = Keeping(keeping.folder)
    assert other.keys.newest() == keeping.keys.newest()
    made = keeping.keys.add()
    assert other.keys.newest() == made
    keeping.keys.destroy_below(2)
    with pytest.raises(SlotKeyGone):
        other.keys.get(1)
    assert other.keys.newest() == made


def test_what_a_stop_leaves_is_no_key_and_goes(keeping: Keeping) -> None:
    partial = keeping.folder / ".new-0123"
    os.link(keeping.folder / "slot-key-0000000001", partial)
    keeping.keys.open()
    assert partial.exists()  # it may be being made this moment
    os.utime(partial, (0, 0))
    keeping.keys.open()
    assert not partial.exists()
    assert keeping.keys.newest().number == 1


def test_keys_are_for_their_owner_alone(keeping: Keeping, tmp_path: Path) -> None:
    assert stat.S_IMODE(keeping.folder.stat().st_mode) == 0o700
    (path,) = keeping.folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keeping.keys.get(1).secret.hex() not in repr(keeping.keys.get(1))
    keeping.folder.chmod(0o755)
    with pytest.raises(KeyUnusable, match="chmod 700"):
        keeping.keys.open()
    (tmp_path / "file").touch()
    with pytest.raises(KeyUnusable, match="cannot be used"):
        SlotKeys(tmp_path / "file", Clock()).open()


def test_a_damaged_or_missing_key_is_gone(keeping: Keeping) -> None:
    path = keeping.folder / "slot-key-0000000001"
    path.write_bytes(b"short")
    with pytest.raises(SlotKeyGone, match="damaged"):
        SlotKeys(keeping.folder, keeping.clock).newest()
    path.unlink()
    with pytest.raises(SlotKeyGone, match="empty"):
        keeping.keys.newest()


class Stopped(Exception):
    """The process was stopped here."""


@dataclass
class StoppingStore:
    """A store of slots that is stopped before its n-th act."""

    living: dict[bytes, KeptSlot]
    floor: int = 0
    left: int = 1_000
    known: dict[int, bytes] = field(default_factory=dict[int, bytes])

    def act(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Stopped

    async def ours(self) -> bool:
        self.act()
        return True

    async def registered(self, key_number: int, fingerprint: bytes) -> bytes:
        self.act()
        return self.known.setdefault(key_number, fingerprint)

    async def raise_floor(self, key_number: int) -> None:
        self.act()
        self.floor = max(self.floor, key_number)

    async def outdated(self, key_number: int, limit: int) -> Sequence[LivingSlot]:
        self.act()
        old = [(name, one) for name, one in self.living.items() if one.key_number < key_number]
        return [LivingSlot(name, "", one) for name, one in old[:2]]  # several batches

    async def replace(self, moved: Sequence[tuple[LivingSlot, KeptSlot]]) -> None:
        self.act()
        for living, kept in moved:
            self.living[living.record_id] = kept


async def test_a_stop_anywhere_in_a_renewal_loses_no_slot(keeping: Keeping) -> None:
    records = [make_record(KEYS, MEMBER, 10) for _ in range(5)]
    anchors = {record.id: Anchor.parse(record.octets) for record in records}
    store = StoppingStore(
        {record.id: keeping.slots.take(anchors[record.id], record.slot) for record in records}
    )
    done = list[int]()
    renewal = SlotRenewal(
        store,
        keeping.keys,
        keeping.slots,
        Renewing(WEEK, keeping.clock, lambda: done.append(1)),
    )
    stops = 0
    for acts in range(14):
        before = keeping.keys.oldest_number()
        keeping.clock.now += WEEK
        store.left = acts
        try:
            await renewal.step()
        except Stopped:
            stops += 1
        for record in records:
            part = keeping.slots.key_part(anchors[record.id], store.living[record.id])
            assert part == record.key_part
        assert keeping.keys.oldest_number() >= before
        store.left = 1_000
        await renewal.step()  # after the restart
        assert {kept.key_number for kept in store.living.values()} == {store.floor}
        assert keeping.keys.oldest_number() == keeping.keys.newest().number == store.floor
    assert stops >= 8
    assert len(done) == 14


async def test_a_key_that_is_young_is_left_alone(keeping: Keeping) -> None:
    store = StoppingStore({})
    renewing = Renewing(WEEK, keeping.clock, lambda: None)
    renewal = SlotRenewal(store, keeping.keys, keeping.slots, renewing)
    keeping.clock.now += WEEK - 1
    assert await renewal.step() == 0
    assert keeping.keys.newest().number == 1
    keeping.clock.now += 1
    assert await renewal.step() == 1
    assert keeping.keys.newest().number == 2


async def test_a_slot_that_does_not_open_keeps_its_key(keeping: Keeping) -> None:
    record = make_record(KEYS, MEMBER, 10)
    good = keeping.slots.take(Anchor.parse(record.octets), record.slot)
    store = StoppingStore({record.id: good, b"damaged": KeptSlot(1, bytes(60))})
    renewing = Renewing(WEEK, keeping.clock, lambda: None)
    renewal = SlotRenewal(store, keeping.keys, keeping.slots, renewing)
    keeping.clock.now += WEEK
    assert await renewal.step() == 0
    assert keeping.keys.oldest_number() == 1  # whoever repairs the row needs it
    assert store.living[record.id].key_number == 2
    store.living[b"damaged"] = keeping.slots.rewrap(record.id, good)
    assert await renewal.step() == 1


async def test_a_folder_that_is_not_the_stores_is_refused(
    open_home: OpenHome, tmp_path: Path
) -> None:
    async with open_home() as home:
        for name, refused in (("keys", False), ("keys", False), ("others", True)):
            keeping = Keeping(tmp_path / name)
            renewing = Renewing(WEEK, keeping.clock, lambda: None)
            renewal = SlotRenewal(home.slots, keeping.keys, keeping.slots, renewing)
            if refused:
                with pytest.raises(KeyUnusable, match="the same folder"):
                    await renewal.step()
            else:
                await renewal.step()


async def test_a_storage_whose_slot_keys_were_not_restored_does_not_start(
    open_embedded_world: OpenWorld,
) -> None:
    async with open_embedded_world() as world:
        await world.stored(100)
        await world.stop()
        (world.slot_keys / "slot-key-0000000001").unlink()
        with pytest.raises(KeyUnusable, match="restore it"):
            await world.start()


async def test_the_stores_slots_are_renewed_as_a_whole(open_home: OpenHome, tmp_path: Path) -> None:
    async with open_home() as home:
        keeping = Keeping(tmp_path / "keys")
        renewing = Renewing(WEEK, keeping.clock, lambda: None)
        renewal = SlotRenewal(home.slots, keeping.keys, keeping.slots, renewing)
        for _ in range(3):
            keeping.clock.now += WEEK
            assert await renewal.step() == 1
        assert keeping.keys.newest().number == 4


async def test_what_is_stored_is_never_the_authors_slot(
    open_embedded_world: OpenWorld, reader: TestReader
) -> None:
    async with open_embedded_world(renewal_seconds=5) as world:
        record = world.record(2 * 1024 * 1024)
        request_id = "00000000-0000-4000-8000-000000000000"
        with pytest.raises(Exception, match="ended after"):
            await world.put(record, request_id=request_id, parts=record.parts()[:1])
        for _ in range(2):
            octets = b"".join(
                path.read_bytes() for path in world.folder.rglob("*") if path.is_file()
            )
            assert record.slot not in octets
            assert record.slot[:64] not in octets
            assert record.key_part not in octets
            if world.chain.height < 3:  # once while it is under way, once when it is a record
                await world.put(record, request_id=request_id, offset=1024 * 1024)
                await world.anchored(record)
        keys = SlotKeys(world.slot_keys, lambda: 0)
        world.clock.advance(6)
        await world.block()
        await eventually(lambda: keys.oldest_number() == 2, what="the renewal")
        order = await world.released(record, reader)
        answer = await world.key(record, order, reader)
        assert reader.key_part(answer.sealed_part, world.keys, record, order) == record.key_part
