"""What a benchmark found, and how it is written down.

A row's value is the median of its runs; its spread says of what. A target is about the value, or
about its ratio to a peer that was measured in the same run, turn by turn.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be reached: at least or at most `bound`, by the value or by its ratio."""

    bound: float
    at_least: bool
    of_ratio: bool = False

    def met(self, value: float, ratio: float | None) -> bool:
        """Return whether a measurement reaches it; a missing ratio does not."""
        judged = ratio if self.of_ratio else value
        if judged is None:
            return False
        return judged >= self.bound if self.at_least else judged <= self.bound

    def text(self, unit: str) -> str:
        """Return it for people: "≥ 1500 tx/s", "≥ 60 % of the peer"."""
        sign = "≥" if self.at_least else "≤"
        if self.of_ratio:
            return f"{sign} {self.bound:.0%} of the peer".replace("%", " %")
        return f"{sign} {self.bound:g} {unit}"


@dataclass(frozen=True, slots=True)
class Spread:
    """How far the runs lie apart; `of` says between what, of how many runs."""

    low: float
    high: float
    of: str

    @classmethod
    def extremes(cls, values: Sequence[float], what: str = "runs") -> Spread:
        """Return the least and the greatest of a few runs."""
        return cls(min(values), max(values), f"min..max of {len(values)} {what}")

    @classmethod
    def deciles(cls, values: Sequence[float], what: str = "calls") -> Spread:
        """Return the first and the last decile of many calls (at least 20)."""
        cuts = statistics.quantiles(values, n=10, method="inclusive")
        return cls(cuts[0], cuts[-1], f"p10..p90 of {len(values)} {what}")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    peer: what was measured beside it, with its figure; "" when there is none. ratio: value to the
    peer's figure, where larger is better, or None.
    """

    name: str
    value: float
    unit: str
    spread: Spread
    target: Target
    peer: str = ""
    ratio: float | None = None

    def document(self) -> dict[str, Any]:
        """Return the row as results.json has it."""
        spread = {
            "low": rounded(self.spread.low),
            "high": rounded(self.spread.high),
            "of": self.spread.of,
        }
        return {
            "name": self.name,
            "value": rounded(self.value),
            "unit": self.unit,
            "spread": spread,
            "target": self.target.text(self.unit),
            "met": self.target.met(self.value, self.ratio),
            "peer": self.peer,
            "ratio": None if self.ratio is None else rounded(self.ratio),
        }


def rounded(value: float) -> float:
    """Return a figure with the four digits that a measurement on a busy machine can have."""
    return float(f"{value:.4g}")


def merged(
    before: Sequence[Mapping[str, Any]], found: Sequence[Row], order: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the rows of an earlier file with those just found in place of theirs, in `order`."""
    rows = {str(row["name"]): dict(row) for row in before}
    rows |= {row.name: row.document() for row in found}
    return [rows[name] for name in order if name in rows]
