"""The follower: every block once and in order, lies refused."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest

from cipherward.chain.v1 import block_pb2 as pb
from cipherward_chain.checkpoint import Checkpoint
from cipherward_chain.feed import BlockFeed
from cipherward_chain.follower import Follower, HeightNotReached
from cipherward_chain.genesis import Genesis
from cipherward_chain.light import LightClient, VerifiedBlock
from cipherward_chain.testing import TestChain

Transactions = Callable[[int], list[bytes]]
DEADLINE_SECONDS = 10


class Executor:
    """Carries out blocks as a service does: the effect and the checkpoint together."""

    def __init__(self) -> None:
        self.heights: list[int] = []
        self.stored: bytes = b""
        self.fails_at = 0

    async def __call__(self, block: VerifiedBlock) -> None:
        if block.height == self.fails_at:
            self.fails_at = 0
            raise OSError("disk full")
        self.heights.append(block.height)
        self.stored = block.checkpoint.to_bytes()


class LyingOnce:
    """A feed that changes one block the first time it is asked, and is honest then."""

    def __init__(self, chain: TestChain, at: int, change: Callable[[pb.ProvenBlock], None]) -> None:
        self._chain = chain
        self._at = at
        self._change: Callable[[pb.ProvenBlock], None] | None = change
        self.asked: list[int] = []

    async def blocks_from(self, height: int) -> AsyncGenerator[pb.ProvenBlock, None]:
        self.asked.append(height)
        async for block in self._chain.blocks_from(height):
            if height == self._at and self._change is not None:
                forged = pb.ProvenBlock()
                forged.CopyFrom(block)
                self._change(forged)
                self._change = None
                yield forged
            else:
                yield block
            height += 1


@pytest.fixture
def executor() -> Executor:
    return Executor()


@asynccontextmanager
async def following(
    feed: BlockFeed,
    client: LightClient,
    executor: Executor,
    rejected: Callable[[], object] | None = None,
) -> AsyncGenerator[Follower, None]:
    """Run a follower beside the test, within its deadline."""
    follower = Follower(feed, client, executor, rejected=rejected)
    async with asyncio.timeout(DEADLINE_SECONDS):
        running = asyncio.ensure_future(follower.run())
        try:
            yield follower
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_every_block_is_carried_out_once_and_in_order(
    chain: TestChain, transactions: Transactions, executor: Executor
) -> None:
    made = transactions(3)
    chain.append(made[:1])
    async with following(chain, chain.light_client(), executor) as follower:
        await follower.wait_for(1, DEADLINE_SECONDS)
        chain.append(made[1:2])
        chain.append(made[2:])
        await follower.wait_for(5, DEADLINE_SECONDS)
        assert follower.height == 5
    assert executor.heights == [1, 2, 3, 4, 5]


async def test_a_restart_goes_on_at_the_stored_checkpoint(
    chain: TestChain,
    genesis: Genesis,
    transactions: Transactions,
    executor: Executor,
) -> None:
    for made in transactions(3):
        chain.append([made])
    async with following(chain, chain.light_client(), executor) as follower:
        await follower.wait_for(3, DEADLINE_SECONDS)
    client = LightClient(genesis.trust_root(), Checkpoint.from_bytes(executor.stored))
    async with following(chain, client, executor) as follower:
        await follower.wait_for(5, DEADLINE_SECONDS)
    assert executor.heights == [1, 2, 3, 4, 5]


async def test_a_block_that_could_not_be_carried_out_is_handed_over_again(
    chain: TestChain, transactions: Transactions, executor: Executor
) -> None:
    for made in transactions(2):
        chain.append([made])
    executor.fails_at = 2
    follower = Follower(chain, chain.light_client(), executor)
    async with asyncio.timeout(DEADLINE_SECONDS):
        with pytest.raises(OSError, match="disk full"):
            await follower.run()
        assert follower.height == 1
        running = asyncio.ensure_future(follower.run())
        await follower.wait_for(3, DEADLINE_SECONDS)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert executor.heights == [1, 2, 3]


def _transaction_added(block: pb.ProvenBlock) -> None:
    block.transactions.append(b"forged")


def _order_added(block: pb.ProvenBlock) -> None:
    block.orders.append(b"forged")


@pytest.mark.slow
@pytest.mark.parametrize("change", [_transaction_added, _order_added])
async def test_a_rejected_block_is_logged_counted_and_asked_for_again(
    chain: TestChain,
    transactions: Transactions,
    executor: Executor,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[pb.ProvenBlock], None],
) -> None:
    for made in transactions(2):
        chain.append([made])
    feed = LyingOnce(chain, 2, change)
    with caplog.at_level(logging.ERROR):
        told = itertools.count()
        client = chain.light_client()
        async with following(feed, client, executor, lambda: next(told)) as follower:
            await follower.wait_for(3, DEADLINE_SECONDS)
            assert next(told) == 1
    assert executor.heights == [1, 2, 3]
    assert feed.asked == [1, 2]
    assert [record.getMessage() for record in caplog.records] == ["block_rejected"]


async def test_a_large_block_is_verified_beside_the_loop(
    chain: TestChain, transactions: Transactions, executor: Executor
) -> None:
    chain.append(transactions(501))
    async with following(chain, chain.light_client(), executor) as follower:
        await follower.wait_for(1, DEADLINE_SECONDS)
    assert executor.heights == [1]


async def test_waiting_for_a_height_has_a_deadline(chain: TestChain, executor: Executor) -> None:
    async with following(chain, chain.light_client(), executor) as follower:
        with pytest.raises(HeightNotReached):
            await follower.wait_for(1, 0.02)
