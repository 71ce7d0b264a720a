"""What proven blocks order this member's identity service to do, taken with the place in the chain.

Nearly every block means nothing here, and costs no write of its own.
"""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass, field

import structlog

from cipherward_chain.checkpoint import Checkpoint
from cipherward_chain.group_keys import OPENING
from cipherward_chain.light import VerifiedBlock
from cipherward_chain.openings import OPEN_IDENTITY, Warrant, WarrantMalformed
from cipherward_chain.orders import Order
from cipherward_identity.openings import Openings
from cipherward_identity.warrants import TakenWarrant, add_warrants
from cipherward_kit.database import Database
from cipherward_member.block_transactions import OwnTransactions, transactions_of
from cipherward_member.ceremonies import Ceremonies
from cipherward_member.ceremony_rows import add_ceremony_news
from cipherward_member.ceremony_store import CeremonyNews, CeremonyReading
from cipherward_member.chain_rows import add_reports, advance, settle_reports
from cipherward_member.reports import OrderKey, Outcome, Report, Reports

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(slots=True)
class BlockEffects:
    """What one block means here.

    reports: of orders that cannot be carried out. own: this member's transactions.
    """

    ceremonies: CeremonyNews
    own: OwnTransactions
    warrants: list[TakenWarrant] = field(default_factory=list[TakenWarrant])
    reports: list[Report] = field(default_factory=list[Report])

    @property
    def empty(self) -> bool:
        """Whether nothing is to be written."""
        others = self.own.settled, self.own.rebuilt, self.warrants, self.reports
        return self.ceremonies.empty and not any(others)


def effects_of(block: VerifiedBlock, member: str) -> BlockEffects:
    """Read a block for `member`; a full one takes some milliseconds."""
    reading, own = CeremonyReading(OPENING, block), OwnTransactions(member)
    for transaction in transactions_of(block):
        reading.see(transaction)
        own.see(transaction)
    effects = BlockEffects(reading.news(), own)
    for order in block.orders:
        if order.instruction == OPEN_IDENTITY:
            _take(effects, order, member)
    return effects


def _take(effects: BlockEffects, order: Order, member: str) -> None:
    try:
        warrant = Warrant.of(order)
    except WarrantMalformed as error:
        log.error("order_malformed", height=order.height, index=order.index, why=str(error))
        guardians = order.arguments.get("guardians")
        if isinstance(guardians, (list, tuple)) and member in guardians:
            key = OrderKey(order.height, order.index)
            effects.reports.append(Report(key, Outcome.FAILED, b""))
        return
    if member in (*warrant.guardians, warrant.recipient):
        effects.warrants.append(TakenWarrant(order, warrant, member in warrant.guardians))


@dataclass(frozen=True, slots=True)
class Consequences:
    """Who goes on once a block's effects are on disk."""

    ceremonies: Ceremonies
    openings: Openings
    reports: Reports


class BlockHandler:
    """Takes what a block orders, in one transaction with the place in the chain."""

    def __init__(self, member: str, database: Database, then: Consequences) -> None:
        self._member = member
        self._database = database
        self._then = then
        self._last: BlockEffects | None = None

    async def apply(self, block: VerifiedBlock, checkpoint: Checkpoint) -> bool:
        """Make a block's effects durable, once; return whether the checkpoint is on disk with them.

        Args:
            checkpoint: where a restart goes on: at this block or behind it, which changes nothing.
        """
        self._last = None
        if not block.transactions:
            return False
        effects = await asyncio.to_thread(effects_of, block, self._member)
        if effects.empty:
            return False
        self._last = effects
        octets = checkpoint.to_bytes()

        def work(connection: sqlite3.Connection) -> None:
            if advance(connection, block.height, octets):
                add_ceremony_news(connection, effects.ceremonies)
                add_warrants(connection, effects.warrants)
                add_reports(connection, effects.reports)
                settle_reports(connection, effects.own.settled, effects.own.rebuilt)

        await self._database.write_grouped(work)
        return True

    def wake(self) -> None:
        """Let go on what the block applied last concerns; a window may end by any block."""
        last = self._last
        self._then.ceremonies.wake(news=last is not None and not last.ceremonies.empty)
        if last is None:
            return
        if last.warrants:
            self._then.openings.wake()
        if last.reports or last.own.rebuilt:
            self._then.reports.wake()
