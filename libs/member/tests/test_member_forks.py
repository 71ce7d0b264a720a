"""After a fork: rights end at once, the evidence stays, and nothing starts again by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from cipherward.chain.v1 import block_pb2 as pb
from cipherward_chain.evidence_store import read_evidence
from cipherward_chain.follower import Follower
from cipherward_chain.light import VerifiedBlock
from cipherward_chain.testing import BLOCK_NS, make_genesis
from cipherward_chain.testing_quorum import QuorumChain, seeds_by_key
from cipherward_kit.readiness import Readiness
from cipherward_kit.testing import eventually
from cipherward_member.errors import ChainHasForked, ChainStale
from cipherward_member.following import ChainProgress, watch_freshness
from cipherward_member.forks import evidence_store, follow, refuse_after_fork


class TwoBranches:
    """A feed of one branch, and then of another."""

    def __init__(self) -> None:
        genesis, keys = make_genesis(engine="cometbft")
        self.chain = QuorumChain(genesis, seeds_by_key(keys.validator_seeds))
        self.chain.grow(3)
        self.twin = self.chain.fork()
        self.chain.grow(3)
        self.twin.decide(after_ns=2 * BLOCK_NS)
        self.twin.grow(3)

    async def blocks_from(self, height: int) -> AsyncGenerator[pb.ProvenBlock, None]:
        for block in self.chain.proven[height - 1 :]:
            yield block
        yield self.twin.proven[5]


async def test_a_fork_ends_rights_at_once_and_is_kept(tmp_path: Path) -> None:
    feed, progress, store = TwoBranches(), ChainProgress(1e9), evidence_store(tmp_path)
    refuse_after_fork(store)
    readiness = Readiness("chain")
    was_fresh: list[bool] = []

    async def take(block: VerifiedBlock) -> None:
        progress.saw(block.height, block.next_time_ns)
        was_fresh.append(progress.fresh)

    follower = Follower(feed, feed.chain.light_client(), take)
    running = [
        asyncio.ensure_future(follow(follower, progress, store)),
        asyncio.ensure_future(watch_freshness(progress, readiness, "chain")),
    ]
    await eventually(lambda: bool(store.files()), what="the evidence")
    await eventually(lambda: "forked" in readiness.missing()["chain"], what="the reason")
    assert was_fresh == [True] * 5
    assert not progress.fresh
    with pytest.raises(ChainStale, match="forked"):
        progress.require_fresh()
    assert not running[0].done()  # the service stays up: somebody must see why it is not ready
    for one in running:
        one.cancel()
    await asyncio.gather(*running, return_exceptions=True)

    (path,) = store.files()
    fork = read_evidence(path).verify(feed.chain.genesis.validators)
    assert fork.height == 6
    assert REGISTRY.get_sample_value("cipherward_chain_forks") == 1
    with pytest.raises(ChainHasForked, match=path.name):
        refuse_after_fork(store)


async def test_what_the_handler_raises_still_ends_the_service(tmp_path: Path) -> None:
    feed, progress = TwoBranches(), ChainProgress(30)

    async def fail(_block: VerifiedBlock) -> None:
        raise OSError("disk full")

    follower = Follower(feed, feed.chain.light_client(), fail)
    with pytest.raises(OSError, match="disk full"):
        await follow(follower, progress, evidence_store(tmp_path))
