"""The handler of verified blocks: effects and checkpoint of each in one transaction, in order.

A block that came before is skipped by the store, so that a restart between the effect and whatever
follows it (the report, the cut) makes the same bytes again: those that are stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from cipherward_chain.light import VerifiedBlock
from cipherward_chain.orders import Order
from cipherward_member.reports import OrderKey, Report
from cipherward_storage import metrics
from cipherward_storage.anchors import news_of
from cipherward_storage.records import AnchoredRecord, BlockEffects, Release, StoredRecord
from cipherward_storage.releases import (
    ENDING,
    RELEASE_KEY,
    OrderNotCarriedOut,
    custodian_of,
    grant_of,
    parse_release,
    release,
    report_of,
)
from cipherward_storage.slots import CustodianSlots
from cipherward_storage.store import ChainStore, RecordStore

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Consequences:
    """What follows a block once its effects are on disk.

    cut: ends the running downloads of these grants. saw: takes note of the height and the newest
    proven header's time. reports: wakes whoever sends them.
    """

    cut: Callable[[Iterable[bytes]], None]
    saw: Callable[[int, int], None]
    reports: Callable[[], None]


class BlockHandler:
    """Carries out what verified blocks order this custodian to do."""

    def __init__(
        self,
        member: str,
        records: RecordStore,
        chain: ChainStore,
        slots: CustodianSlots,
        consequences: Consequences,
    ) -> None:
        """Describe the handler.

        Args:
            member: the custodian: orders for others are not for us.
            records: what is stored.
            chain: takes the effects.
            slots: the custodian's key.
            consequences: what follows.
        """
        self._member = member
        self._records = records
        self._chain = chain
        self._slots = slots
        self._then = consequences

    async def handle(self, block: VerifiedBlock) -> None:
        """Apply one block; returns when its effects are durable."""
        news = await asyncio.to_thread(news_of, block, self._member)
        mine = [order for order in block.orders if custodian_of(order) == self._member]
        ended = self._ended(mine)
        releases, reports = await self._carry_out(mine, news.anchored)
        await self._chain.apply(
            BlockEffects(
                block.height,
                block.time_seconds,
                block.checkpoint.to_bytes(),
                tuple(news.anchored.values()),
                tuple(releases),
                ended,
                tuple(reports),
                news.settled,
                news.rebuilt,
            )
        )
        for report in reports:  # counted once applied: a store that is away makes us do it again
            metrics.RELEASES.labels(report.outcome.name.lower()).inc()
        self._then.cut(ended)
        self._then.saw(block.height, block.next_time_ns)
        if reports or news.settled or news.rebuilt:
            self._then.reports()

    def _ended(self, orders: Sequence[Order]) -> tuple[bytes, ...]:
        ended: dict[bytes, None] = {}
        for order in orders:
            if order.instruction in ENDING:
                try:
                    ended[grant_of(order)] = None
                except OrderNotCarriedOut as error:
                    _not_carried_out(order, error)
        return tuple(ended)

    async def _carry_out(
        self, orders: Sequence[Order], anchored: dict[bytes, AnchoredRecord]
    ) -> tuple[list[Release], list[Report]]:
        releases: list[Release] = []
        reports: list[Report] = []
        for order in orders:
            if order.instruction != RELEASE_KEY:
                continue
            try:
                made = await self._release(order, anchored)
                releases.append(made)
            except OrderNotCarriedOut as error:
                made = None
                _not_carried_out(order, error)
            reports.append(report_of(OrderKey(order.height, order.index), made))
        return releases, reports

    async def _release(self, order: Order, anchored: dict[bytes, AnchoredRecord]) -> Release:
        wanted = parse_release(order)
        stored: StoredRecord | None = await self._records.find(wanted.record_id)
        in_block = anchored.get(wanted.record_id)
        return await asyncio.to_thread(release, wanted, stored, in_block, self._slots)


def _not_carried_out(order: Order, error: OrderNotCarriedOut) -> None:
    log.warning("order_failed", height=order.height, index=order.index, why=str(error))
