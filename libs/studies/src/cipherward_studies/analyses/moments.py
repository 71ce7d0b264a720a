"""Sum, mean, variance, standard error, covariance and correlation of variables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from cipherward_studies.analysis import Cell, OneRound, Round
from cipherward_studies.forms import Form, Words, variable_names
from cipherward_studies.second_moments import ERROR_OF_SUMS, SecondMoments, Totals, all_pairs
from cipherward_studies.variables import Columns, Integers, Mask, Variable

STATISTICS = ("sum", "mean", "variance", "standard_error", "covariance", "correlation")


@dataclass(frozen=True, slots=True)
class VariableMoments:
    """Moments of one variable; what was not asked for, left out or does not exist is None.

    `variance` is unbiased (divided by patients - 1); `standard_error` is that of the mean.
    """

    variable: str
    unit: str
    sum: float | None
    mean: float | None
    variance: float | None
    standard_error: float | None
    left_out: bool


@dataclass(frozen=True, slots=True)
class PairMoments:
    """Covariance (unbiased) and correlation of two variables, None as in `VariableMoments`."""

    first: str
    second: str
    covariance: float | None
    correlation: float | None
    left_out: bool


@dataclass(frozen=True, slots=True)
class MomentsResult:
    """The moments of each variable, and of each pair if asked for (a variable with itself too)."""

    kind: ClassVar[str] = "moments"

    patients: int
    variables: tuple[VariableMoments, ...]
    pairs: tuple[PairMoments, ...]

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "patients": self.patients,
            "variables": self.to_rows(),
            "pairs": [
                {
                    "first": pair.first,
                    "second": pair.second,
                    "covariance": pair.covariance,
                    "correlation": pair.correlation,
                    "left_out": pair.left_out,
                }
                for pair in self.pairs
            ],
        }

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one row a variable."""
        return [
            {
                "variable": one.variable,
                "unit": one.unit,
                "sum": one.sum,
                "mean": one.mean,
                "variance": one.variance,
                "standard_error": one.standard_error,
                "left_out": one.left_out,
            }
            for one in self.variables
        ]


@dataclass(frozen=True, slots=True)
class MomentsPlan(OneRound):
    """The sums that the asked-for statistics need, and no others."""

    moments: SecondMoments
    statistics: tuple[str, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """As the sums'."""
        return self.moments.cells

    @property
    def slots(self) -> int:
        """As the sums'."""
        return self.moments.slots

    def count(self, rows: Columns) -> Integers:
        """Return the cells' counts over a chunk."""
        return self.moments.count(rows)

    def local(self, rows: Columns, allowed: Mask, parameters: bytes) -> Integers:
        """Return the sums over a chunk."""
        return self.moments.local(rows, allowed)

    def sensitivity(self, parameters: bytes) -> float:
        """Return the L2 effect of one patient, in steps."""
        return self.moments.sensitivity()

    def finish(self, rounds: Sequence[Round], allowed: Mask) -> MomentsResult:
        """Return the moments."""
        totals = self.moments.totals(rounds[0])
        published = self.moments.published(allowed)
        width = len(self.moments.variables)
        joint = {"covariance", "correlation"} & set(self.statistics)
        return MomentsResult(
            patients=totals.count,
            variables=tuple(self._variable(totals, i, bool(published[i])) for i in range(width)),
            pairs=tuple(
                self._pair(totals, i, j, bool(published[width + place]))
                for place, (i, j) in enumerate(self.moments.pairs)
                if joint
            ),
        )

    def error_bounds(self) -> Mapping[str, str]:
        """Return the error of the sums, from which all else follows."""
        return {word: ERROR_OF_SUMS for word in self.statistics}

    def _variable(self, totals: Totals, i: int, published: bool) -> VariableMoments:
        variable = self.moments.variables[i]
        wanted = set(self.statistics) if published and totals.count > 0 else set[str]()
        variance = None
        if {"variance", "standard_error"} & wanted and totals.count > 1:
            variance = float(totals.covariance(i, i))
        if variance is not None and variance < 0.0:  # noise of a private release
            variance = None
        error = None if variance is None else math.sqrt(variance / totals.count)
        return VariableMoments(
            variable=variable.name,
            unit=variable.unit,
            sum=float(totals.total(i)) if "sum" in wanted else None,
            mean=float(totals.mean(i)) if "mean" in wanted else None,
            variance=variance if "variance" in wanted else None,
            standard_error=error if "standard_error" in wanted else None,
            left_out=not published,
        )

    def _pair(self, totals: Totals, i: int, j: int, published: bool) -> PairMoments:
        wanted = set(self.statistics) if published and totals.count > 1 else set[str]()
        names = self.moments.variables
        return PairMoments(
            first=names[i].name,
            second=names[j].name,
            covariance=float(totals.covariance(i, j)) if "covariance" in wanted else None,
            correlation=_correlation(totals, i, j) if "correlation" in wanted else None,
            left_out=not published,
        )


@dataclass(frozen=True, slots=True)
class Moments:
    """Statistics of variables, each alone or in pairs."""

    kind: ClassVar[str] = "moments"
    forms: ClassVar[tuple[Form, ...]] = (
        variable_names("variables", 1, 64),
        Words("statistics", STATISTICS, ("mean", "variance")),
    )

    variables: tuple[str, ...]
    statistics: tuple[str, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The statistics' names."""
        return self.statistics

    def plan(self, variables: Mapping[str, Variable]) -> MomentsPlan:
        """Return the sums that are needed."""
        used = tuple(variables[name] for name in self.variables)
        pairs: tuple[tuple[int, int], ...] = ()
        if {"covariance", "correlation"} & set(self.statistics):
            pairs = all_pairs(len(used))
        elif {"variance", "standard_error"} & set(self.statistics):
            pairs = tuple((i, i) for i in range(len(used)))
        return MomentsPlan(SecondMoments(used, pairs), self.statistics)


def _correlation(totals: Totals, i: int, j: int) -> float | None:
    squares = float(totals.centred(i, i)) * float(totals.centred(j, j))
    if squares <= 0.0 or totals.centred(i, i) <= 0:
        return None  # a variable that does not vary
    return max(-1.0, min(1.0, float(totals.centred(i, j)) / math.sqrt(squares)))
