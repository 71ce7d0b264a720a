"""The cells behind a sum of one variable's values: nobody's value may make most of it.

For a flag these are the numbers of patients with each of its two values. For a number they are two
sums in steps of the range, of how far the patients lie above its lower and below its upper end. No
patient adds more than one whole range, so a sum of at least k ranges has no patient with more than
1 / k of it: this bounds dominance over all members without anybody's largest value being known. A
plausible range that is much wider than the values are fails here: declare a tighter one, or clip.
"""

from __future__ import annotations

import numpy as np

from cipherward_studies.analysis import DOMINANCE_STEPS, Cell
from cipherward_studies.variables import Floats, Variable

MAGNITUDE_CELLS = 2  # of one variable


def magnitude_cells(variable: Variable) -> tuple[Cell, Cell]:
    """Return the two cells of a variable."""
    name = variable.name
    if variable.kind == "flag":
        values = (f"{variable.low:g}", f"{variable.high:g}")
        high, low = (Cell(f"{name} = {value}", by=(name,)) for value in reversed(values))
        return high, low
    return (
        Cell(f"{name} above {variable.low:g}", dominance=True),
        Cell(f"{name} below {variable.high:g}", dominance=True),
    )


def count_magnitudes(variable: Variable, column: Floats) -> tuple[int, int]:
    """Return the counts of the two cells over a chunk; additive."""
    if variable.kind == "flag":
        high = int(np.count_nonzero(column == variable.high))
        return high, len(column) - high
    share = (variable.scaled(column) + 1.0) / 2.0
    above = int(np.rint(share * DOMINANCE_STEPS).astype(np.int64).sum())
    return above, len(column) * DOMINANCE_STEPS - above
