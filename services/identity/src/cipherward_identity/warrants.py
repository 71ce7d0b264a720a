"""Warrants that concern this member, as guardian or as recipient, and the shares made for them.

A share is kept sealed, as it will be answered; the first one made stays for ever.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cipherward_chain.openings import Warrant
from cipherward_chain.orders import Order
from cipherward_kit.database import Database
from cipherward_member.chain_rows import add_reports
from cipherward_member.reports import OrderKey, Outcome, Report

WARRANT_TABLE: Final = """
    CREATE TABLE warrant (                             -- proven ones that name this member
        warrant BLOB PRIMARY KEY,
        height INTEGER NOT NULL,
        number INTEGER NOT NULL,                       -- of the order in its block
        order_octets BLOB NOT NULL,
        recipient TEXT NOT NULL,
        pending INTEGER NOT NULL CHECK (pending IN (0, 1)),  -- a share is to be made here
        share BLOB NOT NULL DEFAULT x''                -- sealed to the recipient
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX warrant_pending ON warrant (height, number) WHERE pending = 1;
"""
PENDING_MAX = 16  # carried out in one go; each is about 2 ms of arithmetic


@dataclass(frozen=True, slots=True)
class TakenWarrant:
    """A warrant that a block ordered; `pending`: this member is to make a share."""

    order: Order
    warrant: Warrant
    pending: bool

    @property
    def key(self) -> OrderKey:
        """Under what its report goes."""
        return OrderKey(self.order.height, self.order.index)


def add_warrants(connection: sqlite3.Connection, taken: Iterable[TakenWarrant]) -> None:
    """Keep warrants, in the transaction of their block; of two with one id the first stays."""
    connection.executemany(
        "INSERT INTO warrant (warrant, height, number, order_octets, recipient, pending)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [
            (
                one.warrant.warrant,
                one.order.height,
                one.order.index,
                one.order.to_bytes(),
                one.warrant.recipient,
                one.pending,
            )
            for one in taken
        ],
    )


class Warrants:
    """The rows, for whoever makes the shares and whoever answers them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self) -> Sequence[TakenWarrant]:
        """Return warrants that a share is still to be made for, the oldest first."""

        def work(connection: sqlite3.Connection) -> list[TakenWarrant]:
            rows = connection.execute(
                "SELECT order_octets FROM warrant WHERE pending = 1"
                " ORDER BY height, number LIMIT ?",
                (PENDING_MAX,),
            )
            orders = [Order.from_bytes(octets) for (octets,) in rows]
            return [TakenWarrant(order, Warrant.of(order), pending=True) for order in orders]

        return await self._database.read(work)

    async def settle(self, taken: TakenWarrant, sealed: bytes) -> None:
        """Keep the share of a pending warrant, or b"" for none, and report it, in one transaction.

        What was settled before stays as it is.
        """
        outcome = Outcome.DONE if sealed else Outcome.FAILED
        digest = hashlib.sha256(sealed).digest() if sealed else b""

        def work(connection: sqlite3.Connection) -> None:
            changed = connection.execute(
                "UPDATE warrant SET share = ?, pending = 0 WHERE warrant = ? AND pending = 1",
                (sealed, taken.warrant.warrant),
            )
            if changed.rowcount:
                add_reports(connection, [Report(taken.key, outcome, digest)])

        await self._database.write(work)

    async def share(self, warrant: bytes, recipient: str) -> bytes:
        """Return the sealed share of a warrant with that recipient, or b"" if there is none."""

        def work(connection: sqlite3.Connection) -> bytes:
            row = connection.execute(
                "SELECT share FROM warrant WHERE warrant = ? AND recipient = ?",
                (warrant, recipient),
            ).fetchone()
            return b"" if row is None else row[0]

        return await self._database.read(work)

    async def known(self, warrant: bytes, recipient: str) -> bool:
        """Return whether a proven warrant of that id names that recipient."""

        def work(connection: sqlite3.Connection) -> bool:
            row = connection.execute(
                "SELECT 1 FROM warrant WHERE warrant = ? AND recipient = ?", (warrant, recipient)
            ).fetchone()
            return row is not None

        return await self._database.read(work)
