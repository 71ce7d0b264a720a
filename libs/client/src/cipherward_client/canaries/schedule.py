"""When the canaries ask: never on the beat of a clock, so that nobody can wait for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

# A round begins up to so much of its period early or late.
JITTER = 0.25
# The questions of a round are spread over so much of the shortest period, on average.
SPREAD = 0.5


class Kind(StrEnum):
    """The two kinds of rounds."""

    READS = "reads"  # without a transaction
    ACTS = "acts"  # each question is a refused transaction on the chain


class Schedule:
    """Says which round is due; both are at the start."""

    def __init__(
        self,
        periods: Mapping[Kind, float],
        clock: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        """Describe it.

        Args:
            periods: seconds between two rounds of a kind.
            clock: seconds that never go back.
            chance: uniform in [0, 1), not to be foretold.
        """
        self._periods = periods
        self._clock = clock
        self._chance = chance
        self._next = dict.fromkeys(periods, clock())

    def take(self) -> Kind | None:
        """Return the round that has been due for longest and set its next; None: none is due."""
        kind = min(self._next, key=lambda one: self._next[one])
        now = self._clock()
        if self._next[kind] > now:
            return None
        off = JITTER * (2 * self._chance() - 1)
        self._next[kind] = now + self._periods[kind] * (1 + off)
        return kind

    def again(self, kind: Kind, seconds: float) -> None:
        """Have a round that asked nothing held again in so many seconds, if not sooner."""
        self._next[kind] = min(self._next[kind], self._clock() + seconds)

    def wait_seconds(self) -> float:
        """Return how long it is until a round is due."""
        return max(0.0, min(self._next.values()) - self._clock())

    def pauses(self, questions: int) -> list[float]:
        """Return the pause (seconds) before each question of a round."""
        longest = 2 * SPREAD * min(self._periods.values()) / max(1, questions)
        return [longest * self._chance() for _ in range(questions)]
