"""Slots in SQLite, as they are moved from key to key: the embedded `SlotStore`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from cipherward_kit.database import Database
from cipherward_storage.records import KeptSlot
from cipherward_storage.slot_renewal import LivingSlot


class SqliteSlots:
    """`SlotStore` over the service's database, which one process uses."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ours(self) -> bool:
        """Return True: nobody else uses this database."""
        return True

    async def registered(self, key_number: int, fingerprint: bytes) -> bytes:
        """Keep a slot key's fingerprint unless one is kept; return the kept one."""

        def work(connection: sqlite3.Connection) -> bytes:
            insert = "INSERT INTO slot_keys VALUES (?, ?) ON CONFLICT DO NOTHING"
            connection.execute(insert, (key_number, fingerprint))
            query = "SELECT fingerprint FROM slot_keys WHERE key_number = ?"
            return connection.execute(query, (key_number,)).fetchone()[0]

        return await self._database.write(work)

    async def raise_floor(self, key_number: int) -> None:
        """Take no slot any more that is under a key below this one."""
        update = "UPDATE use SET key_floor = max(key_floor, ?)"
        await self._database.write(lambda db: db.execute(update, (key_number,)).rowcount)

    async def outdated(self, key_number: int, limit: int) -> Sequence[LivingSlot]:
        """Return up to `limit` slots that are under a key below this one."""

        def work(connection: sqlite3.Connection) -> list[LivingSlot]:
            rows = connection.execute(
                "SELECT record_id, '', key_number, kept FROM records WHERE key_number < ?1"
                " UNION ALL SELECT record_id, request_id, key_number, kept FROM uploads"
                " WHERE key_number BETWEEN 1 AND ?1 - 1 LIMIT ?2",
                (key_number, limit),
            )
            return [
                LivingSlot(record_id, request_id, KeptSlot(number, octets))
                for record_id, request_id, number, octets in rows
            ]

        return await self._database.read(work)

    async def replace(self, moved: Sequence[tuple[LivingSlot, KeptSlot]]) -> None:
        """Keep slots anew; one that was replaced or deleted meanwhile stays as it is."""

        def work(connection: sqlite3.Connection) -> None:
            for living, kept in moved:
                table, name, key = (
                    ("uploads", "request_id", living.request_id)
                    if living.request_id
                    else ("records", "record_id", living.record_id)
                )
                connection.execute(
                    f"UPDATE {table} SET key_number = ?, kept = ? WHERE {name} = ? AND kept = ?",
                    (kept.key_number, kept.octets, key, living.kept.octets),
                )

        await self._database.write(work)
