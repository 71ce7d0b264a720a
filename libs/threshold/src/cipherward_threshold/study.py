"""A study over several members' patients: what each encrypts, and what is finished after release.

Every statistic here follows from sums over patients, and sums over members are all that the
additive scheme needs. A plan is a pure function of the study's text, so that contributors and the
researcher agree on every slot without a word. Needs no ring and no TenSEAL.

| ciphertext | slots |
|---|---|
| counts | patients with complete rows; 1 if the member has any |
| sums | patients; the sum of each variable; products of pairs, upper triangle by rows |

Only what the statistics need is encrypted: products, or the squares alone, are left out otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from cipherward_threshold.encoding import FixedPoint
from cipherward_threshold.errors import ThresholdError

Rows = NDArray[np.float64]  # [patients, variables], NaN where a value is missing

STATISTICS = ("count", "sum", "mean", "variance", "covariance", "linear_regression")
VARIABLES_MAX = 64  # 2,145 sums: a quarter of a ciphertext, and more than a regression bears
COUNT_SLOTS = 2
CONTRIBUTORS_MIN = 3  # of two, each could subtract its own part and read the other's
# Below this reciprocal condition of the correlation matrix a double's 53 bits leave no digits.
COLLINEAR = 1e-12


class PlanRefused(ThresholdError):
    """A study that cannot be computed: its variables, ranges, outcome or statistics."""


class RowsMalformed(ThresholdError):
    """Rows do not have one column for each variable of the plan."""


class CollinearVariables(ThresholdError):
    """The variables depend on each other, or vary too little: no regression follows."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A column and its plausible range, both ends included: a value outside counts as missing."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LinearRegression:
    """Ordinary least squares of the outcome on all other variables, with an intercept.

    Attributes:
        coefficients, standard_errors: by variable.
        residual_variance: unbiased; divided by degrees_of_freedom.
        r_squared: explained share of the outcome's variance, 0..1.
    """

    intercept: float
    intercept_standard_error: float
    coefficients: Mapping[str, float]
    standard_errors: Mapping[str, float]
    residual_variance: float
    r_squared: float
    degrees_of_freedom: int


@dataclass(frozen=True, slots=True)
class StudyStatistics:
    """What a released study says; a field that was not asked for is empty or None.

    `covariances` has an entry (a, b) for a before or equal to b in the plan's order; variances and
    covariances are unbiased (divided by count - 1) and need two patients.
    """

    count: int
    sums: Mapping[str, float]
    means: Mapping[str, float]
    variances: Mapping[str, float]
    covariances: Mapping[tuple[str, str], float]
    regression: LinearRegression | None


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """Which sums a study needs, in which slot.

    Attributes:
        variables: distinct names, in the study's order; the outcome is one of them.
        outcome: what a regression explains; "" without one.
        statistics: of STATISTICS, each once; "count" among them.
        fraction_bits: sums are integers in steps of 2^-fraction_bits.

    Raises:
        PlanRefused: not as above.
        ValueOutOfRange: fraction_bits is out of range.
    """

    variables: tuple[Variable, ...]
    outcome: str
    statistics: tuple[str, ...]
    fraction_bits: int

    def __post_init__(self) -> None:
        FixedPoint(self.fraction_bits)
        names = self.names
        if not 1 <= len(names) <= VARIABLES_MAX or len(set(names)) != len(names):
            raise PlanRefused(f"a study has 1 to {VARIABLES_MAX} variables of different names")
        for variable in self.variables:
            if not (math.isfinite(variable.low) and math.isfinite(variable.high)):
                raise PlanRefused("a plausible range is not finite", variable=variable.name)
            if variable.low >= variable.high:
                raise PlanRefused("a plausible range is empty", variable=variable.name)
        wanted = set(self.statistics)
        if not wanted <= set(STATISTICS) or len(wanted) != len(self.statistics):
            raise PlanRefused(f"statistics are of {', '.join(STATISTICS)}, each once")
        if "count" not in wanted:
            raise PlanRefused("every study counts its patients")
        if ("linear_regression" in wanted) != bool(self.outcome):
            raise PlanRefused("a regression, and nothing else, has an outcome")
        if self.outcome and (self.outcome not in names or len(names) < 2):
            raise PlanRefused("the outcome is not one of several variables")

    @property
    def names(self) -> tuple[str, ...]:
        """The variables' names, in order."""
        return tuple(variable.name for variable in self.variables)

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The pairs of variables whose products are summed, by place, in slot order."""
        places = range(len(self.variables))
        if {"covariance", "linear_regression"} & set(self.statistics):
            return tuple(combinations_with_replacement(places, 2))
        return tuple((i, i) for i in places) if "variance" in self.statistics else ()

    @property
    def sum_slots(self) -> int:
        """How many slots the sums take."""
        return 1 + (len(self.variables) if self.statistics != ("count",) else 0) + len(self.pairs)

    def complete(self, rows: Rows) -> Rows:
        """Return the rows in which no value is missing or outside its plausible range.

        Raises:
            RowsMalformed: not one column for each variable.
        """
        if rows.ndim != 2 or rows.shape[1] != len(self.variables):
            raise RowsMalformed("rows do not have the plan's columns", need=len(self.variables))
        low = np.array([variable.low for variable in self.variables])
        high = np.array([variable.high for variable in self.variables])
        return rows[((rows >= low) & (rows <= high)).all(axis=1)]  # false for NaN

    def counts(self, rows: Rows) -> list[int]:
        """Return the integers of a member's counts, COUNT_SLOTS of them."""
        patients = len(self.complete(rows))
        return [patients, int(patients > 0)]

    def sums(self, rows: Rows, *, contributors: int, modulus: int) -> list[int]:
        """Return the integers of a member's sums, `sum_slots` of them.

        Args:
            rows: its patients.
            contributors: how many such vectors are added: none of the totals wraps.
            modulus: the profile's `plain_modulus`.

        Raises:
            RowsMalformed: as `complete`.
            ValueOutOfRange: a sum is too large for its fixed point: the study has too many
                fraction bits for that many patients and such ranges.
        """
        kept = self.complete(rows)
        values: list[float] = [len(kept)]
        if self.sum_slots > 1:
            # fsum: one rounding a sum, whatever the order of the patients.
            values += [math.fsum(kept[:, i]) for i in range(len(self.variables))]
            values += [math.fsum(kept[:, i] * kept[:, j]) for i, j in self.pairs]
        return FixedPoint(self.fraction_bits).encode(
            values, contributors=contributors, modulus=modulus
        )

    def finish(self, totals: Sequence[int]) -> StudyStatistics:
        """Return the statistics that follow from released totals, `sum_slots` of them.

        Exact rational arithmetic up to the division by the count: nothing cancels.

        Raises:
            RowsMalformed: another number of totals, or a count that is none.
            CollinearVariables: the regression has no one solution.
        """
        if len(totals) != self.sum_slots:
            raise RowsMalformed("another number of totals", have=len(totals), need=self.sum_slots)
        step = 1 << self.fraction_bits
        count, rest = divmod(totals[0], step)
        if rest or count < 0:
            raise RowsMalformed("the count is not a number of patients")
        moments = _Moments.of(self, count, [Fraction(total, step) for total in totals[1:]])
        wanted = set(self.statistics)
        names = self.names
        several = count > 1
        return StudyStatistics(
            count=count,
            sums=_floats(names, moments.sums) if "sum" in wanted else {},
            means=_floats(names, moments.means()) if "mean" in wanted and count else {},
            variances=(
                _floats(names, [moments.covariance(i, i) for i in range(len(names))])
                if "variance" in wanted and several
                else {}
            ),
            covariances=(
                {(names[i], names[j]): float(moments.covariance(i, j)) for i, j in self.pairs}
                if "covariance" in wanted and several
                else {}
            ),
            regression=_regression(self, moments) if self.outcome else None,
        )


