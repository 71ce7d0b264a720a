"""Erasures in SQLite and files: the embedded `ErasureStore`, and how a block adds to it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence

from cipherward_kit.database import Database
from cipherward_member.chain_rows import add_reports
from cipherward_member.reports import OrderKey, Report
from cipherward_storage.bodies import Bodies
from cipherward_storage.effects import Erasure


class SqliteErasures:
    """`ErasureStore` over the service's database and its folder of bodies."""

    def __init__(self, database: Database, bodies: Bodies) -> None:
        self._database = database
        self._bodies = bodies

    async def unfinished(self, limit: int) -> Sequence[Erasure]:
        """Return up to `limit` erasures of this custodian that are not reported, oldest first."""

        def work(connection: sqlite3.Connection) -> list[Erasure]:
            rows = connection.execute(
                "SELECT height, number, order_digest, record_id, ours, key_number FROM erased"
                " WHERE finished = 0 ORDER BY height LIMIT ?",
                (limit,),
            )
            return [
                Erasure(OrderKey(height, number), digest, record_id, bool(ours), key_number)
                for height, number, digest, record_id, ours, key_number in rows
            ]

        return await self._database.read(work)

    async def erase(self, erasure: Erasure) -> int:
        """Delete rows in one transaction, then the bodies that they named.

        A stop in between leaves bodies that no row names: they go at the next start.
        """
        bodies, key_number = await self._database.write(
            lambda connection: _erase(connection, erasure.record_id)
        )
        await asyncio.to_thread(self._bodies.delete, bodies)
        return key_number

    async def finish(self, erasure: Erasure, report: Report) -> None:
        """Note that nothing is left to do, and let the report be sent."""

        def work(connection: sqlite3.Connection) -> None:
            changed = connection.execute(
                "UPDATE erased SET finished = 1 WHERE record_id = ? AND finished = 0",
                (erasure.record_id,),
            )
            if changed.rowcount:
                add_reports(connection, (report,))

        await self._database.write(work)


def add_erasures(connection: sqlite3.Connection, erasures: Iterable[Erasure]) -> None:
    """Refuse the ids from this block on; who is not the custodian has nothing left to do."""
    connection.executemany(
        "INSERT INTO erased (record_id, height, number, order_digest, ours, finished)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [
            (
                one.record_id,
                one.order.height,
                one.order.index,
                one.order_digest,
                int(one.ours),
                int(not one.ours),
            )
            for one in erasures
        ],
    )


def _erase(connection: sqlite3.Connection, record_id: bytes) -> tuple[list[str], int]:
    """Delete the rows; return the bodies that they named, and the highest slot key."""
    found = connection.execute(
        "SELECT body, key_number FROM records WHERE record_id = ?1"
        " UNION ALL SELECT body, key_number FROM uploads WHERE record_id = ?1",
        (record_id,),
    ).fetchall()
    highest = max((number for _, number in found), default=0)
    connection.execute(
        "UPDATE erased SET key_number = max(key_number, ?) WHERE record_id = ?",
        (highest, record_id),
    )
    connection.execute("DELETE FROM records WHERE record_id = ?", (record_id,))
    connection.execute("DELETE FROM uploads WHERE record_id = ?", (record_id,))
    query = "SELECT key_number FROM erased WHERE record_id = ?"
    (key_number,) = connection.execute(query, (record_id,)).fetchone()
    return [body for body, _ in found if body is not None], key_number
