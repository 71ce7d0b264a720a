"""The way along the chain, as the process's metrics show it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from cipherward.chain.v1 import block_pb2 as pb
from cipherward_chain.light import VerifiedBlock
from cipherward_chain.testing import TestChain, make_genesis
from cipherward_chain.wire import NANOS
from cipherward_kit.testing import eventually
from cipherward_member.block_source import BlockSource
from cipherward_member.following import ChainProgress
from cipherward_member.registry import REGISTRY_FILE, MemberRegistry
from cipherward_member.source_following import Place, follow_source


def figure(name: str) -> float:
    return REGISTRY.get_sample_value(f"cipherward_chain_{name}") or 0


class LyingOnce:
    """A feed that damages the first block that it gives."""

    def __init__(self, chain: TestChain) -> None:
        self._chain = chain
        self._lied = False

    async def blocks_from(self, height: int) -> AsyncGenerator[pb.ProvenBlock, None]:
        async for block in self._chain.blocks_from(height):
            shown = pb.ProvenBlock()
            shown.CopyFrom(block)
            if not self._lied:
                self._lied = True
                shown.next_commit = block.next_commit[:-1] + bytes([block.next_commit[-1] ^ 1])
            yield shown


@pytest.mark.slow  # after a rejected block half a second goes by
async def test_height_time_delay_and_rejected_blocks_are_shown(tmp_path: Path) -> None:
    genesis, keys = make_genesis()
    chain = TestChain(genesis, keys)
    for _ in range(3):
        chain.heartbeat()
    clock = chain.light_client()
    proven = [clock.accept(block).next_time_ns for block in chain.blocks]
    late = 4  # seconds: of the local clock behind the newest header
    progress = ChainProgress(30, lambda: proven[-1] + late * NANOS)
    registry = MemberRegistry(genesis, tmp_path / REGISTRY_FILE)
    before = {name: figure(name) for name in ("propagation_seconds_sum", "rejected_blocks_total")}

    async def handle(block: VerifiedBlock) -> None:
        progress.saw(block.height, block.next_time_ns)

    source, place = BlockSource(LyingOnce(chain)), Place(genesis, registry, tmp_path, b"")
    following = asyncio.create_task(follow_source(source, place, handle, progress))
    try:
        await eventually(lambda: progress.height == len(proven), what="the chain")
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert figure("height") == len(proven)
    assert figure("proven_timestamp_seconds") == proven[-1] // NANOS
    delays = sum(late + (proven[-1] - one) / NANOS for one in proven)
    seen = figure("propagation_seconds_sum") - before["propagation_seconds_sum"]
    assert seen == pytest.approx(delays)
    assert figure("rejected_blocks_total") == before["rejected_blocks_total"] + 1
