"""Progress along the chain: the local clock may refuse, and only news makes a chain fresh."""

from __future__ import annotations

import asyncio
import math

import pytest

from cipherward_chain.checkpoint import Checkpoint
from cipherward_chain.testing import TestChain, make_genesis
from cipherward_chain.wire import NANOS
from cipherward_kit.readiness import Readiness
from cipherward_kit.testing import eventually
from cipherward_member.errors import ChainStale, CheckpointUnusable
from cipherward_member.following import ChainProgress, light_client, nanoseconds, watch_freshness

NOW = 1_800_000_000


class Clocks:
    """The local clock and the monotonic one, in seconds."""

    def __init__(self) -> None:
        self.local, self.monotonic = float(NOW), 0.0

    def progress(self) -> ChainProgress:
        return ChainProgress(
            30, nanoseconds(lambda: self.local), nanoseconds(lambda: self.monotonic)
        )


def grown_chain() -> tuple[TestChain, Checkpoint]:
    """A chain of two proven blocks, and where it ends."""
    chain = TestChain(*make_genesis())
    for _ in range(3):
        chain.heartbeat()
    client = chain.light_client()
    for block in chain.blocks:
        client.accept(block)
    assert client.checkpoint is not None
    return chain, client.checkpoint


def test_nothing_is_fresh_before_news_came() -> None:
    progress = Clocks().progress()
    assert (progress.height, progress.block_seconds()) == (0, 0)
    assert progress.age_seconds() == math.inf
    with pytest.raises(ChainStale):
        progress.require_fresh()


def test_a_stored_place_gives_the_time_and_makes_nothing_fresh() -> None:
    _, place = grown_chain()
    clocks = Clocks()
    clocks.local = place.next_time_ns / NANOS
    progress = clocks.progress()
    progress.goes_on_from(place)
    assert (progress.height, progress.block_seconds()) == (
        place.height,
        place.next_time_ns // NANOS,
    )
    assert not progress.fresh
    progress.saw(place.height + 1, place.next_time_ns)
    assert progress.fresh


@pytest.mark.parametrize(
    ("local", "monotonic", "fresh"),
    [(0, 0, True), (30, 30, True), (31, 0, False), (-31, 0, False), (0, 31, False), (-5, 5, True)],
)
def test_each_clock_alone_can_make_a_chain_stale(
    local: float, monotonic: float, fresh: bool
) -> None:
    clocks = Clocks()
    progress = clocks.progress()
    progress.saw(1, NOW * NANOS)
    clocks.local += local
    clocks.monotonic += monotonic
    assert progress.fresh is fresh


def test_the_later_of_block_time_and_local_clock_is_now() -> None:
    clocks = Clocks()
    progress = clocks.progress()
    assert progress.latest_seconds() == NOW
    progress.saw(1, (NOW + 7) * NANOS)
    assert progress.latest_seconds() == NOW + 7
    clocks.local += 9
    assert progress.latest_seconds() == NOW + 9
    assert progress.block_seconds() == NOW + 7


async def test_a_height_is_waited_for_and_no_longer_than_asked() -> None:
    progress = Clocks().progress()
    waiting = asyncio.create_task(progress.reach(2, 10))
    progress.saw(1, NOW * NANOS)
    assert not await progress.reach(2, 0)
    progress.saw(2, NOW * NANOS)
    assert await waiting
    assert await progress.reach(1, 0)


async def test_readiness_follows_the_chain() -> None:
    clocks, readiness = Clocks(), Readiness("chain")
    progress = clocks.progress()
    watching = asyncio.create_task(watch_freshness(progress, readiness, "chain"))
    progress.saw(1, NOW * NANOS)
    await eventually(lambda: readiness.ready, what="the readiness")
    clocks.monotonic += 31
    await eventually(lambda: not readiness.ready, what="the silence")
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


def test_a_stored_place_is_gone_on_from_with_its_own_chain_only() -> None:
    chain, place = grown_chain()
    genesis = chain.genesis
    assert light_client(genesis, b"").height == 0
    assert light_client(genesis, place.to_bytes()).height == place.height
    with pytest.raises(CheckpointUnusable, match="does not fit"):
        light_client(make_genesis(members=5)[0], place.to_bytes())
    with pytest.raises(CheckpointUnusable, match="does not fit"):
        light_client(genesis, place.to_bytes()[:-1])
