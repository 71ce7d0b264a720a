"""A service's way along the chain, from where it begins to the end of its rights.

One place for what every service that carries out orders must do alike: refuse after a fork, begin
where nothing is lost, verify each block, let the registry of members follow it first, stop for good
when the chain forks, and say when the ledger has dropped what was not seen yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from prometheus_client import Counter, Gauge, Histogram

from cipherward_chain.follower import Follower
from cipherward_chain.genesis import Genesis
from cipherward_chain.light import LightClient, VerifiedBlock
from cipherward_chain.wire import NANOS
from cipherward_member.beginning import begin, notice_gap
from cipherward_member.block_source import BlockSource
from cipherward_member.following import ChainProgress, light_client
from cipherward_member.forks import evidence_store, follow, refuse_after_fork
from cipherward_member.height import HEIGHT
from cipherward_member.registry import MemberRegistry

Handle: TypeAlias = Callable[[VerifiedBlock], Awaitable[None]]

PROVEN_TIME = Gauge(
    "cipherward_chain_proven_timestamp_seconds",
    "Unix time of the newest header that was verified here, in whole seconds; 0: none yet.",
)
# From the few milliseconds of a solo chain to three missed heartbeats of 10 s, after which rights
# end; what is read up after an outage is beyond.
PROPAGATION = Histogram(
    "cipherward_chain_propagation_seconds",
    "From the time of the header that proves a block to the block's effects being on disk here.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
REJECTED = Counter(
    "cipherward_chain_rejected_blocks", "Blocks that the source sent and that did not verify."
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service stands.

    genesis: its chain. registry: the members as the blocks before left them. folder: its data.
    stored: the checkpoint in its store, or b"".
    """

    genesis: Genesis
    registry: MemberRegistry
    folder: Path
    stored: bytes

    def check(self) -> None:
        """Refuse at the start what the way along the chain would end with. Reads the disk.

        Raises:
            CheckpointUnusable: the checkpoint is damaged, or not of this genesis.
            ChainHasForked: the evidence of a fork is in the folder.
        """
        light_client(self.genesis, self.stored)
        refuse_after_fork(evidence_store(self.folder))


async def follow_source(
    source: BlockSource, place: Place, handle: Handle, progress: ChainProgress
) -> None:
    """Hand block after block to `handle`, beginning at `place`; returns by cancellation only.

    Args:
        source: of blocks, untrusted.
        place: checked before.
        handle: carries out one block and stores its checkpoint with the effects.
        progress: is told where the service begins, and shown by the process's metrics; ended for
            good by a fork.

    Raises:
        CannotStart: in a group: the ledger has dropped blocks that were not seen, or its oldest
            header cannot be believed.
        Exception: in a group: whatever `handle` raised.
    """

    async def carry_out(block: VerifiedBlock) -> None:
        with source.traces.carrying_out(block):
            await handle(block)
        _show(progress)
        # Clocks may be apart, and block time is the members' median: never less than nothing.
        PROPAGATION.observe(max(0.0, progress.local_seconds() - block.next_time_ns / NANOS))

    client = await _begin(source, place, progress)
    progress.goes_on_from(client.checkpoint)
    _show(progress)
    ahead = place.registry.ahead_of(carry_out)
    follower = Follower(source.feed, client, ahead, rejected=REJECTED.inc)
    source.watched_by(follower.stray)
    async with asyncio.TaskGroup() as group:
        group.create_task(follow(follower, progress, evidence_store(place.folder)))
        if source.channel is not None:
            group.create_task(notice_gap(progress, source.channel))


def _show(progress: ChainProgress) -> None:
    HEIGHT.set(progress.height)
    PROVEN_TIME.set(progress.block_seconds())


async def _begin(source: BlockSource, place: Place, progress: ChainProgress) -> LightClient:
    if source.channel is None:
        return light_client(place.genesis, place.stored)
    return await begin(
        place.genesis,
        place.stored,
        source.channel,
        root=source.root,
        clock=lambda: int(progress.local_seconds() * NANOS),
    )
