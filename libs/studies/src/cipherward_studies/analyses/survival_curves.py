"""Kaplan-Meier curves and the log-rank test from numbers of events and censored patients.

Sources: Kaplan, Meier, JASA 53, 1958; Greenwood's variance and bands of log(-log S): Kalbfleisch,
Prentice, "The Statistical Analysis of Failure Time Data", 2nd ed., 1.4; interval of the median:
Brookmeyer, Crowley, Biometrics 38, 1982; log-rank test of k groups: Klein, Moeschberger, "Survival
Analysis", 2nd ed., 7.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cipherward_studies.distributions import chi_square_sf, normal_quantile
from cipherward_studies.variables import Floats

ROUNDING = 1e-12  # a product of fractions that is one half may come out this much above it
EXPONENT_MAX = 700.0  # exp of more is infinite


@dataclass(frozen=True, slots=True)
class Point:
    """A step of a curve, at the end of a bucket in which patients leave.

    Attributes:
        at_risk: patients who have not left before this bucket.
        standard_error, lower, upper: Greenwood's, and the band of log(-log S); None where they do
            not exist: at a survival of 0 and, for the band, of 1.
    """

    time: float
    at_risk: float
    events: float
    censored: float
    survival: float
    standard_error: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class Curve:
    """The survival of one group.

    Attributes:
        median: end of the first bucket in which survival is at most one half, with its interval;
            None if the curve, or the band, does not come that far down.
    """

    patients: float
    events: float
    points: tuple[Point, ...]
    median: float | None
    median_lower: float | None
    median_upper: float | None


@dataclass(frozen=True, slots=True)
class LogRank:
    """A test that all groups have one survival."""

    statistic: float
    degrees_of_freedom: int
    p_value: float


def curve(ends: Sequence[float], events: Floats, censored: Floats, confidence: float) -> Curve:
    """Return the Kaplan-Meier curve of patients who leave in buckets.

    Args:
        ends: of the buckets.
        events, censored: who leaves in each, not negative. The censored stay for the events of
            their bucket.
        confidence: of band and interval, 0..1.
    """
    leaving = events + censored
    at_risk = np.cumsum(leaving[::-1])[::-1]
    width = normal_quantile((1 + confidence) / 2)
    survival, variance = 1.0, 0.0
    points: list[Point] = []
    for place in map(int, np.flatnonzero(leaving > 0)):
        present, left = float(at_risk[place]), float(events[place])
        survival *= 1 - left / present
        variance += left / (present * (present - left)) if left < present else 0.0
        lower, upper = _band(survival, variance, width)
        points.append(
            Point(
                time=float(ends[place]),
                at_risk=present,
                events=left,
                censored=float(censored[place]),
                survival=survival,
                standard_error=survival * variance**0.5 if survival > 0 else None,
                lower=lower,
                upper=upper,
            )
        )
    return Curve(
        patients=float(leaving.sum()),
        events=float(events.sum()),
        points=tuple(points),
        median=_first_half(points, lambda point: point.survival),
        median_lower=_first_half(points, lambda point: point.lower),
        median_upper=_first_half(points, lambda point: point.upper),
    )


def log_rank(events: Floats, censored: Floats) -> LogRank | None:
    """Return the test over groups, or None when nothing can be compared.

    Args:
        events, censored: [groups, buckets], at least two groups.
    """
    at_risk = np.cumsum((events + censored)[:, ::-1], axis=1)[:, ::-1]
    died, present = events.sum(axis=0), at_risk.sum(axis=0)
    used = (died > 0) & (present > 1)
    if not used.any():
        return None
    died, present, at_risk = died[used], present[used], at_risk[:, used]
    shares = at_risk / present
    excess: Floats = np.sum(events[:, used] - died * shares, axis=1)[1:]
    spread = died * (present - died) / (present - 1)
    whole = np.diag((shares * spread).sum(axis=1)) - (shares * spread) @ shares.T
    variance = np.array(whole[1:, 1:], dtype=np.float64)
    if np.linalg.eigvalsh(variance)[0] <= 1e-12 * np.trace(variance):
        return None  # a group has nobody at risk when others have events
    solved: Floats = np.array(np.linalg.solve(variance, excess), dtype=np.float64)
    statistic = float(np.sum(excess * solved))
    freedom = len(events) - 1
    return LogRank(statistic, freedom, chi_square_sf(statistic, freedom))


def _band(survival: float, variance: float, width: float) -> tuple[float | None, float | None]:
    if not 0 < survival < 1:
        return None, None
    # Bounded, because a survival that noise leaves a hair below 1 would overflow.
    factor = math.exp(min(width * math.sqrt(variance) / -math.log(survival), EXPONENT_MAX))
    return survival**factor, survival ** (1 / factor)


def _first_half(points: Sequence[Point], of: Callable[[Point], float | None]) -> float | None:
    for point in points:
        value = of(point)
        if value is not None and value <= 0.5 + ROUNDING:
            return point.time
    return None
