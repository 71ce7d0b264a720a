"""Variables and cohorts: which patients take part, and with which values.

A patient takes part when every condition of the cohort holds and every variable of the study has a
value that may be used: all analyses of a study are over the same patients (complete cases), so no
two of its answers differ by a few of them.

| a value | policy | what happens |
|---|---|---|
| missing (NaN, or infinite) | missing: exclude | the patient is left out, and counted as excluded |
| | missing: refuse | the member's step fails, named ValueMissing |
| outside low..high (a flag: neither) | outside: exclude | left out, and counted as excluded |
| | outside: clip | becomes the nearer end; conditions see the value as it was |
| | outside: refuse | the member's step fails, named ValueOutside |

A condition on a value that is missing neither holds nor fails: such a patient counts as excluded if
all other conditions hold. One whose condition fails is not in the cohort, and counted nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cipherward_studies.errors import ColumnsMalformed, ValueMissing, ValueOutside

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]
Columns = Mapping[str, Floats]  # a chunk of patients: one array a variable, all of one length

# Rows of a chunk, all but the last: 10 MB of 20 variables. Error bounds count one rounding a chunk,
# and analyses that look for a patient who dominates an iterate look within one.
CHUNK_ROWS = 65_536

Kind = Literal["number", "flag"]
Missing = Literal["exclude", "refuse"]
Outside = Literal["exclude", "clip", "refuse"]
Operator = Literal["<", "<=", "==", "!=", ">=", ">", "between"]
OPERATORS: tuple[Operator, ...] = ("<", "<=", "==", "!=", ">=", ">", "between")


@dataclass(frozen=True, slots=True)
class Variable:
    """A column, what it is measured in, and its plausible range, both ends included.

    A flag is either `low` or `high` (0 or 1 unless declared otherwise): its sum tells a number of
    patients, which is judged as a cell.
    """

    name: str
    low: float
    high: float
    unit: str = ""
    kind: Kind = "number"
    missing: Missing = "exclude"
    outside: Outside = "exclude"

    @property
    def middle(self) -> float:
        """The middle of the range."""
        return (self.low + self.high) / 2

    @property
    def half(self) -> float:
        """Half the width of the range, above 0."""
        return (self.high - self.low) / 2

    def scaled(self, column: Floats) -> Floats:
        """Return a column of usable values on -1..1, so that every sum has a known bound."""
        return np.clip((column - self.middle) / self.half, -1.0, 1.0)

    def within(self, column: Floats) -> Mask:
        """Say which values are plausible; false for a missing one."""
        if self.kind == "flag":
            return (column == self.low) | (column == self.high)
        return (column >= self.low) & (column <= self.high)

    def clipped(self, column: Floats) -> Floats:
        """Return the nearest plausible value of each; none is missing."""
        if self.kind == "flag":
            return np.where(column >= self.middle, self.high, self.low)
        return np.clip(column, self.low, self.high)


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that patients of the cohort meet; `between` has two values, both included."""

    variable: str
    op: Operator
    values: tuple[float, ...]

    def holds(self, column: Floats) -> Mask:
        """Say for which values it holds; whatever is said of a missing one means nothing."""
        first = self.values[0]
        match self.op:
            case "<":
                return column < first
            case "<=":
                return column <= first
            case "==":
                return column == first
            case "!=":
                return column != first
            case ">=":
                return column >= first
            case ">":
                return column > first
            case "between":
                return (column >= first) & (column <= self.values[1])


@dataclass(frozen=True, slots=True)
class Prepared:
    """A chunk after the cohort's conditions and the variables' policies.

    Attributes:
        columns: of the patients that take part, every value plausible.
        used: which rows of the chunk these are.
        excluded: how many rows were left out for a missing or implausible value.
    """

    columns: Columns
    used: Mask
    excluded: int

    @property
    def patients(self) -> int:
        """How many take part."""
        return int(np.count_nonzero(self.used))


def prepare(variables: Sequence[Variable], cohort: Sequence[Condition], rows: Columns) -> Prepared:
    """Return who of a chunk takes part, and with which values.

    Raises:
        ColumnsMalformed: a variable is absent, or the columns differ in length.
        ValueMissing, ValueOutside: a variable refuses what a patient of the cohort has.
    """
    columns = {variable.name: _column(rows, variable.name) for variable in variables}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise ColumnsMalformed("the columns of a chunk differ in length")
    present = {name: np.isfinite(column) for name, column in columns.items()}
    inside = np.ones(lengths.pop() if lengths else 0, dtype=np.bool_)
    for condition in cohort:
        column = columns[condition.variable]
        inside &= condition.holds(column) | ~present[condition.variable]
    used = inside.copy()
    for variable in variables:
        known = present[variable.name]
        if variable.missing == "refuse" and bool((inside & ~known).any()):
            raise ValueMissing(f"a patient has no {variable.name}", variable=variable.name)
        used &= known
        outside = known & ~variable.within(columns[variable.name])
        if variable.outside == "clip":
            continue
        if variable.outside == "refuse" and bool((inside & outside).any()):
            raise ValueOutside(
                f"a value of {variable.name} is not plausible", variable=variable.name
            )
        used &= ~outside
    kept = {variable.name: variable.clipped(columns[variable.name][used]) for variable in variables}
    return Prepared(kept, used, int(np.count_nonzero(inside & ~used)))


def _column(rows: Columns, name: str) -> Floats:
    try:
        column = rows[name]
    except KeyError:
        raise ColumnsMalformed(f"the rows have no variable {name}", variable=name) from None
    if column.ndim != 1:
        raise ColumnsMalformed(f"the column {name} is not one number a patient", variable=name)
    return np.asarray(column, dtype=np.float64)
