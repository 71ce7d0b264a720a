"""Reports: on disk before they are sent, the same bytes after a crash, anew when too late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.orders import Order
from cipherward_chain.testing import make_genesis
from cipherward_chain.transactions import check_authorization, parse_transaction
from cipherward_kit import tracing
from cipherward_kit.database import Database
from cipherward_kit.testing import eventually
from cipherward_kit.tracing import SpanContext
from cipherward_member.chain_rows import REPORTS_TABLE, SqliteReports, add_reports, settle_reports
from cipherward_member.reports import (
    EXPIRY_SECONDS,
    TRACED_CALLS_MAX,
    OrderKey,
    Outcome,
    Report,
    Reports,
    ReportSigner,
)
from cipherward_member.traced_orders import remember

GENESIS, KEYS = make_genesis()
FIRST = Report(OrderKey(7, 0), Outcome.DONE, b"d" * 32)
SECOND = Report(OrderKey(7, 1), Outcome.FAILED, b"")


class Desk:
    """A member's queue, the ledger that takes from it, and block time."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = SqliteReports(database)
        self.seconds = 1_800_000_000
        self.submitted: list[bytes] = []
        self.on_disk: list[bytes] = []  # when each was submitted
        self.refusal = ""
        self.away = False
        self.calls: list[tuple[SpanContext | None, int]] = []  # in which span, of how many

    def sender(self) -> Reports:
        """A sender as after a start: it knows of nothing but the disk."""
        member = MemberSigner("hospital-a", KEYS.member_seeds["hospital-a"])
        signer = ReportSigner(member, GENESIS.chain_id, lambda: self.seconds)
        return Reports(self.store, signer, self.submit)

    async def add(self, *reports: Report) -> None:
        await self.database.write(lambda c: add_reports(c, reports))

    async def submit(
        self,
        request: ledger_pb.SubmitBatchRequest,
        /,
        *,
        timeout: float,  # noqa: ASYNC109 - grpc's
    ) -> ledger_pb.SubmitBatchResponse:
        self.on_disk += [one.transaction for one in await self.store.pending(10)]
        self.submitted += request.transactions
        self.calls.append((tracing.current(), len(request.transactions)))
        if self.away:
            raise aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, aio.Metadata(), aio.Metadata())
        verdicts = [ledger_pb.SubmitVerdict(reason=self.refusal) for _ in request.transactions]
        return ledger_pb.SubmitBatchResponse(verdicts=verdicts)

    def acts(self) -> list[chain_pb.Report]:
        return [parse_transaction(raw).body.acts[0].report for raw in self.submitted]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with Database(tmp_path / "reports.db", [REPORTS_TABLE]) as database:
        yield Desk(database)


@asynccontextmanager
async def running(sender: Reports) -> AsyncGenerator[None]:
    task = asyncio.create_task(sender.run())
    yield
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_report_is_signed_and_on_disk_before_it_is_sent(desk: Desk) -> None:
    await desk.add(SECOND, FIRST)
    assert await desk.sender().send_pending() == 0
    assert desk.on_disk == desk.submitted
    assert [(act.order.height, act.order.index) for act in desk.acts()] == [(7, 0), (7, 1)]
    assert [act.outcome for act in desk.acts()] == [
        chain_pb.OUTCOME_DONE,
        chain_pb.OUTCOME_FAILED,
    ]
    for raw in desk.submitted:
        transaction = parse_transaction(raw)
        assert check_authorization(transaction, GENESIS.chain_id) is None
        assert transaction.body.expires_at.seconds == desk.seconds + EXPIRY_SECONDS


def traced(height: int, span: int) -> Report:
    """Return a report of an order that is remembered to belong to a span."""
    order = OrderKey(height, 0)
    remember([Order(height, 0, bytes(16), "test", "notify", {})], SpanContext(0xA1, span, True))
    return Report(order, Outcome.DONE, b"")


async def test_a_report_is_sent_in_the_trace_of_its_order(desk: Desk) -> None:
    one, another = 2 * 10**6, 2 * 10**6 + 1  # of no other test
    await desk.add(FIRST, traced(one, 1), SECOND, traced(another, 2))
    assert await desk.sender().send_pending() == 0
    assert sorted(((span and span.span_id) or 0, count) for span, count in desk.calls) == [
        (0, 2),
        (1, 1),
        (2, 1),
    ]
    assert len(desk.submitted) == 4


async def test_many_traced_reports_take_few_calls(desk: Desk) -> None:
    reports = [traced(3 * 10**6 + n, n + 1) for n in range(3 * TRACED_CALLS_MAX)]
    await desk.add(*reports)
    await desk.sender().send_pending()
    assert len(desk.calls) == TRACED_CALLS_MAX + 1
    assert len(set(desk.submitted)) == len(reports)


async def test_what_the_ledger_has_taken_is_not_sent_again(desk: Desk) -> None:
    await desk.add(FIRST)
    sender = desk.sender()
    await sender.send_pending()
    await sender.send_pending()
    assert len(desk.submitted) == 1
    await desk.add(SECOND)
    await sender.send_pending()
    assert [act.order.index for act in desk.acts()] == [0, 1]


async def test_a_restart_sends_the_same_bytes_again(desk: Desk) -> None:
    await desk.add(FIRST)
    await desk.sender().send_pending()
    desk.refusal = "TRANSACTION_REPLAYED"  # which says that it is in good hands
    assert await desk.sender().send_pending() == 0
    assert desk.submitted[0] == desk.submitted[1]


async def test_a_report_is_made_anew_once_its_time_has_passed(desk: Desk) -> None:
    await desk.add(FIRST)
    sender = desk.sender()
    await sender.send_pending()
    desk.seconds += EXPIRY_SECONDS
    await sender.send_pending()
    assert len(desk.submitted) == 1  # it may still be taken
    desk.seconds += 1
    await sender.send_pending()
    assert desk.acts()[0] == desk.acts()[1]
    assert len(set(desk.submitted)) == 2


@pytest.mark.parametrize(
    ("reason", "anew"),
    [("TRANSACTION_EXPIRED", True), ("EXPIRY_TOO_FAR", True), ("LEDGER_FULL", False)],
)
async def test_a_refused_report_is_tried_again(desk: Desk, reason: str, anew: bool) -> None:
    await desk.add(FIRST)
    desk.refusal = reason
    sender = desk.sender()
    assert await sender.send_pending() == 1
    desk.refusal = ""
    desk.seconds += 1
    assert await sender.send_pending() == 0
    assert (desk.submitted[0] != desk.submitted[1]) is anew


async def test_a_settled_report_is_forgotten(desk: Desk) -> None:
    await desk.add(FIRST)
    sender = desk.sender()
    await sender.send_pending()
    name = parse_transaction(desk.submitted[0]).id
    await desk.database.write(lambda c: settle_reports(c, [name], []))
    desk.seconds += 10 * EXPIRY_SECONDS
    await sender.send_pending()
    assert len(desk.submitted) == 1


async def test_a_ledger_that_is_away_is_asked_until_it_is_back(desk: Desk) -> None:
    desk.away = True
    await desk.add(FIRST)
    async with running(desk.sender()):
        await eventually(lambda: len(desk.submitted) >= 2, what="the second attempt")
        desk.away = False
        await eventually(lambda: len(desk.submitted) >= 3, what="the last attempt")
    assert len(set(desk.submitted)) == 1


async def test_news_are_sent_at_once(desk: Desk) -> None:
    sender = desk.sender()
    async with running(sender):
        await desk.add(FIRST)
        sender.wake()
        await eventually(lambda: len(desk.submitted) == 1, what="the report")
