"""Saturation, as CometBFT's own quality assurance finds it: raise the rate until latency breaks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.load.measuring import Measured

# Latency has broken when it is so many times that of a load that nobody notices.
BROKEN = 3.0
# A queue that holds more than so many seconds of the offered rate grows.
BACKLOG_SECONDS = 1.0
# The search ends when the last good and the first bad rate are this close.
CLOSE = 1.1


@dataclass(frozen=True, slots=True)
class Saturation:
    """The highest rate found at which latency holds, and every load that was tried."""

    rate: float
    at: Measured
    low: Measured
    tried: list[Measured]


async def find_saturation(load: Callable[[float], Awaitable[Measured]], low: float) -> Saturation:
    """Double the rate from `low` on until a load is not kept up with, then bisect.

    Args:
        load: puts a load of so many acts a second on the target.
    """
    calm = await load(low)
    tried = [calm]
    good, best, bad = low, calm, 0.0
    while not bad or bad / good > CLOSE:
        rate = (good + bad) / 2 if bad else 2 * good
        found = await load(rate)
        tried.append(found)
        if _holds(found, calm):
            good, best = rate, found
        else:
            bad = rate
    return Saturation(good, best, calm, tried)


def _holds(found: Measured, calm: Measured) -> bool:
    assert found.offered is not None  # only open loops are searched
    return found.p50 <= BROKEN * calm.p50 and found.backlog <= BACKLOG_SECONDS * found.offered
