"""Transactions that wait for a block: in memory, in order of arrival, bounded.

Every entry is also in the outbox on disk. Bounds count what waits and what is being admitted, so
that concurrent callers together stay within them.
"""

from __future__ import annotations

import asyncio
import heapq
from bisect import bisect_right
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from cipherward_ledger.errors import OutboxFull
from cipherward_ledger.metrics import MEMPOOL_BYTES, MEMPOOL_TRANSACTIONS

# A transaction in a block costs its bytes, a tag and a length of at most three bytes (64 KiB).
FRAME_BYTES = 4
# What has left is forgotten when there is this much more of it than waits: tidying costs as much as
# what waits, so it is rare.
UNTIDY_MAX = 1_024


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
        self._sequences: dict[bytes, int] = {}  # of the same ids
        # Sequence and id of what arrived, ascending; entries already gone stay until it is tidied.
        self._arrivals: list[tuple[int, bytes]] = []
        self._sequence = 0  # of the newest arrival
        self._expiries: list[tuple[int, bytes]] = []  # a heap; entries already gone stay, too
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
            self._show()

    def hash_of(self, transaction_id: bytes) -> bytes | None:
        """Return the hash of the waiting transaction with that id, or None if none waits."""
        entry = self._entries.get(transaction_id)
        return None if entry is None else entry.hash

    def add(self, entry: Entry) -> None:
        """Append an entry, which the outbox holds and no block does."""
        if entry.id in self._entries:
            return
        self._entries[entry.id] = entry
        self._sequence += 1
        self._sequences[entry.id] = self._sequence
        self._arrivals.append((self._sequence, entry.id))
        heapq.heappush(self._expiries, (entry.expires_ns, entry.id))
        self._count += 1
        self._size += len(entry.content)
        self._arrived.set()
        self._show()

    def after(self, sequence: int, limit: int) -> list[tuple[int, Entry]]:
        """Return at most `limit` waiting entries that arrived after `sequence`, in order.

        Each is with its own sequence, a number from 1 on that is never given twice. The entries
        stay. An engine that passes them on goes on after the last one's sequence.
        """
        found: list[tuple[int, Entry]] = []
        for at in range(bisect_right(self._arrivals, sequence, key=_number), len(self._arrivals)):
            if len(found) == limit:
                break
            number, transaction_id = self._arrivals[at]
            if self._sequences.get(transaction_id) == number:
                found.append((number, self._entries[transaction_id]))
        return found

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

    def remove(self, ids: Iterable[bytes]) -> None:
        """Remove those of the ids that wait: a block holds them, whoever's authorization it was."""
        unique = dict.fromkeys(ids)
        self._remove([entry for one in unique if (entry := self._entries.get(one)) is not None])

    async def arrived(self, after: int = 0) -> None:
        """Return when an entry waits that arrived after the sequence `after`."""
        while not self.after(after, 1):
            self._arrived.clear()
            await self._arrived.wait()

    def _remove(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            del self._entries[entry.id]
            del self._sequences[entry.id]
            self._count -= 1
            self._size -= len(entry.content)
        most = 2 * len(self._entries) + UNTIDY_MAX
        if len(self._arrivals) > most:
            self._arrivals = [(self._sequences[one], one) for one in self._entries]
        if len(self._expiries) > most:
            self._expiries = [(one.expires_ns, one.id) for one in self._entries.values()]
            heapq.heapify(self._expiries)
        self._show()

    def _show(self) -> None:
        MEMPOOL_TRANSACTIONS.set(len(self._entries))
        MEMPOOL_BYTES.set(self._size)


def _number(arrival: tuple[int, bytes]) -> int:
    return arrival[0]
