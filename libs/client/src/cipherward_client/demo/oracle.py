"""What the studies must say: the same statistics of all patients pooled in the clear, by numpy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from cipherward_client.demo.clear_run import run_in_the_clear
from cipherward_client.sdk.study_results import StudyResult
from cipherward_studies.analyses.linear_regression import LinearRegressionResult
from cipherward_studies.analyses.moments import MomentsResult
from cipherward_studies.analyses.survival import SurvivalResult
from cipherward_studies.spec import Draft
from cipherward_studies.variables import Columns, Floats, Mask

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Exactness:
    """How many of a study's decrypted integers are those of the members' own sums."""

    sums: int
    sums_equal: int

    @property
    def exact(self) -> bool:
        """Whether every decrypted integer is the right one."""
        return 0 < self.sums == self.sums_equal


def exactness(
    draft: Draft, tables: Mapping[str, Columns], guardians: Iterable[str], result: StudyResult
) -> Exactness:
    """Compare a result's integers with the sums of what the members compute in the clear.

    Args:
        tables: by member; guardians: whose verdicts on the counts the result's parts name.
    """
    expected = run_in_the_clear(draft, tables, guardians).totals
    equal = sum(a == b for a, b in zip(expected, result.totals, strict=True))
    return Exactness(len(expected), equal)


def pooled(tables: Mapping[str, Columns]) -> dict[str, Floats]:
    """Return all members' patients as one table."""
    parts = list(tables.values())
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def found_in(result: StudyResult, kind: type[R]) -> R | None:
    """Return a study's result of a kind, or None."""
    return next((one for one in result.answer.results if isinstance(one, kind)), None)


def moments_error(patients: Columns, result: StudyResult) -> float:
    """Return the largest error of sums, means and variances, relative to 1 or the value."""
    found = found_in(result, MomentsResult)
    if found is None or result.answer.patients != len(next(iter(patients.values()))):
        return float("inf")
    return max(
        error([one.sum, one.mean, one.variance], [x.sum(), x.mean(), x.var(ddof=1)])
        for one in found.variables
        for x in [patients[one.variable]]
    )


def regression_error(patients: Columns, outcome: str, result: StudyResult) -> float:
    """Return the largest error against least squares by numpy's SVD, which shares no code.

    Of coefficients and standard errors relative to 1 or the value, and of R squared.
    """
    found = found_in(result, LinearRegressionResult)
    if found is None or found.fit is None:
        return float("inf")
    names = [one.variable for one in found.coefficients[1:]]
    y = patients[outcome]
    design = np.column_stack([np.ones(len(y)), *(patients[name] for name in names)])
    beta = np.asarray(np.linalg.lstsq(design, y, rcond=None)[0], dtype=np.float64)
    residual = y - design @ beta
    left = float(residual @ residual)
    inverse = np.linalg.pinv(design)
    errors = np.sqrt(left / (len(y) - design.shape[1]) * (inverse * inverse).sum(axis=1))
    r_squared = 1 - left / float(((y - y.mean()) ** 2).sum())
    return max(
        error([one.estimate for one in found.coefficients], beta),
        error([one.standard_error for one in found.coefficients], errors),
        abs(found.fit.r_squared - r_squared),
    )


def survival_error(patients: Columns, result: StudyResult) -> float:
    """Return how far any published step of a curve is from the pooled patients' curve.

    Their times are rounded up first, to the next end at which anybody leaves as they do: that is
    all that the published steps tell of them.
    """
    found = found_in(result, SurvivalResult)
    if found is None:
        return float("inf")
    curves = {one.group: one.curve for one in found.groups if one.curve is not None}
    if len(curves) < len(found.groups):
        return float("inf")
    steps = [point for curve in curves.values() for point in curve.points]
    happened = patients[found.event] == 1
    times = np.where(
        happened,
        rounded_up(patients[found.time], [one.time for one in steps if one.events > 0]),
        rounded_up(patients[found.time], [one.time for one in steps if one.censored > 0]),
    )
    return max(
        error(
            [point.survival for point in curve.points],
            product_limit(times[mine], happened[mine], [point.time for point in curve.points]),
        )
        for group, curve in curves.items()
        for mine in [patients[found.group] == group]
    )


def rounded_up(times: Floats, ends: Sequence[float]) -> Floats:
    """Return each time's next end; the last one for those beyond it."""
    known: Floats = np.unique(np.asarray(ends, dtype=np.float64))
    return known[np.minimum(np.searchsorted(known, times), len(known) - 1)]


def product_limit(times: Floats, happened: Mask, at: Sequence[float]) -> Floats:
    """Return the survival after each of the times `at`.

    Source: Kaplan, Meier, JASA 53, 1958, equation 2.1.
    """
    died = np.unique(times[happened])
    steps = [1 - (times[happened] == t).sum() / (times >= t).sum() for t in died]
    left = [math.prod(s for t, s in zip(died, steps, strict=True) if t <= a) for a in at]
    return np.array(left, dtype=np.float64)


def error(found: Sequence[float | None], expected: Sequence[float] | Floats) -> float:
    """Return the largest difference, relative to 1 or the value; infinite if one is missing."""
    if any(value is None for value in found):
        return float("inf")
    wanted = np.asarray(expected, dtype=np.float64)
    difference = np.abs(np.array(found, dtype=np.float64) - wanted)
    return float((difference / np.maximum(1.0, np.abs(wanted))).max())
