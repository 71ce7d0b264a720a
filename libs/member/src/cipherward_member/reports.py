"""Reports: the chain is told how each order went, until a proven block holds the report.

A report is on disk with the effect that it reports, and its signed transaction before that is sent,
so that a crash sends the same one again. The ledger keeps it from then on; here it stays until a
verified block holds it, or until its expiry by block time, when it is made anew. It belongs to the
trace of its order, if that has one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

import structlog
from grpc import aio
from prometheus_client import Gauge

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward_chain.authorization import Signer
from cipherward_chain.transactions import build_transaction, parse_transaction
from cipherward_kit import tracing
from cipherward_kit.tracing import SpanContext
from cipherward_member.background import news_or_time
from cipherward_member.traced_orders import span_of

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# Half of what the chain allows, so that neither clocks apart nor a slow block refuse it.
EXPIRY_SECONDS = 300
# Looked at together; each is about 400 bytes of transaction.
PENDING_MAX = 256
SUBMIT_SECONDS = 10.0
# One call has one trace; the reports of further traced orders go along with the untraced ones.
TRACED_CALLS_MAX = 16
# After a failed call; doubled up to the maximum. A ledger restarts within seconds.
RETRY_SECONDS, RETRY_SECONDS_MAX = 0.1, 10.0
# With nothing new: expiries are met, and a report admitted by a ledger that lost its disk.
LOOK_SECONDS = 30.0

REPORTS_PENDING = Gauge(
    "cipherward_chain_reports_pending", "Reports on orders that no block holds yet."
)
# Verdicts after which the same transaction can never be taken.
TOO_LATE = frozenset(("TRANSACTION_EXPIRED", "EXPIRY_TOO_FAR"))
# Verdicts after which it is the ledger's to bring it into a block, or it is in one.
TAKEN = frozenset(("", "TRANSACTION_REPLAYED"))


class Outcome(Enum):
    """How an order went; the value is the name in the chain's enum."""

    DONE = "OUTCOME_DONE"
    FAILED = "OUTCOME_FAILED"


@dataclass(frozen=True, slots=True, order=True)
class OrderKey:
    """An order of this chain: the block that ordered it and its place there."""

    height: int
    index: int


@dataclass(frozen=True, slots=True)
class Report:
    """What the chain is told about an order; `digest` is empty when nothing was made."""

    order: OrderKey
    outcome: Outcome
    digest: bytes


@dataclass(frozen=True, slots=True)
class PendingReport:
    """A report that no proven block holds yet.

    transaction: the signed transaction that is being submitted, empty before there is one.
    transaction_id: its id, or empty. expires: its expiry in unix seconds of block time, or 0.
    """

    report: Report
    transaction: bytes = b""
    transaction_id: bytes = b""
    expires: int = 0


class ReportStore(Protocol):
    """What is pending. Adapter: `chain_rows.SqliteReports`; in production the member's database."""

    async def pending(self, limit: int) -> Sequence[PendingReport]:
        """Return up to `limit` reports that no block holds yet, oldest order first."""
        ...

    async def save(self, reports: Sequence[PendingReport]) -> None:
        """Keep the transactions of pending reports; those that a block took meanwhile stay gone."""
        ...


class SubmitBatch(Protocol):
    """The ledger's RPC of that name: the generated stub has it."""

    def __call__(
        self, request: ledger_pb.SubmitBatchRequest, /, *, timeout: float
    ) -> Awaitable[ledger_pb.SubmitBatchResponse]: ...


class ReportSigner:
    """Makes the transactions of a member's reports."""

    def __init__(self, signer: Signer, chain_id: str, block_seconds: Callable[[], int]) -> None:
        """Describe the signing; `block_seconds` is the time of the newest proven header."""
        self._signer = signer
        self._chain_id = chain_id
        self._block_seconds = block_seconds

    def takeable(self, pending: PendingReport) -> bool:
        """Tell whether there is a transaction that may still be taken."""
        return bool(pending.transaction) and pending.expires >= self._block_seconds()

    def sign(self, pending: PendingReport) -> PendingReport:
        """Return the report with a new transaction, which expires some minutes from now."""
        expires = self._block_seconds() + EXPIRY_SECONDS
        transaction = build_transaction(
            [act_of(pending.report)],
            chain_id=self._chain_id,
            expires_at=expires,
            signer=self._signer,
        )
        return replace(
            pending,
            transaction=transaction,
            transaction_id=parse_transaction(transaction).id,
            expires=expires,
        )


