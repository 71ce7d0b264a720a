"""The handler of verified blocks: takes the orders for this member, with the checkpoint, at once.

Carrying an order out may take seconds and waits for peers, so a block only takes it; `tasks` works
through what is taken. An order that does not name this member is never followed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from cipherward_chain.light import VerifiedBlock
from cipherward_chain.orders import Order
from cipherward_compute.blocknews import BlockNews, news_of
from cipherward_compute.inference.running import UseRunner
from cipherward_compute.order_reading import OrderMalformed, instruction_of
from cipherward_compute.store import BlockEffects, ChainStore, Taken
from cipherward_compute.studies import News
from cipherward_compute.tasks import Tasks
from cipherward_member.block_transactions import OwnTransactions
from cipherward_member.following import ChainProgress
from cipherward_member.reports import OrderKey, Outcome, Report, Reports

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Consequences:
    """What is woken once a block's effects are on disk."""

    tasks: Tasks
    reports: Reports
    news: News
    uses: UseRunner


class BlockHandler:
    """Takes what verified blocks order this member to do."""

    def __init__(
        self,
        member: str,
        store: ChainStore,
        progress: ChainProgress,
        consequences: Consequences,
    ) -> None:
        self._member = member
        self._store = store
        self._progress = progress
        self._then = consequences

    async def handle(self, block: VerifiedBlock) -> None:
        """Apply one block; returns when its effects are durable."""
        news = BlockNews(OwnTransactions(self._member))
        if block.transactions:
            news = await asyncio.to_thread(news_of, block, self._member)
        taken, reports = self._take(block)
        changed = await self._store.apply(
            BlockEffects(
                block.height,
                block.checkpoint.to_bytes(),
                block.time_seconds,
                tuple(news.proposed),
                tuple(taken),
                tuple(reports),
                tuple(news.own.settled),
                tuple(news.own.rebuilt),
                tuple(news.answers),
                tuple(news.registered),
                tuple(news.refused),
            )
        )
        self._progress.saw(block.height, block.next_time_ns)
        for study in {t.instruction.shared.study for t in taken} | {*changed}:
            self._then.news.tell(study)
        for proposed in news.proposed:
            self._then.news.tell(proposed.study)
        if taken:
            self._then.tasks.wake()
            self._then.uses.wake()
        if reports or news.own.rebuilt:
            self._then.reports.wake()

    def _take(self, block: VerifiedBlock) -> tuple[list[Taken], list[Report]]:
        taken: list[Taken] = []
        reports: list[Report] = []
        for order in block.orders:
            if not concerns(order, self._member):
                continue
            try:
                instruction = instruction_of(order)
            except OrderMalformed as error:
                log.warning(
                    "order_malformed", height=order.height, index=order.index, why=str(error)
                )
                key = OrderKey(order.height, order.index)
                reports.append(Report(key, Outcome.FAILED, b""))
                continue
            if instruction is not None:
                taken.append(Taken(instruction, order.to_bytes()))
        return taken, reports


def concerns(order: Order, member: str) -> bool:
    """Return whether an order names a member: who takes its step, or held the key before it."""
    found: list[object] = []
    for name in ("members", "holders"):
        members = order.arguments.get(name, ())
        found += members if isinstance(members, (list, tuple)) else ()
    return member in found
