"""The handler of verified blocks: effects and checkpoint of each in one transaction, in order.

A block that came before is skipped by the store, so that a restart between the effect and whatever
follows it (the report, the cut, a share) makes the same bytes again: those that are stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import structlog

from cipherward_chain.group_key_orders import USE_SHARING, SharingOrder
from cipherward_chain.group_keys import RECORD, GroupKeyMalformed
from cipherward_chain.light import VerifiedBlock
from cipherward_chain.orders import Order
from cipherward_member.reports import OrderKey, Report
from cipherward_storage import metrics
from cipherward_storage.anchors import BlockNews, news_of
from cipherward_storage.columns import retired_key
from cipherward_storage.effects import BlockEffects, Erasure, RecordKey, Release, ShareOrder
from cipherward_storage.erasures import GUARDIAN, Statements
from cipherward_storage.parts import Parts
from cipherward_storage.releases import (
    ENDING,
    ERASE_RECORD,
    RELEASE_KEY,
    OrderNotCarriedOut,
    ReleaseOrder,
    grant_of,
    member_of,
    names,
    parse_erasure,
    parse_release,
    release,
    report_of,
    share_order,
)
from cipherward_storage.slots import CustodianSlots
from cipherward_storage.store import ChainFacts, ChainStore, RecordStore

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Consequences:
    """What follows a block once its effects are on disk.

    cut: ends the running downloads of these grants and records. saw: takes note of the height and
    the newest proven header's time. The others wake whoever does the rest.
    """

    cut: Callable[[Iterable[bytes]], None]
    saw: Callable[[int, int], None]
    reports: Callable[[], None]
    shares: Callable[[], None]
    erasures: Callable[[], None]
    ceremonies: Callable[[], None]
    columns: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored: records, and what earlier blocks said and made."""

    records: RecordStore
    chain: ChainStore
    facts: ChainFacts


@dataclass(frozen=True, slots=True)
class Making:
    """With which keys orders are carried out."""

    slots: CustodianSlots
    parts: Parts
    statements: Statements


@dataclass(slots=True)
class _Made:
    """What the orders of one block make, in their order."""

    releases: list[Release] = field(default_factory=list[Release])
    shares: list[ShareOrder] = field(default_factory=list[ShareOrder])
    ended: dict[bytes, None] = field(default_factory=dict[bytes, None])
    erased: dict[bytes, Erasure] = field(default_factory=dict[bytes, Erasure])
    record_keys: list[RecordKey] = field(default_factory=list[RecordKey])
    retired: dict[bytes, None] = field(default_factory=dict[bytes, None])
    reports: list[Report] = field(default_factory=list[Report])


