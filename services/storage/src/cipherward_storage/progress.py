"""How far the chain is known here, and what time it says. Used on the event loop only."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from cipherward_storage import metrics

NANOSECONDS = 1_000_000_000

LocalClock = Callable[[], int]  # nanoseconds of Unix time


class ChainProgress:
    """The newest block whose effects are on disk, and the newest proven header: its successor's.

    Block time decides; the local clock may only refuse.
    """

    def __init__(
        self, local: LocalClock = time.time_ns, monotonic: LocalClock = time.monotonic_ns
    ) -> None:
        """Know nothing yet.

        Args:
            local: the local clock, nanoseconds of Unix time.
            monotonic: nanoseconds that never go back.
        """
        self._local = local
        self._monotonic = monotonic
        self._height = 0
        self._came_ns = 0  # when the newest header came, by the monotonic clock
        self._newest_ns: int | None = None
        self._moved = asyncio.Event()

    @property
    def height(self) -> int:
        """The newest applied block; 0 before the first."""
        return self._height

    def saw(self, height: int, newest_ns: int) -> None:
        """Take note of an applied block and the time of the header that proves it."""
        self._height, self._newest_ns = height, newest_ns
        self._came_ns = self._monotonic()
        metrics.HEIGHT.set(height)
        metrics.PROVEN_TIME.set(newest_ns / NANOSECONDS)
        self._moved.set()  # wakes those who wait on this one; later ones wait on the next
        self._moved = asyncio.Event()

    def local_seconds(self) -> float:
        """Return what the local clock says, in Unix seconds."""
        return self._local() / NANOSECONDS

    def block_seconds(self) -> int:
        """Return the time of the newest proven header in Unix seconds; 0 before the first."""
        return (self._newest_ns or 0) // NANOSECONDS

    def latest_seconds(self) -> int:
        """Return the later of the local clock and the newest proven header, in Unix seconds."""
        return max(self._local(), self._newest_ns or 0) // NANOSECONDS

    def age_seconds(self) -> float:
        """Return the age of the newest proven header; infinite before the first.

        The largest of: its time against the local clock, either way, and how long ago it came. So a
        local clock that is behind, or that was set back, lengthens nothing.
        """
        if self._newest_ns is None:
            return math.inf
        apart = abs(self._local() - self._newest_ns)
        return max(apart, self._monotonic() - self._came_ns) / NANOSECONDS

    async def moves(self, seconds: float) -> None:
        """Return when the next block is applied, or after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        except TimeoutError:
            return

    async def reach(self, height: int, seconds: float) -> bool:
        """Wait until block `height` is applied, at most `seconds`; return whether it is."""
        try:
            async with asyncio.timeout(seconds):
                while self._height < height:
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True
