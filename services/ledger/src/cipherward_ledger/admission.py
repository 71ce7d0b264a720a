"""Admission: from submitted bytes to a verdict, and to the disk.

A call's transactions are checked in threads, presentations by identity; what may be admitted goes
to the outbox together. The verdict is known when the outbox's commit is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeGuard

from cipherward_chain.authorization import PresentationClaim
from cipherward_kit.errors import ServiceError
from cipherward_ledger.application import ContractApplication
from cipherward_ledger.checks import REJECTED, Checked, InForm, Malformed, Rules, check_all
from cipherward_ledger.clock import Clock
from cipherward_ledger.errors import (
    AuthorizationRejected,
    BatchTooLarge,
    ContractAway,
    IdentityAway,
    TransactionExpired,
    TransactionReplayed,
)
from cipherward_ledger.mempool import Entry
from cipherward_ledger.metrics import ADMISSIONS
from cipherward_ledger.outbox import Outbox, Standing
from cipherward_ledger.presentations import PresentationVerifier
from cipherward_ledger.tip import Tip

BATCH_TRANSACTIONS_MAX = 512
BATCH_BYTES_MAX = 2 * 1024 * 1024
# One thread's piece of a batch, about 3 ms: small enough that callers share the threads fairly.
PIECE = 32


@dataclass(frozen=True, slots=True)
class Verdict:
    """The admission of one transaction.

    transaction_id: empty when the transaction is malformed.
    refusal: None when it was admitted (or had been before).
    """

    transaction_id: bytes
    refusal: ServiceError | None


class Admission:
    """Admits transactions. It holds no state of its own but the threads that check."""

    def __init__(
        self,
        rules: Rules,
        outbox: Outbox,
        presentations: PresentationVerifier,
        application: ContractApplication,
        tip: Tip,
        clock: Clock,
    ) -> None:
        self._rules = rules
        self._outbox = outbox
        self._presentations = presentations
        self._application = application
        self._tip = tip
        self._clock = clock
        # Signatures are checked outside the GIL, so two threads use two cores.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="admission")

    def close(self) -> None:
        """End the threads; what they still check is given up."""
        self._threads.shutdown(wait=True, cancel_futures=True)

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
            checked = await self._check(contents)
            checked = await self._verify_presentations(checked)
            admitted = [one for one in checked if _admissible(one)]
            standings = iter(await self._outbox.submit([one.entry for one in admitted]))
            verdicts = [
                _settled(one, next(standings)) if _admissible(one) else await self._refused(one)
                for one in checked
            ]
        for verdict in verdicts:
            ADMISSIONS.labels(verdict.refusal.reason if verdict.refusal else "").inc()
        return verdicts

    async def _check(self, contents: Sequence[bytes]) -> list[Checked]:
        loop = asyncio.get_running_loop()
        now_ns = max(self._clock.now_ns(), self._tip.position.time_ns)
        pieces = [contents[at : at + PIECE] for at in range(0, len(contents), PIECE)]
        done = await asyncio.gather(
            *(
                loop.run_in_executor(self._threads, check_all, piece, self._rules, now_ns)
                for piece in pieces
            )
        )
        return [checked for piece in done for checked in piece]

    async def _verify_presentations(self, checked: list[Checked]) -> list[Checked]:
        waiting = {
            at: (one, one.claim)
            for at, one in enumerate(checked)
            if isinstance(one, InForm) and one.claim is not None and not self._waits(one.entry)
        }
        if not waiting:
            return checked
        refusals = await self._ask([claim for _, claim in waiting.values()])
        settled = list(checked)
        for (at, (one, _)), refusal in zip(waiting.items(), refusals, strict=True):
            settled[at] = replace(one, refusal=refusal)
        return settled

    def _waits(self, entry: Entry) -> bool:
        """Whether the very same bytes wait for a block: then they were verified before."""
        return self._outbox.mempool.hash_of(entry.id) == entry.hash

    async def _ask(self, claims: Sequence[PresentationClaim]) -> list[ServiceError | None]:
        try:
            valid = await self._presentations.verify(claims)
        except IdentityAway as away:
            return [away] * len(claims)
        return [None if verdict else AuthorizationRejected(REJECTED) for verdict in valid]

    async def _refused(self, one: Checked) -> Verdict:
        """Return the verdict on a refused transaction; if it is in a block, it was admitted."""
        if isinstance(one, Malformed):
            return Verdict(b"", one.refusal)
        if isinstance(one.refusal, TransactionExpired):
            known = await self._outbox.find(one.entry.id)
            if known.place is not None and known.place.hash == one.entry.hash:
                return Verdict(one.entry.id, None)
        return Verdict(one.entry.id, one.refusal)


def _admissible(one: Checked) -> TypeGuard[InForm]:
    return isinstance(one, InForm) and one.refusal is None


def _settled(one: InForm, standing: Standing) -> Verdict:
    if standing is Standing.OTHER:
        return Verdict(
            one.entry.id,
            TransactionReplayed("its authorizer's other authorization of that body was admitted"),
        )
    return Verdict(one.entry.id, None)
