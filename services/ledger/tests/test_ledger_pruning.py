"""Pruning: old blocks go, a few at a time, the file shrinks, and what stays is whole."""

from __future__ import annotations

import dataclasses
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.light import LightClient
from cipherward_chain.receipts import verify_receipt
from cipherward_chain.testing import make_genesis
from cipherward_chain.wire import exact_bytes
from cipherward_ledger.errors import BlockPruned, TransactionUnknown
from cipherward_ledger.pruning import BLOCKS_MAX, Retention
from cipherward_ledger.testing import id_of
from cipherward_ledger.testing_chain import DecidedChain, Desk, open_desk

DEADLINE = 20.0
GENESIS, KEYS = make_genesis(members=4, engine="cometbft")
FIVE = Retention(blocks=5, seconds=20)


@pytest.fixture
def chain() -> DecidedChain:
    return DecidedChain(GENESIS, KEYS)


def rows(folder: Path, table: str) -> int:
    connection = sqlite3.connect(folder / "ledger.sqlite")
    (count,) = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
    connection.close()
    return int(count)


async def grow(desk: Desk, chain: DecidedChain, count: int, seconds: float = 10.0) -> None:
    """Record so many blocks of one transaction each, each so long after the one before."""
    for _ in range(count):
        await desk.record(chain.decide([chain.transaction()], seconds=seconds))


async def test_the_newest_blocks_stay_and_everything_of_older_ones_goes(
    chain: DecidedChain, tmp_path: Path
) -> None:
    async with open_desk(tmp_path, GENESIS, FIVE) as desk:
        await grow(desk, chain, 12)
        assert (desk.recorder.first_height, desk.recorder.retain_height) == (8, 8)
        client = LightClient(GENESIS.trust_root())
        for height in range(1, 12):
            if height < 8:
                with pytest.raises(BlockPruned):
                    await desk.store.light(height)
                continue
            block = await desk.store.proven(height)
            assert len(block.transactions) == 1
        assert client.height == 0
    for table in ("blocks", "outcomes", "transactions"):
        assert rows(tmp_path, table) == 5
    async with open_desk(tmp_path, GENESIS, FIVE) as desk:  # and after a restart
        assert (desk.recorder.first_height, desk.recorder.height) == (8, 12)


async def test_receipts_of_what_is_kept_verify_though_the_changes_before_are_pruned(
    chain: DecidedChain, tmp_path: Path
) -> None:
    async with open_desk(tmp_path, GENESIS, FIVE) as desk:
        old = chain.transaction()
        for height in range(1, 21):
            powers = {2: {"newcomer": 10}, 6: {"hospital-c/consensus": 0}}.get(height)
            contents = [old] if height == 1 else [chain.transaction()]
            await desk.record(chain.decide(contents, powers=powers, seconds=10))
        assert desk.recorder.first_height == 16
    async with open_desk(tmp_path, GENESIS, FIVE) as desk:
        (content,) = chain.blocks[16].block.transactions
        receipt = await desk.receipts.get(id_of(content), None)
        assert len(receipt.validator_changes) == 2
        assert verify_receipt(exact_bytes(receipt), GENESIS.trust_root()).height == 17
        with pytest.raises(TransactionUnknown, match="forgotten"):
            await desk.receipts.get(id_of(old), None)
        announcing = await desk.proven.light(3)  # a header that announced others is kept
        assert announcing.validators == GENESIS.validators.to_bytes()


async def test_a_block_stays_while_its_transactions_could_be_submitted_again(
    chain: DecidedChain, tmp_path: Path
) -> None:
    async with open_desk(tmp_path, GENESIS, FIVE) as desk:
        await grow(desk, chain, 15, seconds=1)  # all of them within twenty seconds
        assert desk.recorder.first_height == 1
        await desk.record(chain.decide(seconds=30))
        assert desk.recorder.first_height == 1 + BLOCKS_MAX
        await desk.record(chain.decide())
        assert desk.recorder.first_height == 13


async def test_a_lowered_setting_is_caught_up_with_a_few_blocks_at_a_time(
    chain: DecidedChain, tmp_path: Path
) -> None:
    async with open_desk(tmp_path, GENESIS) as desk:
        await grow(desk, chain, 40)
    async with open_desk(tmp_path, GENESIS, FIVE) as desk:
        assert desk.recorder.first_height == 1  # nothing is deleted but with a new block
        for number in range(1, 5):
            await grow(desk, chain, 1)
            assert desk.recorder.first_height == 1 + number * BLOCKS_MAX
        await grow(desk, chain, 2)
        assert desk.recorder.first_height == 42


