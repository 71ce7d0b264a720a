"""Histogram of a variable over its plausible range, and quantiles read from it.

A quantile here is the value of the patient of rank ceil(probability * patients). The answer has the
bin, or run of bins, in which that patient is for certain, and an estimate inside by interpolation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cipherward_studies.analyses.smallest import smallest_cell
from cipherward_studies.analysis import Cell, OneRound, Round
from cipherward_studies.errors import AnalysisRefused, TotalsMalformed
from cipherward_studies.forms import Form, variable_name
from cipherward_studies.number_forms import Integer, Numbers
from cipherward_studies.variables import Columns, Integers, Mask, Variable

BINS_MAX = 1_000  # finer than any figure; each bin is a cell and holds the minimum


@dataclass(frozen=True, slots=True)
class Bin:
    """Patients with a value in low..high (high excluded, but in the last bin); None: left out."""

    low: float
    high: float
    patients: int | None


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile's estimate, and between which edges of bins it is for certain.

    `value` is None where bins were left out and the two edges are not of one bin.
    """

    probability: float
    value: float | None
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class HistogramResult:
    """The bins, and the quantiles that were asked for; `hidden` are all patients in bins left out.

    In a private release patients of a bin are noisy, and may be below zero.
    """

    kind: ClassVar[str] = "histogram"

    variable: str
    unit: str
    patients: int
    hidden: int
    bins: tuple[Bin, ...]
    quantiles: tuple[Quantile, ...]

    @property
    def smallest_cell(self) -> int | None:
        """Patients of the smallest bin; None when any is left out. Noisy if the counts are."""
        return smallest_cell(one.patients for one in self.bins)

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "variable": self.variable,
            "unit": self.unit,
            "patients": self.patients,
            "hidden": self.hidden,
            "bins": self.to_rows(),
            "smallest_cell": self.smallest_cell,
            "quantiles": [
                {"probability": q.probability, "value": q.value, "low": q.low, "high": q.high}
                for q in self.quantiles
            ],
        }

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one row a bin."""
        return [{"low": b.low, "high": b.high, "patients": b.patients} for b in self.bins]


@dataclass(frozen=True, slots=True)
class HistogramPlan(OneRound):
    """One slot a bin, which is a cell too; `edges` are one more than the bins."""

    variable: Variable
    edges: tuple[float, ...]
    probabilities: tuple[float, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """One a bin; together they are all patients."""
        name = self.variable.name
        last = len(self.edges) - 2
        return tuple(
            Cell(
                f"{name} {low:g} to {'' if place == last else 'below '}{high:g}",
                f"{name} bins",
                by=(name,),
            )
            for place, (low, high) in enumerate(itertools.pairwise(self.edges))
        )

    @property
    def cuts(self) -> Mapping[str, tuple[float, ...]]:
        """The edges between bins."""
        return {self.variable.name: self.edges[1:-1]}

    @property
    def slots(self) -> int:
        """One a bin."""
        return len(self.edges) - 1

    def count(self, rows: Columns) -> Integers:
        """Return the patients of each bin over a chunk."""
        # The last bin includes its upper end, as numpy's histogram has it.
        places = np.searchsorted(np.array(self.edges[1:-1]), rows[self.variable.name], "right")
        return np.bincount(places, minlength=self.slots).astype(np.int64)

    def local(self, rows: Columns, allowed: Mask, parameters: bytes) -> Integers:
        """Return the counts of the bins that may be published."""
        return np.where(allowed, self.count(rows), 0)

    def sensitivity(self, parameters: bytes) -> float:
        """Return 1: a patient is in one bin."""
        return 1.0

    def finish(self, rounds: Sequence[Round], allowed: Mask) -> HistogramResult:
        """Return the bins and quantiles."""
        released = rounds[0]
        if len(released.totals) != self.slots:
            raise TotalsMalformed("another number of totals", need=self.slots)
        shown = [
            total if told else None for total, told in zip(released.totals, allowed, strict=True)
        ]
        hidden = released.patients - sum(count for count in shown if count is not None)
        return HistogramResult(
            variable=self.variable.name,
            unit=self.variable.unit,
            patients=released.patients,
            hidden=0 if None not in shown else hidden,
            bins=tuple(
                Bin(low, high, count)
                for low, high, count in zip(self.edges[:-1], self.edges[1:], shown, strict=True)
            ),
            quantiles=tuple(
                quantile
                for probability in self.probabilities
                if (quantile := _quantile(self.edges, shown, released.patients, probability))
            ),
        )

    def error_bounds(self) -> Mapping[str, str]:
        """Return what is exact, and how wide a quantile's bin is."""
        width = max(b - a for a, b in itertools.pairwise(self.edges))
        bounds = {
            "histogram": "exact",
            "smallest cell": "exact; not told when a bin is left out",
        }
        if self.probabilities:
            bounds["quantiles"] = (
                f"the value of the patient of rank ceil(p n) is in the bin that is given, at most "
                f"{width:g} {self.variable.unit}".rstrip()
                + " wide (wider where neighbouring bins were left out)"
            )
        return bounds


