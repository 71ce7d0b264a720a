"""Proven blocks for whoever asks: the newest from memory, the others from disk."""

from __future__ import annotations

from collections import OrderedDict

from cipherward.chain.v1 import block_pb2 as chain
from cipherward_ledger.blockstore import BlockStore
from cipherward_ledger.errors import BlockCorrupt, BlockUnknown
from cipherward_ledger.tip import Tip

# Followers that keep up read the newest few; a follower behind by more than this reads the disk.
RECENT_BLOCKS_MAX = 64
RECENT_BYTES_MAX = 16 * 1024 * 1024


class ProvenBlocks:
    """Reads proven blocks; the engine hands each new one in, so that followers share it."""

    def __init__(self, store: BlockStore, tip: Tip) -> None:
        self._store = store
        self.tip = tip
        self._recent: OrderedDict[int, tuple[chain.ProvenBlock, int]] = OrderedDict()
        self._recent_bytes = 0

    def remember(self, height: int, block: chain.ProvenBlock) -> None:
        """Keep a block that has just been proven; the oldest ones make room."""
        size = block.ByteSize()
        self._recent[height] = (block, size)
        self._recent_bytes += size
        while len(self._recent) > RECENT_BLOCKS_MAX or self._recent_bytes > RECENT_BYTES_MAX:
            _, (_, dropped) = self._recent.popitem(last=False)
            self._recent_bytes -= dropped

    async def get(self, height: int) -> chain.ProvenBlock:
        """Return the proven block of `height`; it is shared, so never change it.

        Raises:
            BlockUnknown: there is no such block, or it is not proven yet.
            BlockCorrupt: it does not read back as it was stored.
        """
        if not 1 <= height <= self.tip.position.proven_height:
            raise BlockUnknown(f"no proven block {height}", height=height)
        recent = self._recent.get(height)
        if recent is not None:
            return recent[0]
        try:
            return await self._store.proven(height)
        except BlockUnknown:  # the tip says that it was stored
            raise BlockCorrupt(f"block {height} is missing on disk", height=height) from None
