"""The differencing rule: a cohort must not differ from a released one by a few patients.

Two exact answers over cohorts that differ by fewer patients than the minimum tell, by subtraction,
about these few. Each member compares its own patients, before it encrypts: the whole cohort's
difference is at least that of one member.

Patients are compared by fingerprints: 64 bits of a keyed hash of their names, which never leave the
member. Of a million patients two share one with probability 2^-25; then a difference counts one
less.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from cipherward_studies.errors import CohortTooSimilar

Fingerprints = NDArray[np.uint64]  # ascending, each once: 8 MB for a million patients


def difference(first: Fingerprints, second: Fingerprints) -> int:
    """Return how many patients are in one of two cohorts only."""
    common = np.intersect1d(first, second, assume_unique=True).size
    return first.size + second.size - 2 * common


def check_differs(cohort: Fingerprints, released: Iterable[Fingerprints], minimum: int) -> None:
    """Accept a cohort that is the same as each released one, or differs by the minimum or more.

    Args:
        cohort: this member's patients who take part.
        released: this member's part of earlier cohorts of the same data set; one at a time is held.

    Raises:
        CohortTooSimilar: it differs from one by 1 to minimum - 1 patients.
    """
    for earlier in released:
        if 0 < difference(cohort, earlier) < minimum:
            raise CohortTooSimilar(
                "the cohort differs by fewer patients than the minimum from one that was released",
                minimum=minimum,
            )
