"""Whether this machine's clock agrees with block time, as readiness.

A block's time is that of the votes for the block before it (with consensus), or of its making
(solo). So it lies between the moments at which this ledger saw the block before it and the block
itself, however long the chain stood still meanwhile; what is outside is a clock's error: this
one's, or that of those who voted. Nobody corrects it here: block time decides, and a wrong clock
only refuses too much.
"""

from __future__ import annotations

from cipherward_kit.readiness import Readiness
from cipherward_ledger.clock import NANOSECONDS, Clock
from cipherward_ledger.tip import Tip

CLOCK_CONDITION = "clock"

# A vote travels between hospitals, and a busy process sees it late: not an error of the clock.
SKEW_SECONDS_MIN = 2.0


def skew_bound(fresh_seconds: float) -> float:
    """Return how many seconds the clock may differ from block time.

    A service does nothing sensitive when its newest block is older, by its clock, than
    `fresh_seconds`, which is three heartbeats. Blocks come a heartbeat apart, and one more may be
    lost on the way: the third is what a clock may take.
    """
    return max(SKEW_SECONDS_MIN, fresh_seconds / 3)


def skew_ns(time_ns: int, earlier_ns: int, later_ns: int) -> int:
    """Return how far block time is outside of the time in which the block was made, by this clock.

    Args:
        time_ns: the block's time.
        earlier_ns: what this clock showed when the block before it was seen.
        later_ns: what it showed when the block itself was seen.

    Returns:
        Above 0: this clock is ahead of block time; below 0: it is behind.
    """
    if time_ns < earlier_ns:
        return earlier_ns - time_ns
    return min(0, later_ns - time_ns)


class SkewWatch:
    """Compares each new block's time with the clock. One per ledger."""

    def __init__(self, tip: Tip, clock: Clock, readiness: Readiness, fresh_seconds: float) -> None:
        """Describe it; readiness gets the condition `CLOCK_CONDITION`.

        Args:
            tip: where the chain stands.
            clock: this machine's.
            readiness: of the ledger.
            fresh_seconds: how old the newest block may be for a sensitive act.
        """
        self._tip = tip
        self._clock = clock
        self._readiness = readiness
        self._bound_ns = round(skew_bound(fresh_seconds) * NANOSECONDS)
        readiness.add(CLOCK_CONDITION)
        self._wrong_since_ns: int | None = None

    async def run(self) -> None:
        """Watch for ever."""
        position = self._tip.position
        # Before the first new block one thing is known: no block was made in the future.
        skew = min(0, self._clock.now_ns() - position.time_ns)
        self._say(skew, wrong=-skew > self._bound_ns)
        seen_ns: int | None = None  # when the block before was seen; None: not when it was made
        while True:
            await self._tip.moved_from(position)
            before, position = position, self._tip.position
            if position.height == before.height:
                continue  # the same block, executed
            now_ns = self._clock.now_ns()
            new = position.height == before.height + 1 and not self._tip.catching_up
            if new and seen_ns is not None:
                self._compare(skew_ns(position.time_ns, seen_ns, now_ns), now_ns)
            seen_ns = None if self._tip.catching_up else now_ns

    def _compare(self, skew: int, now_ns: int) -> None:
        """A clock is wrong when blocks say so for as long as the bound.

        A node that had lost its peers takes what it missed in a burst of blocks that were not made
        just now; so does a machine that stood still.
        """
        if abs(skew) <= self._bound_ns:
            self._wrong_since_ns = None
            self._say(skew, wrong=False)
        elif self._wrong_since_ns is None:
            self._wrong_since_ns = now_ns
        elif now_ns - self._wrong_since_ns >= self._bound_ns:
            self._say(skew, wrong=True)

    def _say(self, skew: int, *, wrong: bool) -> None:
        seconds, way = abs(skew) / NANOSECONDS, "ahead of" if skew > 0 else "behind"
        why = f"this machine's clock is {seconds:.0f} s {way} block time; let NTP set it"
        self._readiness.set(CLOCK_CONDITION, not wrong, why)
