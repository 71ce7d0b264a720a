"""Acts: signed, submitted, and believed only when their receipt verifies.

The same bytes may be submitted any number of times: they are applied at most once, and the
receipt is of that one time. So whatever happens on the way, a submission is simply repeated until
its receipt is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.authorization import Signer
from cipherward_chain.receipts import VerifiedReceipt, verify_receipt
from cipherward_chain.results import TransactionResult
from cipherward_chain.transactions import build_transaction, parse_transaction
from cipherward_chain.wire import exact_bytes
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import ActRefused, CheckFailed, ClientError, explained, explaining
from cipherward_client.sdk.ledger_calls import WAIT_SECONDS, from_any_ledger, stands_still
from cipherward_client.sdk.retries import PASSING, Patience, is_away, is_passing
from cipherward_kit.errors import reason_of

ACT_SECONDS = 60.0  # from the signature to the verified receipt; a block takes milliseconds
MANY_SECONDS = 120.0
BATCH_TRANSACTIONS, BATCH_BYTES = 256, 1024 * 1024  # half of what the ledger takes at once
RECEIPTS_AT_ONCE = 32  # receipts waited for at once, well below what a server serves

Progress = Callable[[str, int, int], None]  # stage, done, total


class ReceiptOfAnother(CheckFailed):
    """The receipt is of another transaction than was asked for."""

    reason = "RECEIPT_OF_ANOTHER"


@dataclass(frozen=True, slots=True)
class ProvenAct:
    """A transaction in a proven block; `receipt` (bytes) was verified against the trust root."""

    receipt: bytes
    transaction_id: bytes
    height: int
    time_seconds: int
    result: TransactionResult

    @classmethod
    def of(cls, receipt: bytes, verified: VerifiedReceipt) -> ProvenAct:
        """Return what a verified receipt proves."""
        return cls(
            receipt,
            verified.transaction.id,
            verified.height,
            verified.time_seconds,
            verified.result,
        )

    def order(self, place: int = 0) -> tuple[int, int]:
        """Return (height, index) of the act's order number `place`.

        Raises:
            IndexError: it has fewer.
        """
        if not 0 <= place < self.result.order_count:
            raise IndexError(f"the act has {self.result.order_count} orders")
        return self.height, self.result.first_order + place

    def require_applied(self) -> ProvenAct:
        """Return it, or raise `ActRefused` if the chain refused it."""
        if not self.result.applied:
            result = self.result
            raise ActRefused(result.reason, result.message, result.policies, self.receipt)
        return self


class Submitter:
    """Submits transactions of anybody to a ledger of the alliance, and waits for their receipts."""

    def __init__(self, alliance: Alliance) -> None:
        self._alliance = alliance

    def build(self, acts: Sequence[chain_pb.Act], signer: Signer) -> bytes:
        """Return a signed transaction. With a presentation it takes 4 ms: use a thread.

        It expires after half of what the genesis allows, so that clocks may be apart.

        Raises:
            ClientError: it has no valid form.
        """
        ahead = self._alliance.genesis.parameters.expiry_seconds_max // 2
        with explaining():
            return build_transaction(
                acts,
                chain_id=self._alliance.chain_id,
                expires_at=int(self._alliance.now()) + ahead,
                signer=signer,
            )

    async def submit(
        self, acts: Sequence[chain_pb.Act], signer: Signer, *, timeout_seconds: float = ACT_SECONDS
    ) -> ProvenAct:
        """Carry out acts, all or none, and return their verified receipt.

        Raises:
            ActRefused: the chain refused them.
            ClientError: they were not admitted, or there was no receipt in time.
        """
        transaction = await asyncio.to_thread(self.build, acts, signer)
        act = await self.submit_built(transaction, timeout_seconds=timeout_seconds)
        return act.require_applied()

    async def submit_built(
        self, transaction: bytes, *, timeout_seconds: float = ACT_SECONDS
    ) -> ProvenAct:
        """Submit a built transaction and return its verified receipt, whatever its result.

        Raises:
            ClientError: it was not admitted, or there was no receipt in time.
        """
        with explaining():
            return await self._carry(transaction, Patience(timeout_seconds), admitted=False)

    async def submit_many(
        self,
        transactions: Sequence[bytes],
        *,
        progress: Progress | None = None,
        timeout_seconds: float = MANY_SECONDS,
    ) -> list[ProvenAct | ClientError]:
        """Submit hundreds of transactions in batches; each has its outcome, in their order.

        A refused result is a `ProvenAct` too: ask it to `require_applied`.

        Args:
            transactions: admitted in this order.
            progress: told "submitted" and "proven" as they go on.
            timeout_seconds: for all of them.
        """
        patience = Patience(timeout_seconds)
        outcomes: list[ProvenAct | ClientError | None] = [None] * len(transactions)
        places = asyncio.Semaphore(RECEIPTS_AT_ONCE)
        proven = 0

        async def follow(place: int, *, admitted: bool) -> None:
            nonlocal proven
            async with places:
                try:
                    found = await self._carry(transactions[place], patience, admitted=admitted)
                    outcomes[place] = found
                except Exception as error:
                    outcomes[place] = explained(error)
            proven += 1
            if progress is not None:
                progress("proven", proven, len(transactions))

        async with asyncio.TaskGroup() as group:
            for start, batch in batches(transactions):
                refusals = await self._admit(batch, patience)
                for place, refusal in enumerate(refusals, start):
                    if refusal is None or refusal.reason in PASSING:
                        group.create_task(follow(place, admitted=refusal is None))
                    else:
                        outcomes[place] = refusal
                if progress is not None:
                    progress("submitted", start + len(batch), len(transactions))
        return [outcome for outcome in outcomes if outcome is not None]

    async def receipt(
        self, transaction_id: bytes, *, timeout_seconds: float = ACT_SECONDS
    ) -> ProvenAct:
        """Return the verified receipt of a transaction that somebody submitted.

        Raises:
            ClientError: there is none in time, or it does not verify.
        """
        request = pb.GetReceiptRequest(transaction_id=transaction_id, wait=True)
        with explaining():
            response = await from_any_ledger(
                self._alliance,
                lambda ledger, left: ledger.GetReceipt(request, timeout=left),
                timeout_seconds,
            )
            return self._verified(exact_bytes(response.receipt), transaction_id)

    async def _admit(
        self, batch: Sequence[bytes], patience: Patience
    ) -> Sequence[ClientError | None]:
        request = pb.SubmitBatchRequest(transactions=batch)
        try:
            response = await from_any_ledger(
                self._alliance,
                lambda ledger, left: ledger.SubmitBatch(request, timeout=left),
                patience.left_seconds,
            )
        except aio.AioRpcError as error:
            return [explained(error)] * len(batch)
        return [
            ClientError(verdict.reason, verdict.message) if verdict.reason else None
            for verdict in response.verdicts
        ]

    async def _carry(self, transaction: bytes, patience: Patience, *, admitted: bool) -> ProvenAct:
        """Submit, unless it is admitted, and wait; begin again when the ledger does not know it.

        A ledger that does not answer, or whose chain stands still, is left for another's: the same
        bytes have the same id there.
        """
        ledgers, transaction_id = self._alliance.ledgers, parse_transaction(transaction).id
        asked = ledgers.best()
        while True:
            try:
                if not admitted:
                    request = pb.SubmitRequest(transaction=transaction)
                    seconds = patience.left_seconds
                    if len(ledgers) > 1:  # else there is nobody to turn to
                        seconds = min(seconds, WAIT_SECONDS)
                    await self._alliance.ledger_of(asked).Submit(request, timeout=seconds)
                    admitted = True
                return await self._wait(asked, transaction, transaction_id, patience)
            except aio.AioRpcError as error:
                lost = reason_of(error) == "TRANSACTION_UNKNOWN"
                still = stands_still(error)
                if not (lost or still or is_passing(error)):
                    raise
                if still or is_away(error):
                    ledgers.away(asked)
                before, asked = asked, ledgers.best()
                admitted = admitted and not lost and asked == before
                await patience.pause(error)

    async def _wait(
        self, member: str, transaction: bytes, transaction_id: bytes, patience: Patience
    ) -> ProvenAct:
        request = pb.GetReceiptRequest(transaction_id=transaction_id, wait=True)
        seconds = min(WAIT_SECONDS, patience.left_seconds)
        response = await self._alliance.ledger_of(member).GetReceipt(request, timeout=seconds)
        found = self._verified(exact_bytes(response.receipt), transaction_id)
        if response.receipt.transaction != transaction:
            raise ReceiptOfAnother("the body was authorised by somebody else before")
        return found

    def _verified(self, receipt: bytes, transaction_id: bytes) -> ProvenAct:
        verified = verify_receipt(receipt, self._alliance.trust_root)
        if verified.transaction.id != transaction_id:
            raise ReceiptOfAnother("the receipt is of another transaction")
        return ProvenAct.of(receipt, verified)


def batches(transactions: Sequence[bytes]) -> list[tuple[int, Sequence[bytes]]]:
    """Return (place of the first, batch), each within BATCH_TRANSACTIONS and BATCH_BYTES."""
    found: list[tuple[int, Sequence[bytes]]] = []
    start, size = 0, 0
    for place, transaction in enumerate(transactions):
        full = place - start >= BATCH_TRANSACTIONS or size + len(transaction) > BATCH_BYTES
        if full and place > start:
            found.append((start, transactions[start:place]))
            start, size = place, 0
        size += len(transaction)
    if start < len(transactions):
        found.append((start, transactions[start:]))
    return found
