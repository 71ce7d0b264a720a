"""Rows in SQLite of whoever carries out orders: how far it is, and its reports.

A service puts the two tables into the first script of its schema, and changes their rows in the
transaction of a block or of an effect; hence functions over a connection.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from cipherward_kit.database import Database
from cipherward_member.reports import OrderKey, Outcome, PendingReport, Report

# Part of released scripts: never changed. A service that needs more columns appends a script.
POSITION_TABLE = """
    CREATE TABLE position (                            -- one row: how far the chain was followed
        only             INTEGER PRIMARY KEY CHECK (only = 1),
        height           INTEGER NOT NULL,
        checkpoint       BLOB NOT NULL
    );
    INSERT INTO position VALUES (1, 0, x'');
"""
REPORTS_TABLE = """
    CREATE TABLE reports (                             -- of orders, until a block holds them
        height           INTEGER NOT NULL,
        number           INTEGER NOT NULL,
        outcome          TEXT NOT NULL,
        digest           BLOB NOT NULL,
        payload          BLOB NOT NULL DEFAULT x'',    -- the signed transaction
        transaction_id   BLOB NOT NULL DEFAULT x'',
        expires          INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (height, number)
    ) WITHOUT ROWID;
    CREATE INDEX reports_by_transaction ON reports (transaction_id);
"""


def stored_checkpoint(connection: sqlite3.Connection) -> bytes:
    """Return where to go on, as the last applied block left it, or b"" before the first."""
    (checkpoint,) = connection.execute("SELECT checkpoint FROM position").fetchone()
    return checkpoint


def advance(connection: sqlite3.Connection, height: int, checkpoint: bytes) -> bool:
    """Go on to block `height`; return False, and stay, if it was applied before."""
    changed = connection.execute(
        "UPDATE position SET height = ?, checkpoint = ? WHERE height < ?",
        (height, checkpoint, height),
    )
    return changed.rowcount == 1


def add_reports(connection: sqlite3.Connection, reports: Iterable[Report]) -> None:
    """Let reports be sent; of two about one order the first stays."""
    connection.executemany(
        "INSERT INTO reports (height, number, outcome, digest) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        [(r.order.height, r.order.index, r.outcome.value, r.digest) for r in reports],
    )


def settle_reports(
    connection: sqlite3.Connection, settled: Iterable[bytes], rebuilt: Iterable[bytes]
) -> None:
    """Forget reports whose transaction a block holds (`settled`: transaction ids).

    Those that it refused for their time (`rebuilt`) lose their transaction and get another one.
    """
    connection.executemany(
        "DELETE FROM reports WHERE transaction_id = ?", [(name,) for name in settled]
    )
    connection.executemany(
        "UPDATE reports SET payload = x'', transaction_id = x'', expires = 0"
        " WHERE transaction_id = ?",
        [(name,) for name in rebuilt],
    )


class SqliteReports:
    """`ReportStore` over a service's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self, limit: int) -> Sequence[PendingReport]:
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

    async def save(self, reports: Sequence[PendingReport]) -> None:
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
