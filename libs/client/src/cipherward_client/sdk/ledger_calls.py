"""Questions to any member's ledger whose answers prove themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
from grpc import aio

from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.retries import Patience, is_away, is_passing
from cipherward_kit.errors import reason_of

T = TypeVar("T")

WAIT_SECONDS = 10.0  # one wait of a ledger; then it is asked again, or another one
# What a ledger says that is a block or two behind whoever told us of the block: another member's
# service, or the contract service beside it, which commits before the ledger has recorded.
BEHIND = frozenset(("TRANSACTION_UNKNOWN", "BLOCK_UNKNOWN"))
BEHIND_SECONDS = 5.0  # nodes are milliseconds apart; one further behind is not worth waiting for
STILL = "NOT_YET_PROVEN"


def stands_still(error: aio.AioRpcError) -> bool:
    """Say whether the ledger is there and its chain makes no progress, as far as we could wait."""
    return error.code() is grpc.StatusCode.DEADLINE_EXCEEDED or reason_of(error) == STILL


async def from_any_ledger(
    alliance: Alliance,
    call: Callable[[LedgerServiceStub, float], Awaitable[T]],
    seconds: float,
    *,
    behind_seconds: float | None = None,
) -> T:
    """Return what the first ledger that can answers: one's own if it can.

    Args:
        call: gets a ledger and the seconds that it may take; safe to repeat.
        seconds: for all tries together.
        behind_seconds: for ledgers that do not know the block yet; `BEHIND_SECONDS` where it is
            made already, longer where it may still have to be.

    Raises:
        AioRpcError: the last refusal.
    """
    ledgers, patience = alliance.ledgers, Patience(seconds)
    behind = Patience(BEHIND_SECONDS if behind_seconds is None else behind_seconds)
    while True:
        asked, left = ledgers.best(), patience.left_seconds
        try:
            stub = alliance.ledger_of(asked)
            return await call(stub, left if len(ledgers) == 1 else min(left, WAIT_SECONDS))
        except aio.AioRpcError as error:
            if reason_of(error) in BEHIND:
                await behind.pause(error)
                continue
            still = stands_still(error)
            if not (still or is_passing(error)):
                raise
            if still or is_away(error):
                ledgers.away(asked)
            await patience.pause(error)
