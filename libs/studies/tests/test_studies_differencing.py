"""The differencing rule on a member's own cohorts."""

from __future__ import annotations

import numpy as np
import pytest

from cipherward_studies.differencing import Fingerprints, check_differs, difference
from cipherward_studies.errors import CohortTooSimilar


def cohort(*ranges: tuple[int, int]) -> Fingerprints:
    return np.concatenate([np.arange(*one, dtype=np.uint64) for one in ranges])


def test_the_difference_counts_both_ways() -> None:
    assert difference(cohort((0, 100)), cohort((3, 104))) == 7
    assert difference(cohort((0, 0)), cohort((0, 5))) == 5


@pytest.mark.parametrize("other", [(0, 99), (1, 101), (0, 109), (5, 104)])
def test_a_cohort_that_differs_by_a_few_is_refused(other: tuple[int, int]) -> None:
    with pytest.raises(CohortTooSimilar):
        check_differs(cohort(other), [cohort((500, 900)), cohort((0, 100))], 10)


@pytest.mark.parametrize("other", [(0, 100), (0, 110), (0, 90), (5, 105), (300, 400)])
def test_the_same_cohort_or_a_different_one_may_be_asked(other: tuple[int, int]) -> None:
    check_differs(cohort(other), [cohort((0, 100))], 10)
    check_differs(cohort(other), [], 10)
