"""Encrypted columns in SQLite: the embedded `ColumnStore`, and how a block adds to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from cipherward_kit.database import Database
from cipherward_storage.columns import PART_BYTES_MAX, ColumnName
from cipherward_storage.errors import DataKeyRetired


class SqliteColumns:
    """`ColumnStore` over the service's database; a column is one transaction of a few parts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, name: ColumnName, octets: bytes) -> None:
        """Keep octets, all or nothing."""

        def work(connection: sqlite3.Connection) -> None:
            if _is_retired(connection, name.data_key):
                raise DataKeyRetired("the data key of this column is over")
            connection.executemany(
                "INSERT OR REPLACE INTO columns VALUES (?, ?, ?, ?)",
                [
                    (name.data_key, name.digest, number, octets[at : at + PART_BYTES_MAX])
                    for number, at in enumerate(range(0, len(octets), PART_BYTES_MAX))
                ],
            )

        await self._database.write(work)

    async def find(self, name: ColumnName) -> bytes | None:
        """Return what is kept under a name, or None."""

        def work(connection: sqlite3.Connection) -> bytes | None:
            if _is_retired(connection, name.data_key):
                return None
            rows = connection.execute(
                "SELECT part FROM columns WHERE data_key = ? AND digest = ? ORDER BY number",
                (name.data_key, name.digest),
            )
            return b"".join(part for (part,) in rows) or None

        return await self._database.read(work)

    async def sweep(self, limit: int) -> int:
        """Delete up to `limit` parts of data keys that are over."""

        def work(connection: sqlite3.Connection) -> int:
            deleted = connection.execute(
                "DELETE FROM columns WHERE rowid IN (SELECT c.rowid FROM retired_keys r"
                " JOIN columns c ON c.data_key = r.data_key LIMIT ?)",
                (limit,),
            )
            return deleted.rowcount

        return await self._database.write(work)


def add_retired_keys(connection: sqlite3.Connection, data_keys: Iterable[bytes]) -> None:
    """Refuse the columns of these data keys from this block on."""
    connection.executemany(
        "INSERT OR IGNORE INTO retired_keys VALUES (?)", [(data_key,) for data_key in data_keys]
    )


def _is_retired(connection: sqlite3.Connection, data_key: bytes) -> bool:
    found = connection.execute("SELECT 1 FROM retired_keys WHERE data_key = ?", (data_key,))
    return found.fetchone() is not None
