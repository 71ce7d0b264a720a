"""Coefficients of a model as they are printed, and what it can end with.

| outcome | what it says |
|---|---|
| converged | the estimates are where the likelihood is greatest |
| not_converged | rounds ended first; the estimates are the last step's |
| collinear | covariates depend on each other, or one hardly varies over its plausible range |
| separated | a combination of covariates tells the outcomes apart: there is no maximum |
| no_events | nobody has the event within the buckets |
| left_out | a cell behind the model's sums is too small: nothing was released |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cipherward_studies.analyses.newton import Collinear, Look, Separated, Step, search, step
from cipherward_studies.analyses.points import fits
from cipherward_studies.distributions import chi_square_sf, normal_quantile, normal_sf
from cipherward_studies.variables import Floats, Variable

# Exponent beyond which a ratio is no finite double.
EXPONENT_MAX = 709.0


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A covariate's effect, for one unit of it.

    Attributes:
        estimate, standard_error: of the logarithm of odds or hazard.
        statistic, p_value: Wald's test that it is 0.
        lower, upper: its confidence interval.
        ratio, ratio_lower, ratio_upper: e^estimate with its interval; None where it is no finite
            number.
    """

    variable: str
    unit: str
    estimate: float
    standard_error: float
    statistic: float
    p_value: float
    lower: float
    upper: float
    ratio: float | None
    ratio_lower: float | None
    ratio_upper: float | None


@dataclass(frozen=True, slots=True)
class Test:
    """A chi-square test that no covariate has an effect."""

    statistic: float
    degrees_of_freedom: int
    p_value: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """Where the search stands; `found` is None for outcomes without estimates."""

    outcome: str
    found: Step | None


def estimate(looks: Sequence[Look], basis: Floats) -> Estimate:
    """Return what the looks so far give; `basis` makes their points coefficients on -1..1."""
    try:
        found = search(looks)
        if isinstance(found, Step):
            return Estimate("converged", found)
        if not fits(basis @ found):
            return Estimate("separated", None)
        best = max(looks, key=lambda look: look.likelihood)
        return Estimate("not_converged", step(best))
    except Collinear:
        return Estimate("collinear", None)
    except Separated:
        return Estimate("separated", None)


def coefficient(name: str, unit: str, value: float, error: float, confidence: float) -> Coefficient:
    """Return a coefficient with its test and interval; `error` is above 0."""
    width = normal_quantile((1 + confidence) / 2) * error
    return Coefficient(
        variable=name,
        unit=unit,
        estimate=value,
        standard_error=error,
        statistic=value / error,
        p_value=2 * normal_sf(abs(value / error)),
        lower=value - width,
        upper=value + width,
        ratio=_ratio(value),
        ratio_lower=_ratio(value - width),
        ratio_upper=_ratio(value + width),
    )


def chi_square(statistic: float, freedom: int) -> Test:
    """Return a test by its statistic, which rounding and noise may leave below 0."""
    statistic = max(statistic, 0.0)
    return Test(statistic, freedom, chi_square_sf(statistic, freedom))


def wald(point: Floats, covariance: Floats) -> Test:
    """Return Wald's test of some coefficients together."""
    return chi_square(float(point @ np.linalg.solve(covariance, point)), len(point))


def coefficient_rows(coefficients: Sequence[Coefficient]) -> list[dict[str, Any]]:
    """Return coefficients as rows for a data frame."""
    return [{name: getattr(one, name) for name in Coefficient.__slots__} for one in coefficients]


def units(covariates: Sequence[Variable]) -> Floats:
    """Return half the range of each covariate: one on -1..1, in its own unit."""
    return np.array([one.half for one in covariates])


def _ratio(logarithm: float) -> float | None:
    return math.exp(logarithm) if abs(logarithm) < EXPONENT_MAX else None
