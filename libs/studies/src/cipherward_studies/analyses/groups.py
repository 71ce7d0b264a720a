"""Groups of patients: those with one value of a variable, for each of some values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cipherward_studies.analysis import Cell
from cipherward_studies.errors import AnalysisRefused
from cipherward_studies.variables import Columns, Integers, Mask

GROUPS_MAX = 16  # arms, stages, regions: more are a regression's business


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of an analysis; without a variable, one of all patients.

    Attributes:
        variable: tells the groups apart; "" without.
        codes: 2 to GROUPS_MAX different values, ascending; () without.

    Raises:
        AnalysisRefused: not so.
    """

    variable: str
    codes: tuple[float, ...]

    def __post_init__(self) -> None:
        if bool(self.variable) != bool(self.codes):
            raise AnalysisRefused("a variable of groups and its values come together")
        if self.codes and not 2 <= len(self.codes) <= GROUPS_MAX:
            raise AnalysisRefused(f"there are 2 to {GROUPS_MAX} groups", have=len(self.codes))
        if any(after <= before for before, after in zip(self.codes, self.codes[1:], strict=False)):
            raise AnalysisRefused("the values of groups are not ascending")

    @property
    def number(self) -> int:
        """How many groups there are."""
        return max(len(self.codes), 1)

    @property
    def labels(self) -> tuple[str, ...]:
        """What each group is called."""
        return tuple(f"{self.variable} = {code:g}" for code in self.codes) or ("all",)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Return one cell a group; together they are the cohort, or nearly."""
        by = (self.variable,) if self.variable else ()
        return tuple(Cell(label, f"groups of {self.variable}", by=by) for label in self.labels)

    def masks(self, rows: Columns) -> list[Mask]:
        """Return who of a chunk is in each group."""
        if not self.codes:
            length = len(next(iter(rows.values())))
            return [np.ones(length, dtype=np.bool_)]
        return [rows[self.variable] == code for code in self.codes]

    def count(self, rows: Columns) -> Integers:
        """Return how many patients of a chunk are in each group."""
        return np.array([np.count_nonzero(mask) for mask in self.masks(rows)], dtype=np.int64)
