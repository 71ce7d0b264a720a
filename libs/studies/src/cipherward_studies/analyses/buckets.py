"""Time in buckets, and which buckets may be published.

A patient who leaves at time t leaves in the first bucket whose end is not before t; one who stays
beyond the last end leaves there, without an event (that is censored). So an answer equals the
pooled analysis of these bucketed times, and the pooled analysis itself if every time is an end.

A bucket with too few patients must not be published, and must not be left out either: that would
bias the curve. So every run of buckets of a binary tree is counted, as a cell of its own, and
buckets that fail are joined with others:

| of a run that may be published | becomes |
|---|---|
| both halves may | what they become, each by itself |
| one half may | what that half becomes; its bucket beside the other half takes that in |
| no half may | one bucket |

Whatever is published then holds at least one whole cell that reached the minimum, and the patients
of joined buckets leave at their common end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cipherward_studies.analysis import Cell
from cipherward_studies.errors import AnalysisRefused
from cipherward_studies.variables import Floats, Integers, Mask, Variable

Places = NDArray[np.intp]  # of buckets, from 0

BUCKETS_MAX = 512  # days of a year and a half, weeks of ten years; 1,023 cells a kind and group


@dataclass(frozen=True, slots=True)
class _Run:
    """Buckets low..high-1, and where its halves stand in the list of all runs."""

    low: int
    high: int
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class Buckets:
    """Declared ends of time buckets.

    Attributes:
        ends: 1 to BUCKETS_MAX finite times above 0, ascending.

    Raises:
        AnalysisRefused: not so.
    """

    ends: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.ends) <= BUCKETS_MAX:
            raise AnalysisRefused(f"time has 1 to {BUCKETS_MAX} buckets", have=len(self.ends))
        ends = np.array(self.ends)
        if not np.isfinite(ends).all() or ends[0] <= 0 or (np.diff(ends) <= 0).any():
            raise AnalysisRefused("the ends of time buckets are not positive and ascending")

    @property
    def runs(self) -> int:
        """How many runs are counted: 2 * buckets - 1."""
        return 2 * len(self.ends) - 1

    def cells(
        self, what: str, by: tuple[str, ...], *, partition: str = "", dominance: bool = False
    ) -> tuple[Cell, ...]:
        """Return a cell for each run; only the first, the whole, adds up with cells elsewhere.

        Args:
            what: who is counted, and `by` which variables.
        """
        starts = (0.0, *self.ends)
        return tuple(
            Cell(
                f"{what}, {starts[run.low]:g} to {starts[run.high]:g}",
                partition if place == 0 else "",
                dominance,
                by,
            )
            for place, run in enumerate(_runs(len(self.ends)))
        )

    def cuts(self, time: Variable) -> tuple[float, ...]:
        """Return the ends that lie within a time's range."""
        return tuple(end for end in self.ends if time.low < end < time.high)

    def leave(self, times: Floats, happened: Mask) -> tuple[Places, Mask]:
        """Return each patient's bucket, and whether it leaves it with an event."""
        places = np.searchsorted(self.ends, times, side="left")
        last = len(self.ends) - 1
        return np.minimum(places, last), happened & (places <= last)

    def count(self, places: Places, numbers: Integers | None = None) -> Integers:
        """Return how many patients leave in each run, or the sum of their numbers."""
        each = np.bincount(places, numbers, len(self.ends)).astype(np.int64)  # exact below 2^53
        before = np.concatenate([[0], np.cumsum(each)])
        runs = list(_runs(len(self.ends)))
        return before[[run.high for run in runs]] - before[[run.low for run in runs]]

    def published(self, allowed: Mask) -> Places | None:
        """Return for each bucket the one at whose end its patients leave.

        Args:
            allowed: by run.

        Returns:
            Ascending places of buckets, or None: not even the whole may be published.
        """
        if not allowed[0]:
            return None
        lasts = np.array(_lasts(list(_runs(len(self.ends))), allowed, 0))
        return lasts[np.searchsorted(lasts, np.arange(len(self.ends)))]


def _runs(buckets: int) -> Iterator[_Run]:
    """Return the runs of a binary tree, each before its halves."""
    waiting = [(0, buckets)]
    place = 0
    while waiting:
        low, high = waiting.pop()
        middle = (low + high) // 2
        yield _Run(low, high, place + 1, place + 2 * (middle - low))
        if high - low > 1:
            waiting += [(middle, high), (low, middle)]
        place += 1


def _lasts(runs: list[_Run], allowed: Mask, place: int) -> list[int]:
    """Return the last of the buckets that are joined, over an allowed run; as deep as the tree."""
    run = runs[place]
    left = run.high - run.low > 1 and bool(allowed[run.left])
    right = run.high - run.low > 1 and bool(allowed[run.right])
    lasts = _lasts(runs, allowed, run.left) if left else []
    if right:
        return lasts + _lasts(runs, allowed, run.right)
    return [*lasts[:-1], run.high - 1]
