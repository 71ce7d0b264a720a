"""Ticks: when a timer of a contract falls due on an idle chain, or the height that a ceremony's
window lasts to is reached, a transaction that lets a block be made in which it fires or closes. A
tick grants nothing, so it needs no thought who sends it."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(slots=True)
class Validators:
    """This member's place among the validators, as the engine last learned it.

    index: from 0; None while the member is none of them, and so sends no tick.
    count: how many there are.
    """

    index: int | None = 0
    count: int = 1


@dataclass(frozen=True, slots=True)
class Due:
    """What waits for a block.

    timer_ns: block time of the next timer; None for a window.
    deadline: the height that a window has lasted to; 0 for a timer.
    """

    timer_ns: int | None
    deadline: int


def due_at(position: Position) -> Due | None:
    """Return what the block after a position is wanted for: a window that is over, or a timer."""
    if 0 < position.next_deadline <= position.height:
        return Due(None, position.next_deadline)
    return None if position.next_timer_ns is None else Due(position.next_timer_ns, 0)


def rank(index: int, height: int, validators: int) -> int:
    """Return how many other validators tick before this one; solo has one validator: always 0."""
    return (index - height) % validators


async def send_tick(
    admission: Admission, clock: Clock, signer: Signer, chain_id: str
) -> ServiceError | None:
    """Submit a tick; return why it was not admitted."""
    content = build_transaction(
        [pb.Act(tick=pb.Tick())],
        chain_id=chain_id,
        expires_at=clock.now_ns() // NANOSECONDS + TICK_EXPIRES_SECONDS,
        signer=signer,
    )
    try:
        (verdict,) = await admission.admit([content])
    except ServiceError as error:  # contract is away, or so much waits that a block comes
        return error
    return verdict.refusal


class Ticker:
    """Watches the chain's next timer and window, and ticks when one is due. One per ledger."""

    def __init__(
        self,
        admission: Admission,
        tip: Tip,
        clock: Clock,
        signer: Signer,
        chain_id: str,
        validators: Validators,
    ) -> None:
        self._admission = admission
        self._tip = tip
        self._clock = clock
        self._signer = signer
        self._chain_id = chain_id
        self._validators = validators

    async def run(self) -> None:
        """Tick whenever a timer falls due or a window is over, for ever."""
        noticed: Due | None = None
        begin_ns = 0  # when the first of the validators may tick for what was noticed
        while True:
            position = self._tip.position
            due = due_at(position)
            if due is None:
                await self._tip.moved_from(position)
                continue
            if due != noticed:
                begin_ns = self._clock.now_ns() if due.timer_ns is None else due.timer_ns
                noticed = due
            turn_ns = begin_ns + self._wait_ns(position.height)
            await first_of(self._clock.sleep_until(turn_ns), self._changes(due))
            if due_at(self._tip.position) != due or self._clock.now_ns() < turn_ns:
                continue
            # The block that this tick is in may be older than the clock, by a heartbeat where
            # block time is that of votes, and not fire the timer; then the next one's does.
            if self._validators.index is not None:
                await self._tick()
            begin_ns = self._clock.now_ns() + round(AGAIN_SECONDS * NANOSECONDS)

    def _wait_ns(self, height: int) -> int:
        """Return how long the others, whose turn is before this one's, have to tick."""
        if self._validators.index is None:
            return 0
        turns = rank(self._validators.index, height, self._validators.count)
        return round(turns * RANK_SECONDS * NANOSECONDS)

    async def _changes(self, due: Due) -> None:
        """Return when something else is due, or nothing."""
        while due_at(self._tip.position) == due:
            await self._tip.moved_from(self._tip.position)

    async def _tick(self) -> None:
        refusal = await send_tick(self._admission, self._clock, self._signer, self._chain_id)
        if refusal is not None:
            log.warning("tick_refused", reason=refusal.reason)
