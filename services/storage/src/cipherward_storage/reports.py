"""Reports: the chain is told how each release went, until a proven block holds the report.

A report's transaction is on disk before it is sent, so that a crash sends the same one again. The
ledger keeps it from then on; here it stays until a verified block holds it, or until its expiry by
block time, when it is made anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Protocol

import structlog
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward_chain.authorization import Signer
from cipherward_chain.transactions import build_transaction, parse_transaction
from cipherward_storage import metrics
from cipherward_storage.progress import ChainProgress
from cipherward_storage.records import PendingReport, Report
from cipherward_storage.store import ChainStore

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# Half of what the chain allows, so that neither clocks apart nor a slow block refuse it.
EXPIRY_SECONDS = 300
# Looked at together; each is about 400 bytes of transaction.
PENDING_MAX = 256
SUBMIT_SECONDS = 10.0
# After a failed call; doubled up to the maximum. A ledger restarts within seconds.
RETRY_SECONDS, RETRY_SECONDS_MAX = 0.25, 10.0
# With nothing new: expiries are met, and a report admitted by a ledger that lost its disk.
LOOK_SECONDS = 30.0
# Verdicts after which the same transaction can never be taken.
TOO_LATE = frozenset(("TRANSACTION_EXPIRED", "EXPIRY_TOO_FAR"))
# Verdicts after which it is the ledger's to bring it into a block, or it is in one.
TAKEN = frozenset(("", "TRANSACTION_REPLAYED"))


class SubmitBatch(Protocol):
    """The ledger's RPC of that name: the generated stub has it."""

    def __call__(
        self, request: ledger_pb.SubmitBatchRequest, /, *, timeout: float
    ) -> Awaitable[ledger_pb.SubmitBatchResponse]: ...


class Reports:
    """Sends the reports of one member; `run` it beside the server."""

    def __init__(
        self,
        chain: ChainStore,
        progress: ChainProgress,
        submit: SubmitBatch,
        signer: Signer,
        chain_id: str,
    ) -> None:
        """Describe the sending.

        Args:
            chain: what is pending.
            progress: block time.
            submit: sends transactions to the ledger.
            signer: the member's.
            chain_id: what the transactions are for.
        """
        self._chain = chain
        self._progress = progress
        self._submit = submit
        self._signer = signer
        self._chain_id = chain_id
        self._news = asyncio.Event()
        self._taken: set[bytes] = set()  # ids that the ledger has taken, of those pending

    def wake(self) -> None:
        """Say that a block may have changed what is pending."""
        self._news.set()

    async def run(self) -> None:
        """Send whatever is pending, for ever."""
        wait = 0.0
        retry = RETRY_SECONDS
        while True:
            try:
                async with asyncio.timeout(wait):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            try:
                waiting = await self.send_pending()
                wait = RETRY_SECONDS_MAX if waiting else LOOK_SECONDS
                retry = RETRY_SECONDS
            except aio.AioRpcError as error:
                log.warning("reports_not_sent", code=error.code().name)
                wait, retry = retry, min(2 * retry, RETRY_SECONDS_MAX)

    async def send_pending(self) -> int:
        """Send every pending report that the ledger has not taken; return how many it refused.

        Raises:
            grpc.aio.AioRpcError: the ledger does not answer.
        """
        pending = await self._chain.pending_reports(PENDING_MAX)
        metrics.REPORTS_PENDING.set(len(pending))
        self._taken &= {one.transaction_id for one in pending}
        unsent = [one for one in pending if one.transaction_id not in self._taken]
        late = [one for one in pending if one.transaction_id in self._taken and self._over(one)]
        if not unsent and not late:
            return 0
        return await self._send([*(self._with_transaction(one) for one in (*unsent, *late))])

    async def _send(self, pending: Sequence[PendingReport]) -> int:
        await self._chain.save_reports(pending)
        request = ledger_pb.SubmitBatchRequest(transactions=[one.transaction for one in pending])
        answer = await self._submit(request, timeout=SUBMIT_SECONDS)
        too_late: list[PendingReport] = []
        refused = 0
        for one, verdict in zip(pending, answer.verdicts, strict=True):
            if verdict.reason in TAKEN:
                self._taken.add(one.transaction_id)
                continue
            refused += 1
            log.warning("report_refused", reason=verdict.reason)
            if verdict.reason in TOO_LATE:
                too_late.append(PendingReport(one.report))
        if too_late:
            await self._chain.save_reports(too_late)
        return refused

    def _over(self, pending: PendingReport) -> bool:
        return pending.expires < self._progress.block_seconds()

    def _with_transaction(self, pending: PendingReport) -> PendingReport:
        """Return the report with a transaction that may still be taken."""
        if pending.transaction and not self._over(pending):
            return pending
        expires = self._progress.block_seconds() + EXPIRY_SECONDS
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


def act_of(report: Report) -> chain_pb.Act:
    """Return the act that reports how an order went."""
    return chain_pb.Act(
        report=chain_pb.Report(
            order=chain_pb.OrderRef(height=report.order.height, index=report.order.index),
            outcome=chain_pb.Outcome.Value(report.outcome.value),
            digest=report.digest,
        )
    )
