"""Where blocks come from: an untrusted stream that may end, repeat or fall silent."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable
from typing import Final, Protocol, TypeAlias

import grpc
from grpc import aio

from cipherward.chain.v1 import block_pb2 as pb
from cipherward.ledger.v1 import ledger_service_pb2 as ledger
from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub

log = logging.getLogger(__name__)

BACKOFF_SECONDS_MIN: Final = 0.05  # a ledger that restarts is back within a second
BACKOFF_SECONDS_MAX: Final = 2.0  # well below the time after which silence ends rights


# Is told of a height and of the traces that a feed gives beside its block; they prove nothing.
Traced: TypeAlias = Callable[[int, ledger.BlockTraces], None]


def ignored(_height: int, _traces: ledger.BlockTraces) -> None:
    """Take no note of traces."""


class BlockFeed(Protocol):
    """A stream of proven blocks. Adapters: `GrpcBlockFeed`, and Kafka in production."""

    def blocks_from(self, height: int) -> AsyncGenerator[pb.ProvenBlock, None]:
        """Yield proven blocks from `height` on, and go on as blocks are made; it does not end.

        The consumer verifies every block: a feed promises neither order nor truth.
        """
        ...


class GrpcBlockFeed:
    """StreamBlocks of a ledger, opened again whenever it breaks or is silent.

    Args:
        channel: to a ledger; the caller closes it.
        idle_seconds: without a block for so long the stream is taken for dead: three heartbeats.
        traced: is told of the traces that stand beside a block, before it is given.
    """

    def __init__(
        self, channel: aio.Channel, idle_seconds: float, *, traced: Traced = ignored
    ) -> None:
        self._stub = LedgerServiceStub(channel)
        self._idle_seconds = idle_seconds
        self._traced = traced

    async def blocks_from(self, height: int) -> AsyncGenerator[pb.ProvenBlock, None]:
        """Yield proven blocks from `height` on, over as many calls as it takes."""
        backoff = BACKOFF_SECONDS_MIN
        while True:
            call = self._stub.StreamBlocks(ledger.StreamBlocksRequest(from_height=height))
            try:
                while True:
                    async with asyncio.timeout(self._idle_seconds):
                        response = await call.read()
                    if not isinstance(response, ledger.StreamBlocksResponse):  # aio.EOF
                        log.info("block_stream_ended", extra={"height": height})
                        break
                    if response.HasField("traces"):
                        self._traced(height, response.traces)
                    yield response.block
                    height += 1
                    backoff = BACKOFF_SECONDS_MIN
            except TimeoutError:
                log.warning("block_stream_silent", extra={"height": height})
            except aio.AioRpcError as error:
                code: grpc.StatusCode = error.code()
                log.info("block_stream_broken", extra={"height": height, "code": code.name})
            finally:
                call.cancel()
            # Jitter, so that the services of an alliance do not come back in step.
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
            backoff = min(2 * backoff, BACKOFF_SECONDS_MAX)
