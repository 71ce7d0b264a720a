"""Streams of proven blocks: each follower pulls at its own pace, so there is no queue to bound."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager

from cipherward.chain.v1 import block_pb2 as chain
from cipherward_ledger.errors import BlockUnknown
from cipherward_ledger.metrics import STREAMS
from cipherward_ledger.proven import ProvenBlocks


async def blocks_from(proven: ProvenBlocks, height: int) -> AsyncIterator[chain.ProvenBlock]:
    """Yield every proven block from `height` on, then each new one as it is proven. Never ends.

    Raises:
        BlockUnknown: `height` is 0, or beyond the block that is made next: whoever asks for that
            follows another chain, or a ledger that has lost blocks.
        BlockPruned: `height` is older than what is kept, or became so before it was pulled.
        BlockCorrupt: a stored block does not read back.
    """
    newest = proven.tip.position.height
    if not 1 <= height <= newest + 1:
        raise BlockUnknown(f"no block {height}; the newest is {newest}", height=height)
    if newest and height < await proven.served_from_height():
        proven.check_kept(height)
    with _counted():
        while True:
            await proven.tip.proven(height)
            yield await proven.get_older(height) or await proven.get(height)
            height += 1


@contextmanager
def _counted() -> Generator[None]:
    STREAMS.inc()
    try:
        yield
    finally:
        STREAMS.dec()
