"""What proven blocks made, in SQLite: the embedded `ChainStore`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from cipherward_kit.database import Database
from cipherward_member.ceremony_rows import add_ceremony_news
from cipherward_member.chain_rows import (
    SqliteReports,
    add_reports,
    advance,
    settle_reports,
    stored_checkpoint,
)
from cipherward_member.reports import OrderKey
from cipherward_storage.effects import BlockEffects, Release
from cipherward_storage.sqlite_columns import add_retired_keys
from cipherward_storage.sqlite_erasures import add_erasures
from cipherward_storage.sqlite_facts import add_facts
from cipherward_storage.sqlite_shares import add_shares

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
                "SELECT record_id, anchor, contract, reader, ends, sealed, alliance_slot, revoked"
                " FROM releases WHERE height = ? AND number = ?",
                (order.height, order.index),
            ).fetchone()
            return None if row is None else Release(order, *row[:-1], revoked=bool(row[-1]))

        return await self._database.read(work)


def _apply(connection: sqlite3.Connection, effects: BlockEffects) -> None:
    if not advance(connection, effects.height, effects.checkpoint):  # what it made first stays
        return
    add_facts(connection, effects)
    _add_releases(connection, effects.releases)
    add_shares(connection, effects)
    add_erasures(connection, effects.erased)
    add_retired_keys(connection, effects.retired_keys)
    for table in ("releases", "shares"):
        _end_rights(connection, table, effects)
    connection.execute("UPDATE shares SET pending = 0 WHERE revoked = 1 AND pending = 1")
    add_ceremony_news(connection, effects.ceremonies)
    add_reports(connection, effects.reports)
    settle_reports(connection, effects.settled, effects.rebuilt)
    for table in ("releases", "shares"):
        _forget(connection, table, effects.time - ENDED_RELEASE_SECONDS)


def _add_releases(connection: sqlite3.Connection, releases: Iterable[Release]) -> None:
    connection.executemany(
        "INSERT INTO releases (height, number, record_id, anchor, contract, reader, ends, sealed,"
        " alliance_slot, revoked) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                made.alliance_slot,
                int(made.revoked),
            )
            for made in releases
        ],
    )


def _end_rights(connection: sqlite3.Connection, table: str, effects: BlockEffects) -> None:
    """Drop what was made for grants that end and for records that are erased."""
    ended = f"UPDATE {table} SET revoked = 1, sealed = x'' WHERE"
    connection.executemany(f"{ended} contract = ?", [(one,) for one in effects.ended_grants])
    connection.executemany(f"{ended} record_id = ?", [(one.record_id,) for one in effects.erased])


def _forget(connection: sqlite3.Connection, table: str, before: int) -> None:
    connection.execute(
        f"DELETE FROM {table} WHERE (height, number) IN"
        f" (SELECT height, number FROM {table} WHERE ends < ? LIMIT ?)",
        (before, ENDED_RELEASES_PER_BLOCK),
    )
