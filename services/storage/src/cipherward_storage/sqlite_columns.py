"""Encrypted columns in SQLite: the embedded `ColumnStore`, and how a block adds to it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence

from cipherward_kit.database import Database
from cipherward_storage.columns import PART_BYTES_MAX, ColumnName
from cipherward_storage.errors import DataKeyRetired, DiskFull
from cipherward_storage.sqlite_records import SqliteRecordStore


class SqliteColumns:
    """`ColumnStore` over the service's database; a column is one transaction of a few parts."""

    def __init__(self, database: Database, records: SqliteRecordStore, quota_bytes: int) -> None:
        """Describe the columns.

        Args:
            database: open, with `schema.SCHEMA`.
            records: those on the same disk, which know how much of it is promised.
            quota_bytes: of records, uploads under way and columns together.
        """
        self._database = database
        self._records = records
        self._quota_bytes = quota_bytes

    async def put(self, name: ColumnName, octets: bytes) -> None:
        """Keep octets, all or nothing."""

        def work(connection: sqlite3.Connection) -> None:
            if _is_retired(connection, name.data_key):
                raise DataKeyRetired("the data key of this column is over")
            # What was kept under the name goes first: it has the same octets, or is damaged.
            connection.execute(
                "DELETE FROM columns WHERE data_key = ? AND digest = ?",
                (name.data_key, name.digest),
            )
            (promised,) = connection.execute("SELECT promised_bytes FROM use").fetchone()
            if promised + len(octets) > self._quota_bytes:
                raise DiskFull("the quota of this storage is used up", bytes_wanted=len(octets))
            connection.executemany(
                "INSERT INTO columns VALUES (?, ?, ?, ?)",
                [
                    (name.data_key, name.digest, number, octets[at : at + PART_BYTES_MAX])
                    for number, at in enumerate(range(0, len(octets), PART_BYTES_MAX))
                ],
            )

        await asyncio.to_thread(self._records.check_disk, len(octets))
        try:
            await self._database.write(work)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            raise DiskFull("the disk is full", bytes_wanted=len(octets)) from None

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

    async def names(self, after: ColumnName | None, limit: int) -> Sequence[ColumnName]:
        """Return up to `limit` names by ascending data key and digest, those after `after`."""
        last = (b"", b"") if after is None else (after.data_key, after.digest)

        def work(connection: sqlite3.Connection) -> list[ColumnName]:
            rows = connection.execute(
                "SELECT DISTINCT data_key, digest FROM columns WHERE (data_key, digest) > (?, ?)"
                " ORDER BY data_key, digest LIMIT ?",
                (*last, limit),
            )
            return [ColumnName(data_key, digest) for data_key, digest in rows]

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
