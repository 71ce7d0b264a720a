"""Reports: the chain is told how each order went, until a proven block holds the report.

A report's transaction is signed and on disk with the effect that it reports. The ledger keeps it
once it has taken it; here it stays until a verified block holds it, or until its expiry by block
time, when it is made anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol

import structlog
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward_chain.authorization import Signer
from cipherward_chain.transactions import build_transaction, parse_transaction
from cipherward_compute import metrics
from cipherward_compute.instructions import OrderKey
from cipherward_compute.progress import BlockTime
from cipherward_compute.store import ChainStore, Outcome, PendingReport

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# Half of what the chain allows, so that neither clocks apart nor a slow block refuse it.
EXPIRY_SECONDS = 300
# Looked at together; each is about 400 bytes of transaction.
PENDING_MAX = 256
SUBMIT_SECONDS = 10.0
# After a failed call; doubled up to the maximum. A ledger restarts within seconds.
RETRY_SECONDS, RETRY_SECONDS_MAX = 0.1, 10.0
# With nothing new: expiries are met, and a report admitted by a ledger that lost its disk.
LOOK_SECONDS = 30.0
# Verdicts after which the same transaction can never be taken.
TOO_LATE = frozenset(("TRANSACTION_EXPIRED", "EXPIRY_TOO_FAR"))
# Verdicts after which it is the ledger's to bring it into a block, or it is in one.
TAKEN = frozenset(("", "TRANSACTION_REPLAYED"))


class SubmitBatch(Protocol):
    """The ledger's RPC of that name: the generated stub has it."""

    def __call__(
        self,
        request: ledger_pb.SubmitBatchRequest,
        /,
        *,
        timeout: float,
    ) -> Awaitable[ledger_pb.SubmitBatchResponse]: ...


class ReportSigner:
    """Makes the transactions of this member's reports."""

    def __init__(self, signer: Signer, chain_id: str, time: BlockTime) -> None:
        self._signer = signer
        self._chain_id = chain_id
        self._time = time

    def report(self, order: OrderKey, outcome: Outcome, digest: bytes) -> PendingReport:
        """Return a report with a transaction that expires some minutes from now."""
        act = chain_pb.Act(
            report=chain_pb.Report(
                order=chain_pb.OrderRef(height=order.height, index=order.index),
                outcome=chain_pb.Outcome.Value(outcome.value),
                digest=digest,
            )
        )
        expires = self._time.seconds() + EXPIRY_SECONDS
        transaction = build_transaction(
            [act], chain_id=self._chain_id, expires_at=expires, signer=self._signer
        )
        name = parse_transaction(transaction).id
        return PendingReport(order, outcome, digest, transaction, name, expires)

    def over(self, report: PendingReport) -> bool:
        """Tell whether a report's transaction can be taken no more."""
        return report.expires < self._time.seconds()


class Reports:
    """Sends the reports of one member; `run` it beside the server."""

    def __init__(self, store: ChainStore, signer: ReportSigner, submit: SubmitBatch) -> None:
        """Describe the sending.

        Args:
            store: what is pending.
            signer: makes transactions anew.
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
            try:
                async with asyncio.timeout(wait):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
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
        pending = await self._store.pending_reports(PENDING_MAX)
        metrics.REPORTS_PENDING.set(len(pending))
        self._taken &= {one.transaction_id for one in pending}
        over = [one for one in pending if self._signer.over(one)]
        anew = [self._signer.report(one.order, one.outcome, one.digest) for one in over]
        if anew:
            await self._store.replace_reports(anew)
        unsent = [one for one in pending if one not in over]
        unsent = [one for one in unsent if one.transaction_id not in self._taken]
        return await self._send([*unsent, *anew])

    async def _send(self, pending: Sequence[PendingReport]) -> int:
        if not pending:
            return 0
        request = ledger_pb.SubmitBatchRequest(transactions=[one.transaction for one in pending])
        answer = await self._submit(request, timeout=SUBMIT_SECONDS)
        refused: list[PendingReport] = []
        for one, verdict in zip(pending, answer.verdicts, strict=True):
            if verdict.reason in TAKEN:
                self._taken.add(one.transaction_id)
            else:
                refused.append(one)
                log.warning("report_refused", reason=verdict.reason)
                if verdict.reason in TOO_LATE:
                    again = self._signer.report(one.order, one.outcome, one.digest)
                    await self._store.replace_reports([again])
        return len(refused)
