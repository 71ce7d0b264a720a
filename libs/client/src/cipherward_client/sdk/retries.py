"""How long the SDK is patient: what is worth asking again, and until when."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

import grpc
from grpc import aio

from cipherward_kit.errors import reason_of

T = TypeVar("T")

# First and longest pause between tries: a service that restarts is back within seconds.
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.05, 1.0
# How long a service may be gone: in a cluster its calls under way get 20 seconds and its stores 15
# to close, before another pod starts on the same volume; by itself a restart takes some seconds.
AWAY_SECONDS = 60.0
# What a call is told that nobody answers. CANCELLED comes from a server that ended in the middle:
# when we cancel, asyncio says so and gRPC does not.
GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
# States of a moment: the alliance has just started, or a service has much to do.
PASSING = frozenset(
    (
        "CHAIN_STALE",
        "WORKERS_BUSY",
        "WORKER_LOST",
        "SERVER_BUSY",
        "DEPENDENCY_AWAY",
        "OUTBOX_FULL",
        "CONTRIBUTIONS_FULL",
    )
)


def is_passing(error: aio.AioRpcError) -> bool:
    """Say whether the same call may well succeed in a moment."""
    return error.code() in GONE or reason_of(error) in PASSING


def is_away(error: BaseException) -> bool:
    """Say whether nobody answers, the line broke (no service of ours gave a reason), or it ends."""
    return (
        isinstance(error, aio.AioRpcError)
        and error.code() in (*GONE, grpc.StatusCode.INTERNAL)
        and reason_of(error) in ("", "DRAINING")
    )


class Patience:
    """A deadline, and pauses that grow until it is reached.

    Who does not answer at all is waited for a shorter time, counted from when it was last there;
    and who is there and refuses, from when it was last away.
    """

    def __init__(
        self,
        seconds: float,
        *,
        away_seconds: float = AWAY_SECONDS,
        there_seconds: float = math.inf,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._first_pause = pause_seconds
        self._ends = time.monotonic() + seconds
        self._bounds = {True: away_seconds, False: there_seconds}
        self._away: bool | None = None  # what the refusals since `_since` said; None before any
        self._since = 0.0
        self._pause = pause_seconds

    @classmethod
    def through_restart(cls, seconds: float, *, pause_seconds: float = PAUSE_SECONDS) -> Patience:
        """Return that of a question which a service answers within `seconds` of being there."""
        return cls(AWAY_SECONDS + seconds, there_seconds=seconds, pause_seconds=pause_seconds)

    @property
    def left_seconds(self) -> float:
        """What is left until the deadline; at least a millisecond, which a call needs to fail."""
        return max(0.001, self._ends - time.monotonic())

    def progressed(self) -> None:
        """Begin anew with short pauses: the other side is there, and something was done."""
        self._away = None
        self._pause = self._first_pause

    async def pause(self, error: BaseException) -> None:
        """Wait before the next try, or raise `error` when there is no time for one."""
        now, away = time.monotonic(), is_away(error)
        if away is not self._away:
            self._away, self._since, self._pause = away, now, self._first_pause
        if now + self._pause >= min(self._ends, self._since + self._bounds[away]):
            raise error
        await asyncio.sleep(self._pause)
        self._pause = min(2 * self._pause, PAUSE_SECONDS_MAX)


async def patiently(
    call: Callable[[float], Awaitable[T]],
    seconds: float,
    *,
    not_yet: Collection[str] = (),
    pause_seconds: float = PAUSE_SECONDS,
) -> T:
    """Return what `call` answers, asking again while its refusal is a passing one.

    Args:
        call: gets the seconds left as its timeout; must be safe to repeat.
        seconds: within which a service that is there answers; its restart is waited for besides.
        not_yet: reasons that pass here, as when the service has yet to see a block.
        pause_seconds: the first.

    Raises:
        AioRpcError: the last refusal.
    """
    patience = Patience.through_restart(seconds, pause_seconds=pause_seconds)
    while True:
        try:
            return await call(patience.left_seconds)
        except aio.AioRpcError as error:
            if not is_passing(error) and reason_of(error) not in not_yet:
                raise
            await patience.pause(error)
