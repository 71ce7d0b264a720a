"""Variables that are declared numbers and take only two values: their sums are counts.

A number's sum is not judged as a cell of patients, a flag's is. So a member refuses a study that
declares as a number what has two different values among its own patients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cipherward_studies.errors import FlagUndeclared
from cipherward_studies.variables import Columns, Variable

_FEW = 2  # different values of a flag


class TwoValued:
    """Watches chunks for numbers that have two values."""

    def __init__(self, variables: Sequence[Variable]) -> None:
        self._seen: dict[str, set[float]] = {
            variable.name: set() for variable in variables if variable.kind == "number"
        }

    def see(self, columns: Columns) -> None:
        """Take notice of a chunk's values."""
        for name, seen in self._seen.items():
            if len(seen) <= _FEW:
                # The first few hundred nearly always settle it; only else the chunk is sorted.
                head = columns[name][:256]
                seen.update(np.unique(head)[: _FEW + 1].tolist())
                if len(seen) <= _FEW:
                    seen.update(np.unique(columns[name])[: _FEW + 1].tolist())

    def check(self, patients: int, minimum: int) -> None:
        """Accept what was seen of so many patients; fewer than `minimum` settle nothing.

        Raises:
            FlagUndeclared: a number has exactly two values.
        """
        for name, seen in self._seen.items():
            if patients >= minimum and len(seen) == _FEW:
                raise FlagUndeclared(
                    f"{name} has two values only: declare it a flag", variable=name
                )
