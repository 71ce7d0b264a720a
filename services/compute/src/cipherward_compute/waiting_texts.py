"""Texts that wait until the chain names them: anybody may hand one over, so they are bounded.

How many wait is bounded, and for how long; the same text again changes nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from cipherward_kit.database import Database
from cipherward_kit.errors import ServiceError


@dataclass(frozen=True, slots=True)
class WaitingTexts:
    """Where texts of a kind wait.

    Attributes:
        database: where they are kept.
        table: of (digest, text, put_at).
        seconds: how long one may wait.
        at_most: how many may wait at once.
        full: the refusal, by how many wait.
        waits: which rows still wait, as SQL; the others stay.
    """

    database: Database
    table: str
    seconds: int
    at_most: int
    full: Callable[[int], ServiceError]
    waits: str = "1"

    async def keep(self, digest: bytes, text: bytes, now: int) -> None:
        """Keep a text, and forget those that have waited too long.

        Args:
            now: Unix seconds.

        Raises:
            `full`'s: too many wait.
        """
        await self.database.write(lambda connection: self._keep(connection, digest, text, now))

    async def find(self, digest: bytes) -> bytes | None:
        """Return the text of that digest, or None."""

        def work(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute(f"SELECT * FROM {self.table} WHERE digest = ?", (digest,))
            found = row.fetchone()
            return None if found is None else found[1]

        return await self.database.read(work)

    def _keep(self, connection: sqlite3.Connection, digest: bytes, text: bytes, now: int) -> None:
        connection.execute(
            f"DELETE FROM {self.table} WHERE put_at < ? AND {self.waits}", (now - self.seconds,)
        )
        known = connection.execute(f"SELECT 1 FROM {self.table} WHERE digest = ?", (digest,))
        if known.fetchone() is not None:
            return
        counted = connection.execute(f"SELECT count(*) FROM {self.table} WHERE {self.waits}")
        (waiting,) = counted.fetchone()
        if waiting >= self.at_most:
            raise self.full(waiting)
        connection.execute(f"INSERT INTO {self.table} VALUES (?, ?, ?)", (digest, text, now))