class Reports:
    """Sends the reports of one member; `run` it beside the server."""

    def __init__(self, store: ReportStore, signer: ReportSigner, submit: SubmitBatch) -> None:
        """Describe the sending.

        Args:
            store: what is pending.
            signer: the member's.
            submit: sends transactions to the ledger.
        """
        self._store = store
        self._signer = signer
        self._submit = submit
        self._news = asyncio.Event()
        self._taken: set[bytes] = set()  # ids that the ledger has taken, of those pending

    def wake(self) -> None:
        """Say that what is pending may have changed."""
        self._news.set()

    async def run(self) -> None:
        """Send whatever is pending, for ever."""
        wait = 0.0
        retry = RETRY_SECONDS
        while True:
            await news_or_time(self._news, wait)
            try:
                refused = await self.send_pending()
                wait = RETRY_SECONDS_MAX if refused else LOOK_SECONDS
                retry = RETRY_SECONDS
            except aio.AioRpcError as error:
                log.warning("reports_not_sent", code=error.code().name)
                wait, retry = retry, min(2 * retry, RETRY_SECONDS_MAX)

    async def send_pending(self) -> int:
        """Send every pending report that the ledger has not taken; return how many it refused.

        Raises:
            grpc.aio.AioRpcError: the ledger does not answer.
        """
        pending = await self._store.pending(PENDING_MAX)
        REPORTS_PENDING.set(len(pending))
        self._taken &= {one.transaction_id for one in pending}
        again = [
            one
            for one in pending
            if self._signer.takeable(one) and one.transaction_id not in self._taken
        ]
        anew = [self._signer.sign(one) for one in pending if not self._signer.takeable(one)]
        if anew:
            await self._store.save(anew)
        wanted = sorted([*again, *anew], key=lambda one: one.report.order)
        return await self._send(wanted) if wanted else 0

    async def _send(self, pending: Sequence[PendingReport]) -> int:
        refused = 0
        for span, together in _by_span(pending).items():
            with tracing.within(span):
                refused += await self._send_together(together)
        return refused

    async def _send_together(self, pending: Sequence[PendingReport]) -> int:
        request = ledger_pb.SubmitBatchRequest(transactions=[one.transaction for one in pending])
        answer = await self._submit(request, timeout=SUBMIT_SECONDS)
        refused, too_late = 0, list[PendingReport]()
        for one, verdict in zip(pending, answer.verdicts, strict=True):
            if verdict.reason in TAKEN:
                self._taken.add(one.transaction_id)
                continue
            refused += 1
            log.warning("report_refused", reason=verdict.reason)
            if verdict.reason in TOO_LATE:
                too_late.append(PendingReport(one.report))
        if too_late:
            await self._store.save(too_late)
        return refused


def _by_span(pending: Sequence[PendingReport]) -> Mapping[SpanContext | None, list[PendingReport]]:
    """Return what is sent together: by the span of the order; None: in no trace."""
    found: dict[SpanContext | None, list[PendingReport]] = {}
    for one in pending:
        span = span_of(one.report.order)
        if len(found) >= TRACED_CALLS_MAX and span not in found:
            span = None
        found.setdefault(span, []).append(one)
    return found


def act_of(report: Report) -> chain_pb.Act:
    """Return the act that reports how an order went."""
    return chain_pb.Act(
        report=chain_pb.Report(
            order=chain_pb.OrderRef(height=report.order.height, index=report.order.index),
            outcome=chain_pb.Outcome.Value(report.outcome.value),
            digest=report.digest,
        )
    )
