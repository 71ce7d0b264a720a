"""Contingency table of two variables: smallest cell, chi-square test and odds ratio."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from cipherward_studies.analyses.smallest import smallest_cell
from cipherward_studies.analysis import Cell, OneRound, Round
from cipherward_studies.distributions import chi_square_sf, normal_quantile
from cipherward_studies.errors import AnalysisRefused, TotalsMalformed
from cipherward_studies.forms import Form, variable_name
from cipherward_studies.number_forms import Flag, Number, Numbers
from cipherward_studies.variables import Columns, Floats, Integers, Mask, Variable

CUTS_MAX = 31  # 32 levels by 32 are 1,024 cells, each of the minimum


@dataclass(frozen=True, slots=True)
class Axis:
    """One side of a table: a flag's two values, or a number cut into levels.

    cuts: where a level ends and the next begins; a value at a cut is in the upper level.
    """

    variable: Variable
    cuts: tuple[float, ...]

    @property
    def levels(self) -> tuple[str, ...]:
        """What the levels are called."""
        variable = self.variable
        if variable.kind == "flag":
            return f"{variable.low:g}", f"{variable.high:g}"
        edges = (variable.low, *self.cuts, variable.high)
        last = len(edges) - 2
        return tuple(
            f"{low:g} to {'' if place == last else 'below '}{high:g}"
            for place, (low, high) in enumerate(itertools.pairwise(edges))
        )

    def places(self, rows: Columns) -> Integers:
        """Return the level of each patient of a chunk."""
        cuts = (self.variable.middle,) if self.variable.kind == "flag" else self.cuts
        return np.searchsorted(np.array(cuts), rows[self.variable.name], "right").astype(np.int64)


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """Pearson's test of independence; `corrected` by Yates, for two by two only."""

    statistic: float
    degrees_of_freedom: int
    p_value: float
    corrected: bool


@dataclass(frozen=True, slots=True)
class OddsRatio:
    """Odds ratio of the upper levels with its interval (Woolf's, on the logarithm)."""

    estimate: float
    lower: float
    upper: float
    confidence: float


