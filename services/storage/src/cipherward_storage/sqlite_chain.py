"""What proven blocks made, in SQLite: the embedded `ChainStore`."""

from __future__ import annotations

import sqlite3

from cipherward_kit.database import Database
from cipherward_member.chain_rows import (
    SqliteReports,
    add_reports,
    advance,
    settle_reports,
    stored_checkpoint,
)
from cipherward_member.reports import OrderKey
from cipherward_storage.records import BlockEffects, Release

# A release that is over is answered as ended for this long, then as unknown; its sealed bytes go.
ENDED_RELEASE_SECONDS = 24 * 3600
# Deleted a block, so that a block's transaction stays short.
ENDED_RELEASES_PER_BLOCK = 100


class SqliteChainStore:
    """`ChainStore` over the service's database; a block is one transaction, fsynced."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.reports = SqliteReports(database)

    async def checkpoint(self) -> bytes:
        """Return where to go on, or b""."""
        return await self._database.read(stored_checkpoint)

    async def apply(self, effects: BlockEffects) -> None:
        """Make a block's effects and checkpoint durable together, once."""
        await self._database.write(lambda connection: _apply(connection, effects))

    async def release(self, order: OrderKey) -> Release | None:
        """Return what the order released, or None."""

        def work(connection: sqlite3.Connection) -> Release | None:
            row = connection.execute(
                "SELECT record_id, anchor, contract, reader, ends, sealed, revoked"
                " FROM releases WHERE height = ? AND number = ?",
                (order.height, order.index),
            ).fetchone()
            if row is None:
                return None
            record_id, anchor, contract, reader, ends, sealed, revoked = row
            return Release(order, record_id, anchor, contract, reader, ends, sealed, bool(revoked))

        return await self._database.read(work)


def _apply(connection: sqlite3.Connection, effects: BlockEffects) -> None:
    if not advance(connection, effects.height, effects.checkpoint):  # what it made first stays
        return
    connection.executemany(
        "INSERT INTO anchors VALUES (?, ?, ?, ?) ON CONFLICT (record_id) DO NOTHING",
        [(a.anchor.record_id, a.anchor.octets, a.slot_digest, a.height) for a in effects.anchored],
    )
    connection.executemany(
        "INSERT INTO releases (height, number, record_id, anchor, contract, reader, ends, sealed)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                made.order.height,
                made.order.index,
                made.record_id,
                made.anchor,
                made.grant,
                made.reader,
                made.ends,
                made.sealed,
            )
            for made in effects.releases
        ],
    )
    connection.executemany(
        "UPDATE releases SET revoked = 1 WHERE contract = ?",
        [(grant,) for grant in effects.ended_grants],
    )
    add_reports(connection, effects.reports)
    settle_reports(connection, effects.settled, effects.rebuilt)
    connection.execute(
        "DELETE FROM releases WHERE (height, number) IN"
        " (SELECT height, number FROM releases WHERE ends < ? LIMIT ?)",
        (effects.time - ENDED_RELEASE_SECONDS, ENDED_RELEASES_PER_BLOCK),
    )
