"""What proven blocks made, in SQLite: the embedded `ChainStore`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from cipherward_kit.database import Database
from cipherward_storage.records import (
    BlockEffects,
    OrderKey,
    Outcome,
    PendingReport,
    Release,
    Report,
)

# A release that is over is answered as ended for this long, then as unknown; its sealed bytes go.
ENDED_RELEASE_SECONDS = 24 * 3600
# Deleted a block, so that a block's transaction stays short.
ENDED_RELEASES_PER_BLOCK = 100


class SqliteChainStore:
    """`ChainStore` over the service's database; a block is one transaction, fsynced."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def checkpoint(self) -> bytes:
        """Return where to go on, or b""."""

        def work(connection: sqlite3.Connection) -> bytes:
            (checkpoint,) = connection.execute("SELECT checkpoint FROM position").fetchone()
            return checkpoint

        return await self._database.read(work)

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

    async def pending_reports(self, limit: int) -> Sequence[PendingReport]:
        """Return up to `limit` reports that no block holds yet, oldest order first."""

        def work(connection: sqlite3.Connection) -> list[PendingReport]:
            rows = connection.execute(
                "SELECT height, number, outcome, digest, payload, transaction_id, expires"
                " FROM reports ORDER BY height, number LIMIT ?",
                (limit,),
            )
            return [
                PendingReport(
                    Report(OrderKey(height, number), Outcome(outcome), digest),
                    payload,
                    transaction_id,
                    expires,
                )
                for height, number, outcome, digest, payload, transaction_id, expires in rows
            ]

        return await self._database.read(work)

    async def save_reports(self, reports: Sequence[PendingReport]) -> None:
        """Keep the transactions of pending reports; those that a block took meanwhile stay gone."""
        rows = [
            (
                pending.transaction,
                pending.transaction_id,
                pending.expires,
                pending.report.order.height,
                pending.report.order.index,
            )
            for pending in reports
        ]
        await self._database.write(
            lambda connection: connection.executemany(
                "UPDATE reports SET payload = ?, transaction_id = ?, expires = ?"
                " WHERE height = ? AND number = ?",
                rows,
            )
        )


def _apply(connection: sqlite3.Connection, effects: BlockEffects) -> None:
    (height,) = connection.execute("SELECT height FROM position").fetchone()
    if effects.height <= height:  # applied before: what it made first stays
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
    connection.executemany(
        "INSERT INTO reports (height, number, outcome, digest) VALUES (?, ?, ?, ?)",
        [(r.order.height, r.order.index, r.outcome.value, r.digest) for r in effects.reports],
    )
    connection.executemany(
        "DELETE FROM reports WHERE transaction_id = ?",
        [(transaction_id,) for transaction_id in effects.settled],
    )
    connection.executemany(
        "UPDATE reports SET payload = x'', transaction_id = x'', expires = 0"
        " WHERE transaction_id = ?",
        [(transaction_id,) for transaction_id in effects.rebuilt],
    )
    connection.execute(
        "DELETE FROM releases WHERE (height, number) IN"
        " (SELECT height, number FROM releases WHERE ends < ? LIMIT ?)",
        (effects.time - ENDED_RELEASE_SECONDS, ENDED_RELEASES_PER_BLOCK),
    )
    connection.execute(
        "UPDATE position SET height = ?, checkpoint = ?", (effects.height, effects.checkpoint)
    )
