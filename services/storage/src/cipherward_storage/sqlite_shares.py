"""A guardian's shares in SQLite: the embedded `ShareStore`, and how a block changes them."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence

from cipherward_kit.database import Database
from cipherward_member.reports import OrderKey
from cipherward_storage.effects import BlockEffects, Release, ShareOrder
from cipherward_storage.guardian import OrderedShare

PENDING = (
    "SELECT height, number, order_digest, record_id, anchor_digest, anchor, contract, reader,"
    " reader_key, ends, custodian, key_epoch, attempts FROM shares"
    " WHERE pending = 1 AND ends > ?1 AND not_before <= ?1"
)


class SqliteShares:
    """`ShareStore` over the service's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self, now: int, limit: int, without: Collection[str]) -> Sequence[ShareOrder]:
        """Return up to `limit` orders whose share is to be made, the oldest first."""
        marks = ", ".join("?" * len(without))
        query = f"{PENDING} AND custodian NOT IN ({marks}) ORDER BY height, number LIMIT ?"

        def work(connection: sqlite3.Connection) -> list[ShareOrder]:
            rows = connection.execute(query, (now, *without, limit))
            return [ShareOrder(OrderKey(height, number), *rest) for height, number, *rest in rows]

        return await self._database.read(work)

    async def waiting(self, now: int) -> int:
        """Return how many shares are to be made."""
        query = "SELECT count(*) FROM shares WHERE pending = 1 AND ends > ?"
        return await self._database.read(lambda db: db.execute(query, (now,)).fetchone()[0])

    async def keep(self, order: OrderKey, sealed: bytes) -> None:
        """Keep what was made, unless something was made before or the right is over."""
        values = (sealed, order.height, order.index)
        update = (
            "UPDATE shares SET sealed = ?, pending = 0"
            " WHERE height = ? AND number = ? AND pending = 1"
        )
        await self._database.write_grouped(lambda db: db.execute(update, values).rowcount)

    async def put_off(self, order: ShareOrder, until: int) -> None:
        """Leave an order alone for a while."""
        values = (order.attempts + 1, until, order.order.height, order.order.index)
        update = "UPDATE shares SET attempts = ?, not_before = ? WHERE height = ? AND number = ?"
        await self._database.write_grouped(lambda db: db.execute(update, values).rowcount)

    async def give_up(self, order: OrderKey) -> None:
        """Note that no share will ever be made for the order."""
        values = (order.height, order.index)
        update = "UPDATE shares SET pending = 0 WHERE height = ? AND number = ?"
        await self._database.write_grouped(lambda db: db.execute(update, values).rowcount)

    async def share(self, order: OrderKey) -> OrderedShare | None:
        """Return what there is of the share that the order takes, or None: it takes none."""

        def work(connection: sqlite3.Connection) -> OrderedShare | None:
            row = connection.execute(
                "SELECT record_id, anchor, contract, reader, ends, sealed, pending, revoked"
                " FROM shares WHERE height = ? AND number = ?",
                (order.height, order.index),
            ).fetchone()
            if row is None:
                return None
            record_id, anchor, contract, reader, ends, sealed, pending, revoked = row
            made = Release(
                order, record_id, anchor, contract, reader, ends, sealed, revoked=bool(revoked)
            )
            return OrderedShare(made, bool(pending))

        return await self._database.read(work)


def add_shares(connection: sqlite3.Connection, effects: BlockEffects) -> None:
    """Keep the orders of a block that take a share."""
    connection.executemany(
        "INSERT INTO shares (height, number, order_digest, record_id, anchor_digest, anchor,"
        " contract, reader, reader_key, ends, custodian, key_epoch)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                one.order.height,
                one.order.index,
                one.order_digest,
                one.record_id,
                one.anchor_digest,
                one.anchor,
                one.grant,
                one.reader,
                one.reader_key,
                one.ends,
                one.custodian,
                one.key_epoch,
            )
            for one in effects.shares
        ],
    )
