"""Following the chain: verified blocks one by one, in order, none skipped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Final

from cipherward.chain.v1 import block_pb2 as pb
from cipherward_chain.errors import ChainError
from cipherward_chain.evidence import ChainForked
from cipherward_chain.feed import BlockFeed
from cipherward_chain.fork_watch import ForkWatch
from cipherward_chain.light import LightClient, VerifiedBlock
from cipherward_chain.rejections import BlockRejected

log = logging.getLogger(__name__)

# Verifying more transactions than this takes longer than the loop should stand still: 2,000 of them
# were measured at 5 ms.
TRANSACTIONS_ON_LOOP_MAX: Final = 500
REJECTED_PAUSE_SECONDS: Final = 0.5  # a feed that lies is not asked again at once
RECALL_SECONDS: Final = 5.0  # for a feed to repeat one block that it has sent before


class HeightNotReached(ChainError):
    """A height was not reached within the time that was given."""

    reason = "HEIGHT_NOT_REACHED"


class Follower:
    """Reads a feed, verifies each block and hands it to `handler`, in order, each exactly once a
    run.

    The handler carries out the block's orders and stores `block.checkpoint.to_bytes()` in the same
    transaction; the next start begins at that checkpoint. An exception of the handler ends `run`,
    and the block is handed over again by the next `run`, or after a restart: none is ever skipped.

    A block that proves a fork of the chain ends `run` too. Which branch counts is not for a program
    to say, and what a right on the wrong one gives away cannot be taken back: so nothing is carried
    out any more, and people decide (docs/adr).

    Args:
        feed: untrusted.
        light_client: at the stored checkpoint, or at the trust root.
        handler: carries out one block.
        rejected: called for every block that does not verify.
    """

    def __init__(
        self,
        feed: BlockFeed,
        light_client: LightClient,
        handler: Callable[[VerifiedBlock], Awaitable[None]],
        *,
        rejected: Callable[[], object] | None = None,
    ) -> None:
        self._feed = feed
        self._light_client = light_client
        self._handler = handler
        self._height = light_client.height
        self._forks = ForkWatch()
        self._moved = asyncio.Condition()
        self._rejected = rejected

    @property
    def height(self) -> int:
        """The last block that the handler has carried out; 0 before the first."""
        return self._height

    async def run(self) -> None:
        """Follow until cancelled. Rejected blocks are logged, counted and asked for again.

        Raises:
            ChainForked: two certified headers of one height were seen.
            Exception: whatever the handler raised.
        """
        while True:
            astray: pb.ProvenBlock | None = None
            async with aclosing(self._feed.blocks_from(self._light_client.height + 1)) as blocks:
                async for block in blocks:
                    try:
                        verified = await self._verify(block)
                    except BlockRejected as error:
                        if self._rejected is not None:
                            self._rejected()
                        extra = {"height": self._height + 1, "reason": error.reason}
                        log.error("block_rejected", extra=extra)
                        astray = block
                        break
                    self._forks.certified(block, verified.checkpoint)
                    await self._carry_out(verified)
            if astray is not None:
                await self._recall()
                self.stray(astray)
            await asyncio.sleep(REJECTED_PAUSE_SECONDS)

    def stray(self, block: pb.ProvenBlock) -> None:
        """Take note of a block that does not follow; a feed tells it of what it steps over.

        Whoever calls it from within `blocks_from` lets what it raises pass: it ends `run`.

        Raises:
            ChainForked: the block and what was certified here prove a fork.
        """
        evidence = self._forks.conflict(block)
        if evidence is not None:
            raise ChainForked(evidence)

    async def _recall(self) -> None:
        """Learn the commit of the header that this reader stands on, after a restart.

        The checkpoint has its hash only, and a hash convicts nobody. A feed that does not repeat
        the block leaves it at that: nothing else is followed, and silence ends the rights.
        """
        place = self._light_client.checkpoint
        if place is None or self._forks.knows(place.height + 1):
            return
        with suppress(TimeoutError):
            async with (
                asyncio.timeout(RECALL_SECONDS),
                aclosing(self._feed.blocks_from(place.height)) as blocks,
            ):
                async for block in blocks:
                    self._forks.recall(block, place)
                    return

    async def _verify(self, block: pb.ProvenBlock) -> VerifiedBlock:
        if len(block.transactions) <= TRANSACTIONS_ON_LOOP_MAX:
            return self._light_client.verify(block)
        return await asyncio.to_thread(self._light_client.verify, block)

    async def _carry_out(self, block: VerifiedBlock) -> None:
        await self._handler(block)
        self._light_client.stand_on(
            block.checkpoint
        )  # only now: a handler that failed gets it again
        async with self._moved:
            self._height = block.height
            self._moved.notify_all()

    async def wait_for(self, height: int, timeout_seconds: float) -> None:
        """Return when block `height` has been carried out here.

        Raises:
            HeightNotReached: it has not within `timeout_seconds`.
        """
        try:
            async with asyncio.timeout(timeout_seconds), self._moved:
                await self._moved.wait_for(lambda: self._height >= height)
        except TimeoutError:
            raise HeightNotReached(f"block {height} was not reached in time") from None