@dataclass(frozen=True, slots=True)
class TableResult:
    """Patients by row and column level; None in a cell that was left out.

    outcome: `computed`; `left_out`: some cells are, and no test follows; `empty_margin`: a level
        has no patients (or, in a private release, not more than its noise).
    """

    kind: ClassVar[str] = "table"

    rows: str
    columns: str
    row_levels: tuple[str, ...]
    column_levels: tuple[str, ...]
    patients: int
    counts: tuple[tuple[int | None, ...], ...]
    outcome: str
    chi_square: ChiSquare | None
    odds_ratio: OddsRatio | None

    @property
    def smallest_cell(self) -> int | None:
        """Patients of the smallest cell; None when any is left out. Noisy if the counts are."""
        return smallest_cell(itertools.chain.from_iterable(self.counts))

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        test, odds = self.chi_square, self.odds_ratio
        return {
            "rows": self.rows,
            "columns": self.columns,
            "row_levels": list(self.row_levels),
            "column_levels": list(self.column_levels),
            "patients": self.patients,
            "counts": [list(row) for row in self.counts],
            "smallest_cell": self.smallest_cell,
            "outcome": self.outcome,
            "chi_square": test and asdict(test),
            "odds_ratio": odds and asdict(odds),
        }

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one row a cell."""
        return [
            {self.rows: row, self.columns: column, "patients": count}
            for row, line in zip(self.row_levels, self.counts, strict=True)
            for column, count in zip(self.column_levels, line, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class TablePlan(OneRound):
    """One slot a cell, row by row."""

    rows: Axis
    columns: Axis
    correction: bool
    confidence: float

    @property
    def cells(self) -> tuple[Cell, ...]:
        """One a combination of levels; together they are all patients."""
        first, second = self.rows.variable.name, self.columns.variable.name
        return tuple(
            Cell(f"{first} {row}, {second} {column}", f"{first} by {second}", by=(first, second))
            for row in self.rows.levels
            for column in self.columns.levels
        )

    @property
    def cuts(self) -> Mapping[str, tuple[float, ...]]:
        """The cuts of the axes that are numbers."""
        axes = (self.rows, self.columns)
        return {axis.variable.name: axis.cuts for axis in axes if axis.cuts}

    @property
    def slots(self) -> int:
        """One a cell."""
        return len(self.rows.levels) * len(self.columns.levels)

    def count(self, rows: Columns) -> Integers:
        """Return the patients of each cell over a chunk."""
        width = len(self.columns.levels)
        places = self.rows.places(rows) * width + self.columns.places(rows)
        return np.bincount(places, minlength=self.slots).astype(np.int64)

    def local(self, rows: Columns, allowed: Mask, parameters: bytes) -> Integers:
        """Return the counts of the cells that may be published."""
        return np.where(allowed, self.count(rows), 0)

    def sensitivity(self, parameters: bytes) -> float:
        """Return 1: a patient is in one cell."""
        return 1.0

    def finish(self, rounds: Sequence[Round], allowed: Mask) -> TableResult:
        """Return the table and its tests."""
        released = rounds[0]
        if len(released.totals) != self.slots:
            raise TotalsMalformed("another number of totals", need=self.slots)
        shape = len(self.rows.levels), len(self.columns.levels)
        table = np.array(released.totals, dtype=np.float64).reshape(shape)
        shown = allowed.reshape(shape)
        outcome = "computed" if bool(shown.all()) else "left_out"
        margins = np.concatenate([table.sum(axis=0), table.sum(axis=1)])
        if outcome == "computed" and not bool((margins > 0).all()):
            outcome = "empty_margin"
        usable = outcome == "computed"
        square = shape == (2, 2)
        return TableResult(
            rows=self.rows.variable.name,
            columns=self.columns.variable.name,
            row_levels=self.rows.levels,
            column_levels=self.columns.levels,
            patients=released.patients,
            counts=tuple(
                tuple(int(count) if told else None for count, told in zip(line, tell, strict=True))
                for line, tell in zip(table, shown, strict=True)
            ),
            outcome=outcome,
            chi_square=_chi_square(table, self.correction and square) if usable else None,
            odds_ratio=_odds_ratio(table, self.confidence) if usable and square else None,
        )

    def error_bounds(self) -> Mapping[str, str]:
        """Return that the table is exact, and when its smallest cell is told."""
        return {
            "table": "exact; the tests follow from it within the rounding of doubles",
            "smallest cell": "exact; not told when a cell is left out",
        }


@dataclass(frozen=True, slots=True)
class Table:
    """Patients by two variables: flags by their values, numbers by levels that cuts make."""

    kind: ClassVar[str] = "table"
    forms: ClassVar[tuple[Form, ...]] = (
        variable_name("rows"),
        variable_name("columns"),
        Numbers("row_cuts", 0, CUTS_MAX, default=()),
        Numbers("column_cuts", 0, CUTS_MAX, default=()),
        Flag("correction", True),
        Number("confidence", 0.5, 0.999, 0.95),
    )

    rows: str
    columns: str
    row_cuts: tuple[float, ...]
    column_cuts: tuple[float, ...]
    correction: bool
    confidence: float

    @property
    def outputs(self) -> tuple[str, ...]:
        """The table."""
        return ("table",)

    @property
    def variables(self) -> tuple[str, ...]:
        """Rows, then columns."""
        return self.rows, self.columns

    def plan(self, variables: Mapping[str, Variable]) -> TablePlan:
        """Return the cells over both variables' levels."""
        if self.rows == self.columns:
            raise AnalysisRefused("a table has two different variables")
        return TablePlan(
            _axis(variables[self.rows], self.row_cuts),
            _axis(variables[self.columns], self.column_cuts),
            self.correction,
            self.confidence,
        )


def _axis(variable: Variable, cuts: tuple[float, ...]) -> Axis:
    if variable.kind == "flag":
        if cuts:
            raise AnalysisRefused(f"{variable.name} is a flag and needs no cuts")
    elif not cuts or not variable.low < cuts[0] <= cuts[-1] <= variable.high:
        raise AnalysisRefused(f"{variable.name} needs cuts inside its range")
    return Axis(variable, cuts)


def _chi_square(table: Floats, corrected: bool) -> ChiSquare:
    """Return Pearson's test; Yates' correction takes at most 1/2 from each difference.

    Source: Agresti, "Categorical Data Analysis", 3rd ed., 3.2.1; Yates 1934.
    """
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    differences = np.abs(table - expected)
    if corrected:
        differences = np.maximum(differences - 0.5, 0.0)
    statistic = float((differences**2 / expected).sum())
    degrees = (table.shape[0] - 1) * (table.shape[1] - 1)
    return ChiSquare(statistic, degrees, chi_square_sf(statistic, degrees), corrected)


def _odds_ratio(table: Floats, confidence: float) -> OddsRatio | None:
    """Return the odds ratio of a two by two table, None with a cell that has nobody."""
    if float(table.min()) <= 0.0:
        return None
    logarithm = math.log(table[1, 1]) + math.log(table[0, 0])
    logarithm -= math.log(table[1, 0]) + math.log(table[0, 1])
    width = normal_quantile((1.0 + confidence) / 2.0) * math.sqrt(float((1.0 / table).sum()))
    return OddsRatio(
        math.exp(logarithm), math.exp(logarithm - width), math.exp(logarithm + width), confidence
    )
