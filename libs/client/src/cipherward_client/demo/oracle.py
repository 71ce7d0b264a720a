"""What the study must say: the same statistics of all patients pooled in the clear, by numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cipherward_client.sdk.study_requests import PROFILE
from cipherward_client.sdk.study_results import StudyResult
from cipherward_threshold.parameters import profile
from cipherward_threshold.study import Rows, StudyPlan


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far a released result is from the pooled patients'.

    `sums_equal` of `sums` decrypted integers are those of the members' own fixed-point sums.
    Errors are relative to the larger of 1 and the value; `moments_error` is over all sums, means
    and variances, `regression_error` over coefficients, standard errors and R squared.
    """

    sums: int
    sums_equal: int
    count_equal: bool
    moments_error: float
    regression_error: float

    @property
    def exact(self) -> bool:
        """Whether every decrypted integer is the right one."""
        return 0 < self.sums == self.sums_equal


def compare(plan: StudyPlan, tables: Sequence[Rows], result: StudyResult) -> Comparison:
    """Compare a result with the members' tables, [patients, plan.names] each, pooled."""
    modulus = profile(PROFILE).plain_modulus
    parts = [plan.sums(rows, contributors=len(tables), modulus=modulus) for rows in tables]
    totals = [sum(column) for column in zip(*parts, strict=True)]
    equal = sum(a == b for a, b in zip(totals, result.totals, strict=True))
    pooled = np.concatenate(list(tables))
    found = result.statistics
    names = plan.names
    moments = [
        _error([found.sums[name] for name in names], pooled.sum(axis=0)),
        _error([found.means[name] for name in names], pooled.mean(axis=0)),
        _error([found.variances[name] for name in names], pooled.var(axis=0, ddof=1)),
    ]
    return Comparison(
        sums=len(totals),
        sums_equal=equal,
        count_equal=found.count == len(pooled),
        moments_error=max(moments),
        regression_error=_regression_error(plan, pooled, result),
    )


def _regression_error(plan: StudyPlan, pooled: Rows, result: StudyResult) -> float:
    """Return the largest error against least squares by numpy's SVD, which shares no code."""
    found = result.statistics.regression
    if found is None:
        return float("inf")
    place = plan.names.index(plan.outcome)
    y, others = pooled[:, place], np.delete(pooled, place, axis=1)
    names = [name for name in plan.names if name != plan.outcome]
    design = np.column_stack([np.ones(len(y)), others])
    beta = np.linalg.lstsq(design, y, rcond=None)[0]
    residual = y - design @ beta
    variance = float(residual @ residual) / (len(y) - design.shape[1])
    inverse = np.linalg.pinv(design)
    errors = np.sqrt(variance * (inverse * inverse).sum(axis=1))
    r_squared = 1 - float(residual @ residual) / float(((y - y.mean()) ** 2).sum())
    coefficients = [found.intercept, *(found.coefficients[name] for name in names)]
    standard = [found.intercept_standard_error, *(found.standard_errors[name] for name in names)]
    return max(
        _error(coefficients, beta),
        _error(standard, errors),
        abs(found.r_squared - r_squared),
    )


def _error(found: Sequence[float], expected: NDArray[np.floating[Any]]) -> float:
    difference = np.abs(np.array(found) - expected)
    return float((difference / np.maximum(1.0, np.abs(expected))).max())
