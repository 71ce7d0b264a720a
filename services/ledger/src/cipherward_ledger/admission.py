"""Admission: from submitted bytes to a verdict, and to the disk.

A call's transactions are verified, in time as well; what may be admitted goes to the outbox
together. The verdict is known when the outbox's commit is.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cipherward_kit.errors import ServiceError
from cipherward_ledger.application import ContractApplication
from cipherward_ledger.clock import Clock
from cipherward_ledger.errors import (
    BatchTooLarge,
    ContractAway,
    TransactionExpired,
    TransactionReplayed,
)
from cipherward_ledger.mempool import Entry
from cipherward_ledger.metrics import ADMISSIONS
from cipherward_ledger.outbox import Outbox, Standing
from cipherward_ledger.tip import Tip
from cipherward_ledger.traces import TransactionTraces
from cipherward_ledger.verification import Verified, Verifier

BATCH_TRANSACTIONS_MAX = 512
BATCH_BYTES_MAX = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Verdict:
    """The admission of one transaction.

    transaction_id: empty when the transaction is malformed.
    refusal: None when it was admitted (or had been before).
    """

    transaction_id: bytes
    refusal: ServiceError | None


class Admission:
    """Admits transactions. It holds no state of its own."""

    def __init__(
        self,
        verifier: Verifier,
        outbox: Outbox,
        application: ContractApplication,
        tip: Tip,
        clock: Clock,
        traces: TransactionTraces,
    ) -> None:
        self._verifier = verifier
        self._outbox = outbox
        self._application = application
        self._tip = tip
        self._clock = clock
        self._traces = traces

    async def admit(self, contents: Sequence[bytes]) -> list[Verdict]:
        """Return the verdict on each transaction, in order; the admitted ones are on disk.

        Raises:
            BatchTooLarge: more than 512 transactions or 2 MiB.
            ContractAway: the chain stands still.
            OutboxFull: not all of them would fit.
        """
        size = sum(map(len, contents))
        if len(contents) > BATCH_TRANSACTIONS_MAX or size > BATCH_BYTES_MAX:
            raise BatchTooLarge(
                f"a batch has at most {BATCH_TRANSACTIONS_MAX} transactions and 2 MiB",
                transactions_max=BATCH_TRANSACTIONS_MAX,
                bytes_max=BATCH_BYTES_MAX,
            )
        if self._application.away:
            raise ContractAway("the chain stands still: contract does not answer; try again later")
        with self._outbox.mempool.room_for(len(contents), size):
            now_ns = max(self._clock.now_ns(), self._tip.position.time_ns)
            verified = await self._verifier.verify(contents, now_ns)
            admitted = [entry for one in verified if (entry := _admissible(one)) is not None]
            came_ns = time.time_ns()
            standings = await self._outbox.submit(admitted)
            for entry, standing in zip(admitted, standings, strict=True):
                if standing is Standing.NEW:
                    self._traces.admitted(entry.hash, came_ns)
            known = iter(standings)
            verdicts = [
                await self._refused(one)
                if (entry := _admissible(one)) is None
                else _settled(entry, next(known))
                for one in verified
            ]
        found = Counter(one.refusal.reason if one.refusal else "" for one in verdicts)
        for reason, count in found.items():
            ADMISSIONS.labels(reason).inc(count)
        return verdicts

    async def _refused(self, one: Verified) -> Verdict:
        """Return the verdict on a refused transaction; if it is in a block, it was admitted."""
        entry = one.entry
        if entry is None:
            return Verdict(b"", one.refusal)
        if isinstance(one.refusal, TransactionExpired):
            known = await self._outbox.find(entry.id)
            if known.place is not None and known.place.hash == entry.hash:
                return Verdict(entry.id, None)
        return Verdict(entry.id, one.refusal)


def _admissible(one: Verified) -> Entry | None:
    return one.entry if one.refusal is None else None


def _settled(entry: Entry, standing: Standing) -> Verdict:
    if standing is Standing.OTHER:
        return Verdict(
            entry.id,
            TransactionReplayed("its authorizer's other authorization of that body was admitted"),
        )
    return Verdict(entry.id, None)