@pytest.mark.slow
async def test_the_file_shrinks_when_large_blocks_are_pruned(
    chain: DecidedChain, tmp_path: Path
) -> None:
    draw = random.Random(4)  # noqa: S311 - bytes that do not compress, the same each time
    async with open_desk(tmp_path, GENESIS) as desk:
        for _ in range(40):
            await desk.record(chain.decide([draw.randbytes(500_000)], seconds=10))
    path = tmp_path / "ledger.sqlite"
    full = path.stat().st_size
    assert full > 20_000_000
    async with open_desk(tmp_path, GENESIS, FIVE) as desk:
        for _ in range(12):
            await desk.record(chain.decide(seconds=10))
    assert path.stat().st_size < 6_000_000  # what is kept free for the next blocks, and little more


async def test_a_damaged_old_block_is_pruned_like_the_others(
    chain: DecidedChain, tmp_path: Path
) -> None:
    async with open_desk(tmp_path, GENESIS) as desk:
        await grow(desk, chain, 9)
        lost = id_of(chain.blocks[1].block.transactions[0])
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("UPDATE blocks SET body = X'FF', header = X'FF' WHERE height = 2")
        connection.execute("UPDATE blocks SET body = 'text', header = 7 WHERE height = 3")
    connection.close()
    async with open_desk(tmp_path, GENESIS, FIVE) as desk:
        await grow(desk, chain, 1)
        assert desk.recorder.first_height == 6
        with pytest.raises(TransactionUnknown):  # its index could not be read, and names no block
            await desk.receipts.get(lost, None)


async def test_expired_ids_are_forgotten_with_the_blocks_of_their_time(
    chain: DecidedChain, tmp_path: Path
) -> None:
    async with open_desk(tmp_path, GENESIS, FIVE) as desk:
        connection = sqlite3.connect(tmp_path / "ledger.sqlite")
        with connection:
            for number in (1, 95):
                at_ns = GENESIS.time_ns + number * 1_000_000_000
                connection.execute("INSERT INTO expired VALUES (?, ?)", (bytes([number]), at_ns))
        await grow(desk, chain, 12)
        assert connection.execute("SELECT id FROM expired").fetchall() == [(bytes([95]),)]
        connection.close()


async def test_the_embedded_engine_prunes_too_and_says_so_to_every_caller(
    still_world: tuple[Any, Any], reason_of_call: Callable[..., Any]
) -> None:
    whole, manual = still_world
    world = dataclasses.replace(whole, retain_blocks=6)
    pruned = "NOT_FOUND/BLOCK_PRUNED"
    async with world.ledger() as ledger:
        await ledger.ready()
        old = await ledger.submit(world.transaction())
        await ledger.receipt(old)
        kept = old
        for _ in range(4):
            manual.advance(400)  # beyond the time in which a transaction may come again
            kept = await ledger.submit(world.transaction())
            await ledger.receipt(kept)
        status = await ledger.status()
        first = status.first_height
        assert 4 < first <= status.height - 4
        get = ledger.stub.GetBlock(pb.GetBlockRequest(height=first - 1), timeout=DEADLINE)
        assert await reason_of_call(get) == pruned
        asked = pb.GetLightBlockRequest(height=first - 1)
        light = ledger.stub.GetLightBlock(asked, timeout=DEADLINE)
        assert await reason_of_call(light) == pruned
        request = pb.StreamBlocksRequest(from_height=first - 1)
        stream = ledger.service_stub.StreamBlocks(request, timeout=DEADLINE)
        assert await reason_of_call(stream.read()) == pruned
        assert await reason_of_call(ledger.receipt(old)) == "NOT_FOUND/TRANSACTION_UNKNOWN"
        assert verify_receipt(await ledger.receipt(kept), world.genesis.trust_root())
        assert len(await ledger.blocks(first, 3)) == 3
    async with world.ledger() as ledger:
        await ledger.ready()
        assert verify_receipt(await ledger.receipt(kept), world.genesis.trust_root())
