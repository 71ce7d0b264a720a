"""The clock of the ledger, as a value, so that whoever makes a ledger owns its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

NANOSECONDS = 1_000_000_000  # in a second


@dataclass(frozen=True, slots=True)
class Clock:
    """Wall time in nanoseconds since 1970, and a way to let it pass."""

    now_ns: Callable[[], int] = time.time_ns
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def sleep_until(self, time_ns: int) -> None:
        """Return when the clock shows `time_ns` or later."""
        while (left := time_ns - self.now_ns()) > 0:
            await self.sleep(left / NANOSECONDS)


async def first_of(*ways: Awaitable[None]) -> None:
    """Return when one of the ways has; the others are cancelled."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # what it raised is ours to raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
