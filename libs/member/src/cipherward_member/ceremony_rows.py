"""Ceremonies in SQLite: the tables, what a block's transaction writes, and the store over them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from cipherward_kit.database import Database
from cipherward_member.ceremony_store import (
    CeremonyMessage,
    CeremonyNews,
    KeptSharing,
    StoredCeremony,
)

# Part of released scripts: never changed.
CEREMONY_TABLES: Final = """
    CREATE TABLE ceremonies (                          -- begun and not closed
        ceremony         BLOB PRIMARY KEY,
        number           INTEGER NOT NULL UNIQUE,      -- in the order of their beginning
        share_key        BLOB NOT NULL,                -- the order
        use_sharing      BLOB NOT NULL DEFAULT x'',    -- the order, once the sharing is in force
        seed             BLOB NOT NULL DEFAULT x''     -- sealed, before the first message
    ) WITHOUT ROWID;
    CREATE TABLE ceremony_messages (                   -- as proven blocks hold them
        ceremony         BLOB NOT NULL REFERENCES ceremonies (ceremony),
        height           INTEGER NOT NULL,
        place            INTEGER NOT NULL,
        sender           TEXT NOT NULL,
        kind             TEXT NOT NULL,
        body             BLOB NOT NULL,
        PRIMARY KEY (ceremony, height, place)
    ) WITHOUT ROWID;
    CREATE TABLE sharings (                            -- in force
        key_epoch        INTEGER NOT NULL,
        sharing          INTEGER NOT NULL,
        entry            BLOB NOT NULL,
        share            BLOB NOT NULL,                -- sealed, or empty
        PRIMARY KEY (key_epoch, sharing)
    ) WITHOUT ROWID;
"""


def add_ceremony_news(connection: sqlite3.Connection, news: CeremonyNews) -> None:
    """Store what a block says, in that block's transaction."""
    connection.executemany(
        "INSERT INTO ceremonies (ceremony, number, share_key)"
        " SELECT ?, coalesce(max(number), 0) + 1, ? FROM ceremonies WHERE true"
        " ON CONFLICT (ceremony) DO NOTHING",
        news.begun.items(),
    )
    connection.executemany(
        "INSERT INTO ceremony_messages (ceremony, height, place, sender, kind, body)"
        " SELECT ceremony, ?, ?, ?, ?, ? FROM ceremonies WHERE ceremony = ?"
        " ON CONFLICT DO NOTHING",
        [
            (one.height, one.place, one.sender, one.kind, one.body, one.ceremony)
            for one in news.messages
        ],
    )
    connection.executemany(
        "UPDATE ceremonies SET use_sharing = ? WHERE ceremony = ?",
        [(order, ceremony) for ceremony, order in news.in_force.items()],
    )


class SqliteCeremonies:
    """`CeremonyStore` over a service's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def running(self) -> Sequence[StoredCeremony]:
        """Return the ceremonies that are not closed, the oldest order first."""

        def work(connection: sqlite3.Connection) -> list[StoredCeremony]:
            rows = connection.execute(
                "SELECT ceremony, share_key, use_sharing FROM ceremonies ORDER BY number"
            )
            return [StoredCeremony(*row) for row in rows]

        return await self._database.read(work)

    async def messages(self, ceremony: bytes, after: tuple[int, int]) -> Sequence[CeremonyMessage]:
        """Return the messages behind (height, place), in their order."""

        def work(connection: sqlite3.Connection) -> list[CeremonyMessage]:
            rows = connection.execute(
                "SELECT ceremony, height, place, sender, kind, body FROM ceremony_messages"
                " WHERE ceremony = ? AND (height, place) > (?, ?) ORDER BY height, place",
                (ceremony, *after),
            )
            return [CeremonyMessage(*row) for row in rows]

        return await self._database.read(work)

    async def seed(self, ceremony: bytes, fresh: bytes) -> bytes:
        """Keep `fresh` unless a seed is kept; return the kept one, or b"" after the end."""

        def work(connection: sqlite3.Connection) -> bytes:
            connection.execute(
                "UPDATE ceremonies SET seed = ? WHERE ceremony = ? AND seed = x''",
                (fresh, ceremony),
            )
            row = connection.execute(
                "SELECT seed FROM ceremonies WHERE ceremony = ?", (ceremony,)
            ).fetchone()
            return b"" if row is None else row[0]

        return await self._database.write(work)

    async def close(self, ceremony: bytes, kept: KeptSharing | None) -> None:
        """Destroy a ceremony with its seed and messages; keep its sharing, if there is one."""

        def work(connection: sqlite3.Connection) -> None:
            # What is deleted is overwritten in the file: a seed and the messages give a share.
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("DELETE FROM ceremony_messages WHERE ceremony = ?", (ceremony,))
            connection.execute("DELETE FROM ceremonies WHERE ceremony = ?", (ceremony,))
            if kept is None:
                return
            connection.execute(
                "INSERT INTO sharings (key_epoch, sharing, entry, share) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (kept.key_epoch, kept.sharing, kept.entry, kept.share),
            )
            connection.execute(
                "DELETE FROM sharings WHERE key_epoch = ? AND sharing < ?",
                (kept.key_epoch, kept.sharing),
            )

        await self._database.write(work)

    async def sharings(self) -> Sequence[KeptSharing]:
        """Return the sharings in force, by key epoch."""

        def work(connection: sqlite3.Connection) -> list[KeptSharing]:
            rows = connection.execute(
                "SELECT key_epoch, sharing, entry, share FROM sharings ORDER BY key_epoch, sharing"
            )
            return [KeptSharing(*row) for row in rows]

        return await self._database.read(work)