@dataclass(frozen=True, slots=True)
class _Moments:
    """Exact sums of the variables and of their products, by place."""

    count: int
    sums: list[Fraction]
    products: dict[tuple[int, int], Fraction]

    @classmethod
    def of(cls, plan: StudyPlan, count: int, values: Sequence[Fraction]) -> _Moments:
        width = len(values) - len(plan.pairs)
        return cls(count, list(values[:width]), dict(zip(plan.pairs, values[width:], strict=True)))

    def means(self) -> list[Fraction]:
        return [total / self.count for total in self.sums]

    def centred(self, i: int, j: int) -> Fraction:
        """Return the sum of (a - mean a)(b - mean b)."""
        product = self.products[min(i, j), max(i, j)]
        return product - self.sums[i] * self.sums[j] / self.count

    def covariance(self, i: int, j: int) -> Fraction:
        return self.centred(i, j) / (self.count - 1)


def _floats(names: Sequence[str], values: Sequence[Fraction]) -> dict[str, float]:
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def _regression(plan: StudyPlan, moments: _Moments) -> LinearRegression:
    """Solve the normal equations of centred, scaled variables.

    Source: Draper, Smith, "Applied Regression Analysis", 3rd ed., 5.5 (the correlation form).
    """
    y = plan.names.index(plan.outcome)
    others = [i for i in range(len(plan.names)) if i != y]
    freedom = moments.count - len(others) - 1
    if freedom < 1:
        raise CollinearVariables("too few patients for this many variables", have=moments.count)
    total = float(moments.centred(y, y))
    scales = np.sqrt([max(float(moments.centred(i, i)), 0.0) for i in others])
    if total <= 0 or not scales.all():
        raise CollinearVariables("a variable does not vary")
    squares = np.array([[float(moments.centred(i, j)) for j in others] for i in others])
    correlation = squares / np.outer(scales, scales)
    if 1 / np.linalg.cond(correlation) < COLLINEAR:
        raise CollinearVariables("the variables depend on each other")
    products = np.array([float(moments.centred(i, y)) for i in others])
    inverse = np.linalg.inv(correlation) / np.outer(scales, scales)
    slopes = np.linalg.solve(correlation, products / scales) / scales
    residual = max(total - float(slopes @ products), 0.0)
    variance = residual / freedom
    means = np.array([float(moments.sums[i] / moments.count) for i in others])
    names = [plan.names[i] for i in others]
    errors = np.sqrt(variance * np.diag(inverse))
    return LinearRegression(
        intercept=float(moments.sums[y] / moments.count) - float(slopes @ means),
        intercept_standard_error=math.sqrt(
            variance * (1 / moments.count + float(means @ inverse @ means))
        ),
        coefficients=dict(zip(names, (float(x) for x in slopes), strict=True)),
        standard_errors=dict(zip(names, (float(x) for x in errors), strict=True)),
        residual_variance=variance,
        r_squared=1 - residual / total,
        degrees_of_freedom=freedom,
    )
