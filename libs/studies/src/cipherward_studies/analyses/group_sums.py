"""Size, sum and sum of squares of one variable in each group: what t-test and ANOVA are from.

A group whose cells fail has zeros in its slots.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from cipherward_studies.analyses.groups import Groups
from cipherward_studies.analysis import FRACTION_BITS, Cell, Round
from cipherward_studies.errors import AnalysisRefused, TotalsMalformed
from cipherward_studies.magnitudes import MAGNITUDE_CELLS, count_magnitudes, magnitude_cells
from cipherward_studies.variables import Columns, Integers, Mask, Variable

STEPS = 1 << FRACTION_BITS
GROUP_SLOTS = 3
# Variance on -1..1 below which a variable is constant: rounding alone makes nearly as much.
CONSTANT = Fraction(1, 10**10)


@dataclass(frozen=True, slots=True)
class GroupMoments:
    """One group, in the variable's own unit.

    Attributes:
        patients: above 1, so that there is a variance; a private release adds noise.
        squares: sum of squared distances from the mean, not negative.
    """

    group: float
    patients: float
    mean: float
    squares: float

    @property
    def variance(self) -> float:
        """Unbiased variance."""
        return self.squares / (self.patients - 1)


@dataclass(frozen=True, slots=True)
class GroupSums:
    """The sums of a variable, by group."""

    variable: Variable
    groups: Groups

    def __post_init__(self) -> None:
        if self.variable.name == self.groups.variable:
            raise AnalysisRefused("groups are told apart by another variable")

    @property
    def slots(self) -> int:
        """How many sums there are."""
        return GROUP_SLOTS * self.groups.number

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Return each group, then the cells of the variable's sum in each group."""
        return self.groups.cells + tuple(
            replace(cell, label=f"{label}, {cell.label}", by=(self.groups.variable, *cell.by))
            for label in self.groups.labels
            for cell in magnitude_cells(self.variable)
        )

    def count(self, rows: Columns) -> Integers:
        """Return the counts of the cells over a chunk."""
        column = rows[self.variable.name]
        counts = [int(number) for number in self.groups.count(rows)]
        for mine in self.groups.masks(rows):
            counts += count_magnitudes(self.variable, column[mine])
        return np.array(counts, dtype=np.int64)

    def published(self, allowed: Mask) -> Mask:
        """Say which groups may be published."""
        number = self.groups.number
        return allowed[:number] & allowed[number:].reshape(number, MAGNITUDE_CELLS).all(axis=1)

    def local(self, rows: Columns, allowed: Mask) -> Integers:
        """Return the sums over a chunk in steps of 2^-FRACTION_BITS, rounded once a chunk."""
        found = np.zeros((self.groups.number, GROUP_SLOTS), dtype=np.int64)
        scaled = self.variable.scaled(rows[self.variable.name])
        for place in np.flatnonzero(self.published(allowed)):
            mine = scaled[self.groups.masks(rows)[place]]
            sums = np.array([len(mine), mine.sum(), mine @ mine])
            found[place] = np.rint(sums * STEPS).astype(np.int64)
        return found.ravel()

    def sensitivity(self) -> float:
        """Return the L2 effect of one patient, who is in one group, and a step of rounding."""
        return float(np.sqrt(GROUP_SLOTS)) * (STEPS + 1)

    def moments(self, released: Round, allowed: Mask) -> list[GroupMoments | None]:
        """Return each group's moments, exact up to a last rounding; None where there are none.

        Raises:
            TotalsMalformed: another number of totals.
        """
        if len(released.totals) != self.slots:
            raise TotalsMalformed("another number of totals", need=self.slots)
        published = self.published(allowed)
        found: list[GroupMoments | None] = []
        for place, code in enumerate(self.groups.codes):
            size, total, square = (
                Fraction(step, STEPS)
                for step in released.totals[GROUP_SLOTS * place : GROUP_SLOTS * (place + 1)]
            )
            if not published[place] or size <= 1:
                found.append(None)
                continue
            half = Fraction(self.variable.half)
            mean = Fraction(self.variable.middle) + half * total / size
            squares = square - total * total / size
            squares = half * half * squares if squares > size * CONSTANT else Fraction(0)
            found.append(GroupMoments(code, float(size), float(mean), float(squares)))
        return found
