"""A stored block in which any byte has changed is noticed, and never served."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from cipherward.chain.v1 import block_pb2 as chain_pb
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_kit.database import Database
from cipherward_ledger.blockstore import BlockStore
from cipherward_ledger.errors import BlockCorrupt, BlockUnknown, StoreCorrupt
from cipherward_ledger.schema import SCHEMA

DEADLINE = 20.0
FLIPS = 1_000


async def stored_chain(world: Any) -> int:
    """Make a chain with transactions in it, close it, and return its newest proven height."""
    async with world.ledger() as ledger:
        await ledger.ready()
        for _ in range(4):
            for verdict in await ledger.submit_batch(world.transactions(3)):
                await ledger.receipt(verdict.transaction_id)
        return (await ledger.status()).height - 1


async def read_all(path: Path, heights: range) -> dict[int, chain_pb.ProvenBlock]:
    found: dict[int, chain_pb.ProvenBlock] = {}
    async with Database(path, SCHEMA) as database:
        store = BlockStore(database)
        for height in heights:
            try:
                found[height] = await store.proven(height)
            except (BlockCorrupt, BlockUnknown):
                continue
    return found


@pytest.mark.slow
async def test_a_thousand_flipped_bits_of_stored_rows_are_all_refused(world: Any) -> None:
    heights = range(1, await stored_chain(world) + 1)
    sound = await read_all(world.database, heights)
    assert set(sound) == set(heights)
    choose = random.Random(2026)  # noqa: S311 - which bits to flip, so that a failure repeats
    connection = sqlite3.connect(world.database)
    columns = {"blocks": ("header", "seal", "body", "digest"), "outcomes": ("executed", "digest")}
    async with Database(world.database, SCHEMA) as database:
        store = BlockStore(database)
        for _ in range(FLIPS):
            table = choose.choice(sorted(columns))
            column, height, before = choose.choice(columns[table]), 0, b""
            while not before:  # an empty block's body has no bits
                height = choose.choice(heights)
                select = f"SELECT {column} FROM {table} WHERE height = ?"
                (before,) = connection.execute(select, (height,)).fetchone()
            after = bytearray(before)
            after[choose.randrange(len(after))] ^= 1 << choose.randrange(8)
            update = f"UPDATE {table} SET {column} = ? WHERE height = ?"
            with connection:
                connection.execute(update, (bytes(after), height))
            with pytest.raises(BlockCorrupt):
                await store.proven(height)
            with connection:
                connection.execute(update, (before, height))
    connection.close()
    assert await read_all(world.database, heights) == sound


@pytest.mark.slow
async def test_flipped_bits_anywhere_in_the_file_never_change_a_block_that_is_served(
    world: Any, tmp_path: Path
) -> None:
    heights = range(1, await stored_chain(world) + 1)
    sound = await read_all(world.database, heights)
    octets = world.database.read_bytes()
    choose = random.Random(7)  # noqa: S311 - which bits to flip, so that a failure repeats
    refused = 0
    for number in range(60):
        damaged = bytearray(octets)
        for _ in range(20):  # from behind the file's own header on, so that it still opens
            damaged[choose.randrange(100, len(damaged))] ^= 1 << choose.randrange(8)
        path = tmp_path / f"{number}.sqlite"
        path.write_bytes(damaged)
        try:
            served = await read_all(path, heights)
        except (sqlite3.DatabaseError, UnicodeDecodeError):  # the schema itself: it does not open
            refused += 1
            continue
        assert all(sound[height] == block for height, block in served.items())
        refused += len(served) < len(sound)
    assert refused > 30


async def test_a_damaged_block_is_refused_to_every_caller_and_the_others_are_served(
    world: Any, reason_of_call: Any
) -> None:
    await stored_chain(world)
    ids = list(world.contract.applied)
    damage(world, 3)
    expected = "DATA_LOSS/BLOCK_CORRUPT"
    async with world.ledger() as ledger:
        await ledger.ready()
        get = ledger.stub.GetBlock(pb.GetBlockRequest(height=3), timeout=DEADLINE)
        assert await reason_of_call(get) == expected
        stream = ledger.service_stub.StreamBlocks(
            pb.StreamBlocksRequest(from_height=3), timeout=DEADLINE
        )
        assert await reason_of_call(stream.read()) == expected
        in_block_3 = [one for one in ids if await height_of(world, one) == 3]
        assert await reason_of_call(ledger.receipt(in_block_3[0])) == expected
        assert await ledger.receipt(ids[-1])


def damage(world: Any, height: int) -> None:
    connection = sqlite3.connect(world.database)
    with connection:
        connection.execute("UPDATE blocks SET header = zeroblob(99) WHERE height = ?", (height,))
    connection.close()


async def height_of(world: Any, transaction_id: bytes) -> int:
    connection = sqlite3.connect(world.database)
    row = connection.execute("SELECT height FROM transactions WHERE id = ?", (transaction_id,))
    (height,) = row.fetchone()
    connection.close()
    return int(height)


async def test_an_index_that_does_not_fit_its_block_gives_no_receipt(
    world: Any, ledger: Any, reason_of_call: Any
) -> None:
    first, second = [v.transaction_id for v in await ledger.submit_batch(world.transactions(2))]
    await ledger.receipt(second)
    connection = sqlite3.connect(world.database)
    with connection:
        connection.execute("UPDATE transactions SET position = 1 - position")
    connection.close()
    for one in (first, second):
        assert await reason_of_call(ledger.receipt(one)) == "DATA_LOSS/BLOCK_CORRUPT"


async def test_a_ledger_whose_newest_block_is_damaged_does_not_start(world: Any) -> None:
    newest = await stored_chain(world) + 1
    damage(world, newest)
    with pytest.raises(StoreCorrupt):
        async with world.ledger():
            pass