class BlockHandler:
    """Carries out what verified blocks order this member's storage to do."""

    def __init__(
        self, member: str, known: Known, making: Making, consequences: Consequences
    ) -> None:
        """Describe the handler.

        Args:
            member: this one, as custodian and as guardian; other members' orders are theirs.
            known: what is stored; takes the effects.
            making: with which keys.
            consequences: what follows.
        """
        self._member = member
        self._known = known
        self._making = making
        self._then = consequences

    async def handle(self, block: VerifiedBlock) -> None:
        """Apply one block; returns when its effects are durable."""
        news = await asyncio.to_thread(news_of, block, self._member)
        made = await self._carry_out(block, news)
        effects = BlockEffects(
            height=block.height,
            time=block.time_seconds,
            checkpoint=block.checkpoint.to_bytes(),
            anchored=tuple(news.anchored.values()),
            releases=tuple(made.releases),
            shares=tuple(made.shares),
            ended_grants=tuple(made.ended),
            erased=tuple(made.erased.values()),
            record_keys=tuple(made.record_keys),
            retired_keys=tuple(made.retired),
            ceremonies=news.ceremonies,
            reports=tuple(made.reports),
            settled=news.settled,
            rebuilt=news.rebuilt,
        )
        await self._known.chain.apply(effects)
        self._follow(block, effects)

    def _follow(self, block: VerifiedBlock, effects: BlockEffects) -> None:
        """Let everybody know; counted here: a store that is away makes us do the block again."""
        erasures = {erasure.order for erasure in effects.erased}
        for report in effects.reports:
            if report.order not in erasures:
                metrics.RELEASES.labels(report.outcome.name.lower()).inc()
        for erasure in effects.erased:
            if not erasure.ours:
                metrics.ERASURES.labels(GUARDIAN).inc()
        self._then.cut((*effects.ended_grants, *(one.record_id for one in effects.erased)))
        self._then.saw(block.height, block.next_time_ns)
        if effects.reports or effects.settled or effects.rebuilt:
            self._then.reports()
        if effects.erased:
            self._then.erasures()
        if effects.retired_keys:
            self._then.columns()
        # By every block: the first one after a silence lets what waited go on.
        self._then.shares()
        self._then.ceremonies()

    async def _carry_out(self, block: VerifiedBlock, news: BlockNews) -> _Made:
        made = _Made()
        # Endings of a block hold for the whole of it: what it orders and ends is over.
        for order in block.orders:
            self._end(order, made)
            if data_key := retired_key(order):
                made.retired[data_key] = None
        for order in block.orders:
            if order.instruction == RELEASE_KEY:
                await self._release(order, news, made, block.time_seconds)
        return made

    def _end(self, order: Order, made: _Made) -> None:
        try:
            if order.instruction in ENDING:
                # Of whichever custodian: a guardian drops its shares of the grant as well.
                made.ended[grant_of(order)] = None
            elif order.instruction == ERASE_RECORD:
                self._erase(order, made)
            elif order.instruction == USE_SHARING:
                used = SharingOrder.of(order)
                if used.purpose == RECORD:
                    key = used.key_epoch, used.sharing, used.threshold, used.public_key
                    made.record_keys.append(RecordKey(*key))
        except (OrderNotCarriedOut, GroupKeyMalformed) as error:
            _not_carried_out(order, error)

    def _erase(self, order: Order, made: _Made) -> None:
        """Refuse the record's id; also who was no guardian may become one later."""
        erasure = parse_erasure(order, self._member)
        made.erased.setdefault(erasure.record_id, erasure)
        if not erasure.ours and names(order, "members", self._member):
            made.reports.append(self._making.statements.report(erasure))

    async def _release(self, order: Order, news: BlockNews, made: _Made, now: int) -> None:
        as_custodian = member_of(order, "custodian") == self._member
        as_guardian = names(order, "guardians", self._member)
        if as_guardian:
            try:
                await self._share(parse_release(order), news, made, now)
            except OrderNotCarriedOut as error:
                metrics.SHARES.labels("refused").inc()
                _not_carried_out(order, error)
        if as_custodian:
            released: Release | None = None
            try:
                released = await self._released(parse_release(order), news, made)
            except OrderNotCarriedOut as error:
                _not_carried_out(order, error)
            made.reports.append(report_of(OrderKey(order.height, order.index), released))

    async def _share(self, wanted: ReleaseOrder, news: BlockNews, made: _Made, now: int) -> None:
        """Take an order for a share: what is made is made once the block is on disk."""
        if wanted.grant in made.ended:  # ordered and ended in one block
            return
        facts, record_id = self._known.facts, wanted.record_id
        if await self._erased(record_id, made):
            raise OrderNotCarriedOut("the record is erased")
        anchored = await facts.anchored(record_id) or news.anchored.get(record_id)
        if anchored is None and await facts.began() <= 1:  # every block was seen here
            raise OrderNotCarriedOut("no block anchors the record")
        made.shares.append(share_order(wanted, anchored, now))

    async def _released(self, wanted: ReleaseOrder, news: BlockNews, made: _Made) -> Release:
        record_id = wanted.record_id
        erased = await self._erased(record_id, made)
        stored = None if erased else await self._known.records.find(record_id)
        in_block = news.anchored.get(record_id)
        slots, parts = self._making.slots, self._making.parts
        released = await asyncio.to_thread(release, wanted, stored, in_block, slots, parts)
        over = replace(released, sealed=b"", revoked=True)
        made.releases.append(over if wanted.grant in made.ended else released)
        return released

    async def _erased(self, record_id: bytes, made: _Made) -> bool:
        return record_id in made.erased or await self._known.facts.erased(record_id)


def _not_carried_out(order: Order, error: Exception) -> None:
    log.warning("order_failed", height=order.height, index=order.index, why=str(error))
