"""Following the chain: where to go on, what time it says, how far it is, and whether it speaks.

Block time decides; the local clock may only refuse: it can make the chain look silent too early,
and set back it lengthens nothing. Used on the event loop only.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import TypeAlias

from cipherward_chain.checkpoint import Checkpoint, CheckpointForeign, CheckpointMalformed
from cipherward_chain.genesis import Genesis
from cipherward_chain.light import LightClient
from cipherward_chain.wire import NANOS
from cipherward_kit.readiness import Readiness
from cipherward_member.errors import ChainStale, CheckpointUnusable

NanosecondClock: TypeAlias = Callable[[], int]

# A silent chain is noticed this much late in the health of the process; rights look at every use.
LOOK_SECONDS = 1.0


def light_client(genesis: Genesis, checkpoint: bytes) -> LightClient:
    """Return a light client where the last applied block left it, or (b"") at the beginning.

    Raises:
        CheckpointUnusable: what is stored is damaged, or not of this genesis.
    """
    try:
        place = Checkpoint.from_bytes(checkpoint) if checkpoint else None
        return LightClient(genesis.trust_root(), place)
    except (CheckpointMalformed, CheckpointForeign) as error:
        raise CheckpointUnusable(
            f"the data folder does not fit the genesis file: {error}; "
            "give the genesis file that it was made with, or another folder"
        ) from None


def nanoseconds(clock: Callable[[], float]) -> NanosecondClock:
    """Return a clock of seconds as one of nanoseconds."""
    return lambda: int(clock() * NANOS)


class ChainProgress:
    """The newest block whose effects are on disk, and the newest proven header: its successor's."""

    def __init__(
        self,
        fresh_seconds: float,
        local: NanosecondClock = time.time_ns,
        monotonic: NanosecondClock = time.monotonic_ns,
    ) -> None:
        """Know nothing yet.

        Args:
            fresh_seconds: the age of the newest proven header beyond which rights end.
            local: the local clock, nanoseconds of Unix time.
            monotonic: nanoseconds that never go back.
        """
        self._fresh_seconds = fresh_seconds
        self._local = local
        self._monotonic = monotonic
        self._height = 0
        self._newest_ns: int | None = None
        self._came_ns: int | None = None  # when the newest header came, by the monotonic clock
        self._halted = ""
        self._moved = asyncio.Event()

    @property
    def height(self) -> int:
        """The newest applied block; 0 before the first."""
        return self._height

    def goes_on_from(self, place: Checkpoint | None) -> None:
        """Take time and height of a stored place. It makes nothing fresh: only news does."""
        if place is not None:
            self._height, self._newest_ns = place.height, place.next_time_ns

    def saw(self, height: int, newest_ns: int) -> None:
        """Take note of an applied block and the time of the header that proves it."""
        self._height, self._newest_ns = height, newest_ns
        self._came_ns = self._monotonic()
        self._moved.set()  # wakes those who wait on this one; later ones wait on the next
        self._moved = asyncio.Event()

    def halt(self, why: str) -> None:
        """End all rights at once, for as long as the process lives; say `why` to the operator."""
        self._halted = why
        self._moved.set()
        self._moved = asyncio.Event()

    @property
    def missing(self) -> str:
        """Why nothing sensitive is done, where nothing is: words for the operator."""
        return self._halted or "no recent proven block"

    def local_seconds(self) -> float:
        """Return what the local clock says, in Unix seconds."""
        return self._local() / NANOS

    def block_seconds(self) -> int:
        """Return the time of the newest proven header in Unix seconds; 0 before the first."""
        return (self._newest_ns or 0) // NANOS

    def latest_seconds(self) -> int:
        """Return the later of the local clock and the newest proven header, in Unix seconds."""
        return max(self._local(), self._newest_ns or 0) // NANOS

    def age_seconds(self) -> float:
        """Return the age of the newest proven header; infinite before one came, or when halted.

        The largest of: its time against the local clock, either way, and how long ago it came. So a
        local clock that is behind, or that was set back, lengthens nothing.
        """
        if self._newest_ns is None or self._came_ns is None or self._halted:
            return math.inf
        apart = abs(self._local() - self._newest_ns)
        return max(apart, self._monotonic() - self._came_ns) / NANOS

    @property
    def fresh(self) -> bool:
        """Whether the newest proven header is recent enough for sensitive acts."""
        return self.age_seconds() <= self._fresh_seconds

    def require_fresh(self) -> None:
        """Return if the newest proven header is recent, else raise `ChainStale`."""
        if not self.fresh:
            raise ChainStale(
                self._halted or f"no proven block for more than {self._fresh_seconds:g} s",
                fresh_seconds=int(self._fresh_seconds),
            )

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


async def watch_freshness(progress: ChainProgress, readiness: Readiness, condition: str) -> None:
    """Keep a condition of readiness equal to whether the chain is fresh, for ever."""
    while True:
        readiness.set(condition, progress.fresh, progress.missing)
        await progress.moves(LOOK_SECONDS)
