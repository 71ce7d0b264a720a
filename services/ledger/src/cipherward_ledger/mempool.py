"""Transactions that wait for a block: in memory, in order of arrival, bounded.

Every entry is also in the outbox on disk. Bounds count what waits and what is being admitted, so
that concurrent callers together stay within them.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from cipherward_ledger.errors import OutboxFull
from cipherward_ledger.metrics import PENDING

# A transaction in a block costs its bytes, a tag and a length of at most three bytes (64 KiB).
FRAME_BYTES = 4


@dataclass(frozen=True, slots=True)
class Entry:
    """An admitted transaction.

    id: SHA-256 of the body.
    hash: SHA-256 of the whole.
    content: the serialised transaction.
    expires_ns: last block time at which it may be in a block.
    """

    id: bytes
    hash: bytes
    content: bytes
    expires_ns: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may wait."""

    count: int
    size: int  # bytes


class Mempool:
    """The queue of the next blocks. All methods are for the event loop."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._entries: dict[bytes, Entry] = {}  # in order of arrival
        self._expiries: list[tuple[int, bytes]] = []  # a heap; entries already gone stay until due
        self._count = 0  # waiting or being admitted
        self._size = 0
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    @contextmanager
    def room_for(self, count: int, size: int) -> Generator[None]:
        """Hold room while transactions are being admitted.

        Raises:
            OutboxFull: there is not enough.
        """
        if self._count + count > self._bounds.count or self._size + size > self._bounds.size:
            raise OutboxFull(
                f"{self._count} transactions wait for a block; try again later",
                waiting=self._count,
                transactions_max=self._bounds.count,
            )
        self._count += count
        self._size += size
        try:
            yield
        finally:
            self._count -= count
            self._size -= size

    def hash_of(self, transaction_id: bytes) -> bytes | None:
        """Return the hash of the waiting transaction with that id, or None if none waits."""
        entry = self._entries.get(transaction_id)
        return None if entry is None else entry.hash

    def add(self, entry: Entry) -> None:
        """Append an entry, which the outbox holds and no block does."""
        if entry.id in self._entries:
            return
        self._entries[entry.id] = entry
        heapq.heappush(self._expiries, (entry.expires_ns, entry.id))
        self._count += 1
        self._size += len(entry.content)
        self._arrived.set()
        PENDING.set(len(self._entries))

    def take(self, *, time_ns: int, count_max: int, size_max: int) -> list[Entry]:
        """Remove and return the oldest entries that fit a block of that time.

        Entries that would be expired in it stay, for `take_expired`. Order is never changed: the
        first entry that does not fit ends the block.
        """
        taken: list[Entry] = []
        size = 0
        for entry in self._entries.values():
            if entry.expires_ns < time_ns:
                continue
            size += len(entry.content) + FRAME_BYTES
            if len(taken) >= count_max or size > size_max:
                break
            taken.append(entry)
        self._remove(taken)
        return taken

    def take_expired(self, time_ns: int) -> list[Entry]:
        """Remove and return the entries that no block of that time or later may hold."""
        expired: list[Entry] = []
        while self._expiries and self._expiries[0][0] < time_ns:
            _, transaction_id = heapq.heappop(self._expiries)
            entry = self._entries.get(transaction_id)
            if entry is not None:
                expired.append(entry)
        self._remove(expired)
        return expired

    async def arrived(self) -> None:
        """Return when an entry waits."""
        await self._arrived.wait()

    def _remove(self, entries: list[Entry]) -> None:
        for entry in entries:
            del self._entries[entry.id]
            self._count -= 1
            self._size -= len(entry.content)
        if not self._entries:
            self._arrived.clear()
            self._expiries.clear()
        PENDING.set(len(self._entries))