@dataclass(frozen=True, slots=True)
class Histogram:
    """Patients by bins of a number: `bins` equal ones, or cut by `edges` inside its range."""

    kind: ClassVar[str] = "histogram"
    forms: ClassVar[tuple[Form, ...]] = (
        variable_name("variable"),
        Integer("bins", 0, BINS_MAX, 0),
        Numbers("edges", 0, BINS_MAX - 1, default=()),
        Numbers("quantiles", 0, 99, default=()),
    )

    variable: str
    bins: int
    edges: tuple[float, ...]
    quantiles: tuple[float, ...]

    def __post_init__(self) -> None:
        if (self.bins < 2) == (not self.edges):
            raise AnalysisRefused("a histogram has either bins (2 or more) or edges")
        if any(not 0.0 < probability < 1.0 for probability in self.quantiles):
            raise AnalysisRefused("quantiles are probabilities between 0 and 1")

    @property
    def outputs(self) -> tuple[str, ...]:
        """The histogram, and quantiles if asked for."""
        return ("histogram", "quantiles") if self.quantiles else ("histogram",)

    @property
    def variables(self) -> tuple[str, ...]:
        """The one variable."""
        return (self.variable,)

    def plan(self, variables: Mapping[str, Variable]) -> HistogramPlan:
        """Return the bins over the variable's range."""
        variable = variables[self.variable]
        if variable.kind == "flag":
            raise AnalysisRefused(f"{variable.name} is a flag: a table counts its two values")
        if self.edges and not variable.low < self.edges[0] <= self.edges[-1] < variable.high:
            raise AnalysisRefused(f"an edge is not inside the range of {variable.name}")
        equal = np.linspace(variable.low, variable.high, self.bins + 1)
        inner = self.edges or tuple(float(edge) for edge in equal[1:-1])
        return HistogramPlan(variable, (variable.low, *inner, variable.high), self.quantiles)


def _quantile(
    edges: Sequence[float], counts: Sequence[int | None], patients: int, probability: float
) -> Quantile | None:
    """Return where the patient of rank ceil(probability * patients) is; None without patients.

    Of bins left out only the sum is known: they hold between none and all of it each.
    """
    if patients < 1:
        return None
    shown = [0 if count is None else max(count, 0) for count in counts]
    hidden = max(patients - sum(shown), 0) if None in counts else 0
    rank = max(1, math.ceil(probability * patients))
    places = [place for place, count in enumerate(counts) if count is None]
    least = np.cumsum(shown) + np.array(
        [hidden if places and place >= places[-1] else 0 for place in range(len(shown))]
    )
    most = np.cumsum(shown) + np.array(
        [hidden if places and place >= places[0] else 0 for place in range(len(shown))]
    )
    last = len(shown) - 1
    first = min(int(np.searchsorted(most, rank)), last)
    end = min(int(np.searchsorted(least, rank)), last)
    low, high = edges[first], edges[end + 1]
    if first != end:
        return Quantile(probability, None, low, high)
    inside = counts[first] or 0
    before = int(most[first]) - max(inside, 0)
    share = (rank - before) / inside if inside > 0 else 0.5
    value = low + min(max(share, 0.0), 1.0) * (high - low)
    return Quantile(probability, value, low, high)
