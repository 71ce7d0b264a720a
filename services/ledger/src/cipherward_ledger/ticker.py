"""Ticks: when a timer of a contract falls due on an idle chain, a transaction that lets a block be
made in which it fires. A tick grants nothing, so it needs no thought who sends it."""

from __future__ import annotations

import structlog

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.authorization import Signer
from cipherward_chain.transactions import build_transaction
from cipherward_kit.errors import ServiceError
from cipherward_ledger.admission import Admission
from cipherward_ledger.clock import NANOSECONDS, Clock, first_of
from cipherward_ledger.tip import Position, Tip

# Each validator's ledger waits its rank times this, so that one tick, not n, is sent.
RANK_SECONDS = 0.2
# A tick that is in no block by then was lost with its ledger, and the next heartbeat's is sent.
TICK_EXPIRES_SECONDS = 60
# When a tick could not be admitted, or its block left timers due (contract fires a bounded number
# a block): how long until the next.
AGAIN_SECONDS = 1.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def rank(index: int, height: int, validators: int) -> int:
    """Return how many other validators tick before this one; solo has one validator: always 0."""
    return (index - height) % validators


class Ticker:
    """Watches the chain's next timer and ticks when it is due. One per ledger."""

    def __init__(
        self, admission: Admission, tip: Tip, clock: Clock, signer: Signer, chain_id: str
    ) -> None:
        self._admission = admission
        self._tip = tip
        self._clock = clock
        self._signer = signer
        self._chain_id = chain_id
        # Solo's one validator. With consensus among ledgers these are its place and their number.
        self._index, self._validators = 0, 1

    async def run(self) -> None:
        """Tick whenever a timer falls due, for ever."""
        while True:
            position = self._tip.position
            due_ns = position.next_timer_ns
            if due_ns is None:
                await self._tip.moved_from(position)
                continue
            wait = RANK_SECONDS * rank(self._index, position.height, self._validators)
            await first_of(
                self._clock.sleep_until(due_ns + round(wait * NANOSECONDS)),
                self._timer_changes(position),
            )
            if self._tip.position.next_timer_ns == due_ns and self._clock.now_ns() >= due_ns:
                await self._tick()
                await first_of(self._clock.sleep(AGAIN_SECONDS), self._timer_changes(position))

    async def _timer_changes(self, position: Position) -> None:
        """Return when the next timer is another than that of `position`."""
        due_ns = position.next_timer_ns
        while self._tip.position.next_timer_ns == due_ns:
            await self._tip.moved_from(self._tip.position)

    async def _tick(self) -> None:
        now = self._clock.now_ns() // NANOSECONDS
        content = build_transaction(
            [pb.Act(tick=pb.Tick())],
            chain_id=self._chain_id,
            expires_at=now + TICK_EXPIRES_SECONDS,
            signer=self._signer,
        )
        try:
            (verdict,) = await self._admission.admit([content])
            refusal = verdict.refusal
        except ServiceError as error:  # contract is away, or so much waits that a block comes
            refusal = error
        if refusal is not None:
            log.warning("tick_refused", reason=refusal.reason)
