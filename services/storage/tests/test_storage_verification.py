"""A store that was put back by any means is held against the chain, record by record."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient

from cipherward.chain.v1 import block_pb2 as chain_pb
from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward_chain.canonical import encode
from cipherward_chain.checkpoint import Checkpoint
from cipherward_chain.comet import header_time_ns, parse_header
from cipherward_chain.light_block import LightBlock
from cipherward_chain.light_source import LightBlockUnavailable
from cipherward_chain.testing import TestChain, make_genesis
from cipherward_chain.wire import NANOS
from cipherward_kit.testing import eventually
from cipherward_storage.chain_state import ChainState
from cipherward_storage.columns import ColumnName
from cipherward_storage.errors import StoreDiffers
from cipherward_storage.mongo.settings import MongoSettings
from cipherward_storage.mongo.testing import mongo_settings
from cipherward_storage.place import StoreOwner
from cipherward_storage.records import digest_of
from cipherward_storage.slot_keys import SlotKeys
from cipherward_storage.slots import CustodianSlots
from cipherward_storage.stores import Stores, open_stores
from cipherward_storage.verification import ANCHORED, ERASED, Verification, Verified
from tests.servers.mongo import MongoServer

if TYPE_CHECKING:
    from conftest import OpenWorld

    from cipherward_storage.testing import TestRecord
    from cipherward_storage.testing_world import World


@dataclass
class Told:
    """What the chain says of records; `of` is the height that the store has followed it to."""

    entries: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    of: int = 0

    def anchored(self, record: TestRecord, height: int, slot_digest: bytes = b"") -> None:
        self.entries[ANCHORED + record.id] = encode(
            {
                "anchor": record.octets,
                "owner": b"",
                "slot_digest": slot_digest or record.slot_digest,
                "height": height,
                "allowed": [],
            }
        )

    def erased(self, record: TestRecord, height: int) -> None:
        self.entries[ERASED + record.id] = encode({"height": height})

    async def read(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes | None]:
        return {key: self.entries.get(key) for key in keys}


@asynccontextmanager
async def stopped(world: World) -> AsyncGenerator[Stores]:
    """Open the stores of a storage that was stopped."""
    await world.stop()
    owner = StoreOwner(world.genesis.chain_id, world.member, world.genesis.digest)
    clock: Callable[[], int] = lambda: world.clock.seconds  # noqa: E731 - a clock is a function
    async with open_stores(world.folder, owner, world.room, world.mongo, clock) as stores:
        yield stores


async def verified(world: World, told: Told) -> Verified:
    """Verify the store of a storage that was stopped."""
    keys = SlotKeys(world.slot_keys, lambda: float(world.clock.seconds))
    key = world.keys.custodian_keys[world.member]
    slots = CustodianSlots(world.genesis.chain_id, world.member, key, keys)
    async with stopped(world) as stores:
        return await Verification(world.member, told.of, stores, slots, told.read).run()


async def settled(world: World) -> tuple[Told, list[TestRecord]]:
    """Store three records, of which the chain anchors two, and a column."""
    told, records = Told(), [world.record(size) for size in (100, 2_000_000, 5)]
    for record in records:
        await world.put(record)
    for record in records[:2]:
        told.of = await world.anchored(record)
        told.anchored(record, told.of)
    async with stopped(world) as stores:
        await stores.columns.put(ColumnName(b"k" * 16, digest_of(b"column")), b"column")
    return told, records


SOUND = Verified(records=3, columns=1, size=2_000_111)


def change(world: World, sql: str, *parameters: bytes) -> None:
    with closing(sqlite3.connect(world.folder / "storage.sqlite")) as connection, connection:
        assert connection.execute(sql, parameters).rowcount == 1


async def test_a_store_of_one_moment_agrees_with_the_chain(open_world: OpenWorld) -> None:
    async with open_world() as world:
        told, records = await settled(world)
        # What comes later, the store will see when it follows the chain again.
        told.erased(records[0], told.of + 1)
        told.anchored(records[2], told.of + 1)
        found = await verified(world, told)
    assert found == SOUND
    found.require_sound()


async def test_an_anchor_that_the_store_forgot_is_found_before_its_record_is_deleted(
    open_embedded_world: OpenWorld,
) -> None:
    async with open_embedded_world() as world:
        told, records = await settled(world)
        change(world, "DELETE FROM anchors WHERE record_id = ?", records[1].id)
        found = await verified(world, told)
    assert found.forgotten == 1
    with pytest.raises(StoreDiffers, match="forgotten 1;"):
        found.require_sound()


@pytest.mark.servers
async def test_a_dump_of_several_moments_is_told(
    mongo_server: MongoServer, open_world_over: Callable[[MongoSettings], OpenWorld]
) -> None:
    settings = mongo_settings(mongo_server.uri)

    def tear(anchor: bytes, record: bytes) -> None:
        """Take what a dump lacks that read anchors and bodies before the place in the chain."""
        with MongoClient[dict[str, Any]](settings.uri) as client:
            database = client[settings.database]
            assert database["anchors"].delete_one({"_id": anchor}).deleted_count == 1
            found = database["records"].find_one({"_id": record})
            assert found is not None
            database["bodies.chunks"].delete_many({"files_id": found["body"]})

    async with open_world_over(settings)() as world:
        told, records = await settled(world)
        await asyncio.to_thread(tear, records[1].id, records[0].id)
        found = await verified(world, told)
    assert (found.forgotten, found.corrupt_records, found.unlike_chain) == (1, 1, 0)


async def test_an_erasure_that_the_store_forgot_is_found(open_embedded_world: OpenWorld) -> None:
    async with open_embedded_world() as world:
        told, records = await settled(world)
        told.erased(records[0], told.of)
        assert (await verified(world, told)).forgotten == 1


@pytest.mark.parametrize("wrong", ["slot", "height", "unknown"])
async def test_a_record_that_the_chain_anchors_otherwise_is_found(
    open_embedded_world: OpenWorld, wrong: str
) -> None:
    async with open_embedded_world() as world:
        told, records = await settled(world)
        if wrong == "unknown":
            del told.entries[ANCHORED + records[0].id]
        elif wrong == "height":
            told.anchored(records[1], told.of - 1)
        else:
            told.anchored(records[1], told.of, bytes(32))
        assert (await verified(world, told)).unlike_chain == 1


async def test_a_record_that_is_anchored_here_and_not_here_is_missing(
    open_embedded_world: OpenWorld,
) -> None:
    async with open_embedded_world() as world:
        told, records = await settled(world)
        change(world, "DELETE FROM records WHERE record_id = ?", records[1].id)
        found = await verified(world, told)
    assert (found.records, found.missing) == (2, 1)


async def test_an_erased_record_is_not_missing(open_world: OpenWorld) -> None:
    async with open_world() as world:
        record = await world.stored(100)
        told = Told(of=await world.block(orders=[world.erasure_order(record)]))
        told.anchored(record, told.of - 1)
        told.erased(record, told.of)
        await eventually(lambda: _gone(world), what="the end of the record")
        assert await verified(world, told) == Verified()


async def _gone(world: World) -> bool:
    return await world.bodies.count() == 0


async def test_slots_that_the_slot_keys_at_hand_do_not_open_are_counted(
    open_world: OpenWorld,
) -> None:
    async with open_world() as world:
        told, _ = await settled(world)
        await asyncio.to_thread(shutil.rmtree, world.slot_keys)
        await asyncio.to_thread(SlotKeys(world.slot_keys, lambda: 0.0).open)
        found = await verified(world, told)
    assert found.slots_unusable == 3


async def test_bytes_that_are_others_are_counted(open_embedded_world: OpenWorld) -> None:
    async with open_embedded_world() as world:
        told, records = await settled(world)
        change(world, "UPDATE columns SET part = ?", b"colunm")
        query = "UPDATE records SET alliance_slot = zeroblob(9) WHERE record_id = ?"
        change(world, query, records[0].id)
        (body,) = [
            path
            for path in (world.folder / "bodies").rglob("*")
            if path.is_file() and path.stat().st_size == 5
        ]
        body.write_bytes(b"wrong")
        found = await verified(world, told)
    assert (found.corrupt_records, found.corrupt_columns) == (2, 1)


# The chain's word about a record is believed only with a proof from where the store stands.


@dataclass
class Shown:
    """A chain as its ledger and its contract show it."""

    chain: TestChain
    forged: bytes = b""  # an app hash
    silent: bool = False  # contract answers without a proof

    async def light_block(self, height: int) -> LightBlock:
        """Return a header that is proven: all but the first and the newest are."""
        at = (height or self.chain.height) - 2
        if not 0 <= at < len(self.chain.blocks):
            raise LightBlockUnavailable(f"no header {height}")
        proven = self.chain.blocks[at]
        raw = chain_pb.LightBlock(
            header=proven.next_header,
            commit=proven.next_commit,
            validators=self.chain.genesis.validators.to_bytes(),
        )
        return LightBlock.parse(raw, self.chain.genesis.chain_id)

    async def ask(self, request: contract_pb.ReadStateRequest) -> contract_pb.ReadStateResponse:
        return contract_pb.ReadStateResponse(
            height=self.chain.height - 1,
            app_hash=self.forged or self.chain.state.root(),
            proofs=[self.chain.state.prove(key) for key in request.keys if not self.silent],
        )


def place_of(chain: TestChain, height: int) -> Checkpoint:
    """Return where a store stands that has followed a chain to a height."""
    client = chain.light_client()
    for block in chain.blocks[:height]:
        client.accept(block)
    assert client.checkpoint is not None
    return client.checkpoint


def state_of(shown: Shown, place: Checkpoint, later_seconds: float = 0.0) -> ChainState:
    newest = header_time_ns(parse_header(shown.chain.blocks[-1].next_header))
    now = newest + round(later_seconds * NANOS)
    return ChainState(shown.ask, shown, place, 30.0, lambda: now)


@pytest.fixture
def chain() -> TestChain:
    """A chain of three blocks, and those that prove them."""
    made = TestChain(*make_genesis())
    for number in range(3):
        grow(made, number)
    return made


def entry(number: int) -> bytes:
    return ANCHORED + bytes([number]) * 16


def grow(chain: TestChain, number: int) -> None:
    chain.append([bytes([number])], writes={entry(number): b"value"})


async def test_the_chains_word_is_proven_from_where_the_store_stands(chain: TestChain) -> None:
    shown = Shown(chain)
    state = state_of(shown, place_of(chain, 3))
    assert await state.open() == chain.height
    assert await state.read([entry(0), entry(9)]) == {entry(0): b"value", entry(9): None}
    grow(chain, 9)  # the chain goes on while the store is read
    assert await state.read([entry(9)]) == {entry(9): b"value"}


async def test_a_store_at_the_newest_block_is_held_against_that(chain: TestChain) -> None:
    assert await state_of(Shown(chain), place_of(chain, chain.height - 1)).open() == chain.height


async def test_a_store_that_stands_on_other_blocks_is_told(chain: TestChain) -> None:
    other = chain.copy()
    grow(other, 7)
    grow(chain, 8)
    grow(chain, 9)
    with pytest.raises(StoreDiffers, match="another block"):
        await state_of(Shown(chain), place_of(other, other.height - 1)).open()


async def test_a_store_that_is_ahead_of_the_chain_is_told(chain: TestChain) -> None:
    behind = chain.copy()
    grow(chain, 7)
    with pytest.raises(StoreDiffers, match="start the ledgers"):
        await state_of(Shown(behind), place_of(chain, chain.height - 1)).open()


async def test_an_old_chain_says_nothing(chain: TestChain) -> None:
    with pytest.raises(StoreDiffers, match="41 s old"):
        await state_of(Shown(chain), place_of(chain, 3), later_seconds=41).open()


async def test_another_state_than_the_chains_is_not_believed(chain: TestChain) -> None:
    shown = Shown(chain)
    state = state_of(shown, place_of(chain, 3))
    await state.open()
    shown.forged = bytes(32)
    with pytest.raises(StoreDiffers, match="another state"):
        await state.read([entry(0)])
    shown.forged = b""
    shown.silent = True
    with pytest.raises(StoreDiffers, match="does not prove"):
        await state.read([entry(0)])
