"""Following the chain: verified blocks one by one, in order, none skipped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final

from cipherward.chain.v1 import block_pb2 as pb
from cipherward_chain.errors import ChainError
from cipherward_chain.feed import BlockFeed
from cipherward_chain.light import LightClient, VerifiedBlock
from cipherward_chain.rejections import BlockRejected

log = logging.getLogger(__name__)

# Verifying more transactions than this takes longer than the loop should stand still: 2,000 of them
# were measured at 5 ms.
TRANSACTIONS_ON_LOOP_MAX: Final = 500
REJECTED_PAUSE_SECONDS: Final = 0.5  # a feed that lies is not asked again at once


class HeightNotReached(ChainError):
    """A height was not reached within the time that was given."""

    reason = "HEIGHT_NOT_REACHED"


class Follower:
    """Reads a feed, verifies each block and hands it to `handler`, in order, each exactly once a
    run.

    The handler carries out the block's orders and stores `block.checkpoint.to_bytes()` in the same
    transaction; the next start begins at that checkpoint. An exception of the handler ends `run`,
    and the block is handed over again by the next `run`, or after a restart: none is ever skipped.

    Args:
        feed: untrusted.
        light_client: at the stored checkpoint, or at the trust root.
        handler: carries out one block.
    """

    def __init__(
        self,
        feed: BlockFeed,
        light_client: LightClient,
        handler: Callable[[VerifiedBlock], Awaitable[None]],
    ) -> None:
        self._feed = feed
        self._light_client = light_client
        self._handler = handler
        self._height = light_client.height
        self._moved = asyncio.Condition()
        self.rejected_blocks = 0  # since the start; a service shows it as a metric

    @property
    def height(self) -> int:
        """The last block that the handler has carried out; 0 before the first."""
        return self._height

    async def run(self) -> None:
        """Follow until cancelled. Rejected blocks are logged, counted and asked for again.

        Raises:
            Exception: whatever the handler raised.
        """
        while True:
            async with aclosing(self._feed.blocks_from(self._light_client.height + 1)) as blocks:
                async for block in blocks:
                    try:
                        verified = await self._verify(block)
                    except BlockRejected as error:
                        self.rejected_blocks += 1
                        extra = {"height": self._height + 1, "reason": error.reason}
                        log.error("block_rejected", extra=extra)
                        break
                    await self._carry_out(verified)
            await asyncio.sleep(REJECTED_PAUSE_SECONDS)

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
