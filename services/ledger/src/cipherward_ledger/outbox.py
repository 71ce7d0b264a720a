"""The outbox: what was admitted is on disk before it is answered, and stays until it is in a block
or has expired.

A row of the outbox exists exactly while its transaction is admitted, in no stored block, and not
expired: storing a block removes its rows in the same commit (`remove_included`).
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import structlog

from cipherward_kit.database import Database
from cipherward_ledger.clock import NANOSECONDS, Clock
from cipherward_ledger.errors import StoreUnwritable
from cipherward_ledger.mempool import Entry, Mempool
from cipherward_ledger.metrics import CORRUPT, DROPPED
from cipherward_ledger.schema import write

# How long an expired id is remembered, so that its sender can be told: a day covers any retry.
EXPIRED_MEMORY_NS = 24 * 3600 * NANOSECONDS
EXPIRY_SECONDS = 1.0  # between two looks for what has expired: expiry itself has whole seconds
# Submissions that wait for a commit; each is a call in flight, and those are bounded too.
QUEUE_MAX = 4_096
# Entries that share a commit: beyond this the fsync is a small part of the time.
GROUP_ENTRIES_MAX = 2_048

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Standing(Enum):
    """What the outbox knew of a submitted transaction."""

    NEW = "new"  # it is on disk now
    KNOWN = "known"  # the same bytes wait for a block or are in one
    # Another authorization of the same body, which only its authorizer can make, waits or is in a
    # block.
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a transaction is in the chain; `hash` is that of its bytes there."""

    height: int
    position: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What is known of an id: its place, else whether it waits, else whether it expired."""

    place: Place | None = None
    waits: bool = False
    expired: bool = False


@dataclass(frozen=True, slots=True)
class _Submission:
    entries: Sequence[Entry]
    answer: asyncio.Future[list[Standing]]


class Outbox:
    """Writes submissions in groups, one commit each, and puts new ones into the mempool.

    `run` does the writing, whatever becomes of the callers: a caller that goes away in the middle
    leaves its transaction either not submitted or submitted, never on disk only.
    """

    def __init__(self, database: Database, mempool: Mempool) -> None:
        self._database = database
        self.mempool = mempool  # what waits, in memory
        self._queue: asyncio.Queue[_Submission] = asyncio.Queue(QUEUE_MAX)

    async def restore(self, now_ns: int) -> int:
        """Put what waited when the process ended back into the mempool; return how many.

        Rows that do not read back as stored are dropped and counted: nobody verifies their
        signatures again, so they may not be trusted.
        """

        def load(connection: sqlite3.Connection) -> tuple[list[Entry], int]:
            rows = connection.execute(
                "SELECT id, hash, content, expires_ns FROM outbox ORDER BY sequence"
            ).fetchall()
            entries = [Entry(bytes(i), bytes(h), bytes(c), t) for i, h, c, t in rows]
            sound = [entry for entry in entries if _hash(entry.content) == entry.hash]
            broken = [(e.id,) for e in entries if _hash(e.content) != e.hash]
            connection.executemany("DELETE FROM outbox WHERE id = ?", broken)
            return sound, len(broken)

        entries, broken = await write(self._database, load)
        if broken:
            CORRUPT.inc(broken)
            DROPPED.labels("corrupt").inc(broken)
            log.error("outbox_rows_corrupt", rows=broken)
        for entry in entries:
            self.mempool.add(entry)
        await self.drop_expired(now_ns)
        return len(entries)

    async def submit(self, entries: Sequence[Entry]) -> list[Standing]:
        """Return the standing of each entry once all of them are on disk."""
        if not entries:
            return []
        answer: asyncio.Future[list[Standing]] = asyncio.get_running_loop().create_future()
        await self._queue.put(_Submission(entries, answer))
        return await answer

    async def run(self) -> None:
        """Write what is submitted, for ever.

        Raises:
            StoreUnwritable: the disk is full or fails; who waits for this write gets it, too.
        """
        while True:
            group = [await self._queue.get()]
            count = len(group[0].entries)
            while count < GROUP_ENTRIES_MAX and not self._queue.empty():
                group.append(self._queue.get_nowait())
                count += len(group[-1].entries)
            entries = [entry for submission in group for entry in submission.entries]
            try:
                standings = await write(self._database, lambda c, e=entries: _insert(c, e))
            except StoreUnwritable as error:
                for submission in group:
                    _fail(submission.answer, error)
                raise
            for entry, standing in zip(entries, standings, strict=True):
                if standing is Standing.NEW:
                    self.mempool.add(entry)
            begin = 0
            for submission in group:
                end = begin + len(submission.entries)
                if not submission.answer.done():  # its caller may be gone
                    submission.answer.set_result(standings[begin:end])
                begin = end

    async def run_expiry(self, clock: Clock, block_time_ns: Callable[[], int]) -> None:
        """Drop what expires, every second, for ever: also while no blocks are made.

        Args:
            block_time_ns: a time that no block from now on is before. Where this ledger alone makes
                the blocks, its clock; with consensus the newest block's time, since the next one
                may be as old as the votes for that.
        """
        while True:
            await clock.sleep(EXPIRY_SECONDS)
            await self.drop_expired(block_time_ns())

    async def drop_expired(self, now_ns: int) -> int:
        """Drop what no block of `now_ns` or later may hold; remember that it expired.

        Returns:
            how many.
        """
        expired = self.mempool.take_expired(now_ns)
        if not expired:
            return 0

        def drop(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM outbox WHERE id = ?", [(e.id,) for e in expired])
            connection.executemany(
                "INSERT OR IGNORE INTO expired VALUES (?, ?)",
                [(e.id, e.expires_ns) for e in expired],
            )
            oldest = now_ns - EXPIRED_MEMORY_NS
            connection.execute("DELETE FROM expired WHERE expires_ns < ?", (oldest,))

        await write(self._database, drop)
        DROPPED.labels("expired").inc(len(expired))
        log.info("transactions_expired", count=len(expired))
        return len(expired)

    async def find(self, transaction_id: bytes) -> Whereabouts:
        """Return what is known of the id."""

        def look(connection: sqlite3.Connection) -> Whereabouts:
            one = (transaction_id,)
            row = connection.execute(
                "SELECT height, position, hash FROM transactions WHERE id = ?", one
            ).fetchone()
            if row is not None:
                return Whereabouts(place=Place(row[0], row[1], bytes(row[2])))
            row = connection.execute("SELECT 1 FROM outbox WHERE id = ?", one).fetchone()
            if row is not None:
                return Whereabouts(waits=True)
            row = connection.execute("SELECT 1 FROM expired WHERE id = ?", one).fetchone()
            return Whereabouts(expired=row is not None)

        return await self._database.read(look)


def remove_included(connection: sqlite3.Connection, ids: Sequence[bytes]) -> None:
    """Remove the transactions of a block; part of the commit that stores the block."""
    connection.executemany("DELETE FROM outbox WHERE id = ?", [(one,) for one in ids])


def _insert(connection: sqlite3.Connection, entries: Sequence[Entry]) -> list[Standing]:
    standings: list[Standing] = []
    for entry in entries:
        cursor = connection.execute(
            "INSERT INTO outbox (id, hash, expires_ns, content) SELECT ?, ?, ?, ? "
            "WHERE NOT EXISTS (SELECT 1 FROM transactions WHERE id = ?) "
            "ON CONFLICT (id) DO NOTHING",
            (entry.id, entry.hash, entry.expires_ns, entry.content, entry.id),
        )
        if cursor.rowcount == 1:
            standings.append(Standing.NEW)
            continue
        (known,) = connection.execute(
            "SELECT hash FROM outbox WHERE id = ?1 "
            "UNION ALL SELECT hash FROM transactions WHERE id = ?1",
            (entry.id,),
        ).fetchone()
        standings.append(Standing.KNOWN if bytes(known) == entry.hash else Standing.OTHER)
    return standings


def _fail(answer: asyncio.Future[list[Standing]], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # its caller may have stopped waiting


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
