"""Blocks for whoever asks: the newest proven ones from memory, the others from disk."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from cipherward.chain.v1 import block_pb2 as chain
from cipherward_ledger.blockstore import BlockStore
from cipherward_ledger.errors import BlockCorrupt, BlockUnknown
from cipherward_ledger.history import ValidatorHistory
from cipherward_ledger.rows import pruned
from cipherward_ledger.tip import Tip
from cipherward_ledger.traces import TransactionTraces

# Followers that keep up read the newest few; a follower behind by more than this reads the disk.
RECENT_BLOCKS_MAX = 64
RECENT_BYTES_MAX = 16 * 1024 * 1024


class OlderBlocks(Protocol):
    """Proven blocks that are not kept here. Adapter: the other members' ledgers."""

    async def get(self, height: int) -> chain.ProvenBlock | None:
        """Return a verified block, or None if nobody answers one."""
        ...

    async def first_height(self) -> int:
        """Return the oldest block that somebody keeps; 0 if nobody answers."""
        ...


class ProvenBlocks:
    """Reads proven blocks; the engine hands each new one in, so that followers share it."""

    def __init__(
        self, store: BlockStore, tip: Tip, traces: TransactionTraces | None = None
    ) -> None:
        self._store = store
        self.tip = tip
        self.traces = traces or TransactionTraces()  # what stands beside blocks, and is not in them
        self._recent: OrderedDict[int, tuple[chain.ProvenBlock, int]] = OrderedDict()
        self._recent_bytes = 0
        self.older: OlderBlocks | None = None  # set by an engine with other members

    def remember(self, height: int, block: chain.ProvenBlock) -> None:
        """Keep a block that has just been proven; the oldest ones make room."""
        size = block.ByteSize()
        self._recent[height] = (block, size)
        self._recent_bytes += size
        while len(self._recent) > RECENT_BLOCKS_MAX or self._recent_bytes > RECENT_BYTES_MAX:
            _, (_, dropped) = self._recent.popitem(last=False)
            self._recent_bytes -= dropped

    @property
    def first_height(self) -> int:
        """The oldest block that is kept; 0 before the first."""
        return self._store.first_height

    @property
    def validators(self) -> ValidatorHistory:
        """Who validated which blocks."""
        return self._store.validators

    async def get_older(self, height: int) -> chain.ProvenBlock | None:
        """Return a block that is not kept here, if somebody else has it; never change it."""
        if not 0 < height < self.first_height or self.older is None:
            return None
        return await self.older.get(height)

    async def served_from_height(self) -> int:
        """Return the oldest block that a follower can have; 0 before the first."""
        first = self.first_height
        if self.older is None or first <= 1:
            return first
        return min(first, await self.older.first_height() or first)

    def check_kept(self, height: int) -> None:
        """Raise `BlockPruned` if the block of `height`, of this chain's past, is not kept."""
        if height < self.first_height:
            raise pruned(height, self.first_height)

    async def get(self, height: int) -> chain.ProvenBlock:
        """Return the proven block of `height`; it is shared, so never change it.

        Raises:
            BlockUnknown: there is no such block, or it is not proven yet.
            BlockPruned: it was older than what is kept.
            BlockCorrupt: it does not read back as it was stored.
        """
        if not 1 <= height <= self.tip.position.proven_height:
            raise BlockUnknown(f"no proven block {height}", height=height)
        self.check_kept(height)
        recent = self._recent.get(height)
        if recent is not None:
            return recent[0]
        try:
            return await self._store.proven(height)
        except BlockUnknown:  # the tip says that it was stored
            self.check_kept(height)  # it may have been pruned meanwhile
            raise BlockCorrupt(f"block {height} is missing on disk", height=height) from None

    async def light(self, height: int) -> chain.LightBlock:
        """Return a signed header; 0 asks for the newest.

        Raises:
            BlockUnknown: there is no such block.
            BlockPruned: it was older than what is kept.
            BlockCorrupt: it does not read back as it was stored.
        """
        newest = self.tip.position.height
        if height > newest or not newest:
            raise BlockUnknown(f"no block {height}; the newest is {newest}", height=height)
        return await self._store.light(height or newest)
