"""The smallest cell of a table or histogram, read from the counts that are published."""

from __future__ import annotations

from collections.abc import Iterable


def smallest_cell(counts: Iterable[int | None]) -> int | None:
    """Return the patients of the smallest cell, None when a cell was left out.

    It is read from the published counts alone, so it tells nothing that they do not. The smallest
    of the cells that are left would be another figure than the one that was asked for (a cell is
    left out because it is small, or to hide one that is), so none is given then.
    """
    least: int | None = None
    for count in counts:
        if count is None:
            return None
        least = count if least is None else min(least, count)
    return least
