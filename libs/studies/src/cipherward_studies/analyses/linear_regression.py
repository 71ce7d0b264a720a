"""Ordinary least squares of a number on others, from sums and sums of products."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from cipherward_studies.analysis import Cell, OneRound, Round
from cipherward_studies.distributions import f_sf, t_quantile, t_two_sided
from cipherward_studies.errors import AnalysisRefused
from cipherward_studies.forms import Form, variable_name, variable_names
from cipherward_studies.number_forms import Number
from cipherward_studies.second_moments import ERROR_OF_SUMS, SecondMoments, Totals, all_pairs
from cipherward_studies.variables import Columns, Integers, Mask, Variable

# Below this reciprocal condition of the correlation matrix a double's 53 bits leave no digits.
COLLINEAR = 1e-12
INTERCEPT = "intercept"


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A predictor's effect, for one unit of it, in units of what is explained.

    Attributes:
        statistic, p_value: Student's t, and the test that the effect is 0.
        lower, upper: the confidence interval.
    """

    variable: str
    unit: str
    estimate: float
    standard_error: float
    statistic: float
    p_value: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Fit:
    """How the whole regression fits.

    Attributes:
        residual_variance: unbiased; divided by degrees_of_freedom.
        f, f_p_value: of all predictors together; None when nothing is left unexplained.
    """

    r_squared: float
    adjusted_r_squared: float
    residual_variance: float
    degrees_of_freedom: int
    f: float | None
    f_p_value: float | None


@dataclass(frozen=True, slots=True)
class LinearRegressionResult:
    """The coefficients of `variable` on the predictors, the intercept first.

    outcome: `computed`, or why there are none: `left_out`: a variable's cell was too small;
        `too_few_patients`; `constant`: a variable does not vary; `collinear`: predictors depend on
        each other.
    """

    kind: ClassVar[str] = "linear_regression"

    variable: str
    patients: int
    confidence: float
    outcome: str
    coefficients: tuple[Coefficient, ...]
    fit: Fit | None

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "variable": self.variable,
            "patients": self.patients,
            "confidence": self.confidence,
            "outcome": self.outcome,
            "coefficients": self.to_rows(),
            "fit": None if self.fit is None else asdict(self.fit),
        }

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one row a coefficient."""
        return [asdict(coefficient) for coefficient in self.coefficients]


@dataclass(frozen=True, slots=True)
class LinearRegressionPlan(OneRound):
    """The sums of the predictors, then of what they explain, and all their products."""

    moments: SecondMoments
    confidence: float

    @property
    def cells(self) -> tuple[Cell, ...]:
        """As the sums'."""
        return self.moments.cells

    @property
    def slots(self) -> int:
        """As the sums'."""
        return self.moments.slots

    def count(self, rows: Columns) -> Integers:
        """Return the cells' counts over a chunk."""
        return self.moments.count(rows)

    def local(self, rows: Columns, allowed: Mask, parameters: bytes) -> Integers:
        """Return the sums over a chunk; zeros when one of them may not be published."""
        if not bool(allowed.all()):
            return np.zeros(self.slots, dtype=np.int64)
        return self.moments.local(rows, allowed)

    def sensitivity(self, parameters: bytes) -> float:
        """Return the L2 effect of one patient, in steps."""
        return self.moments.sensitivity()

    def finish(self, rounds: Sequence[Round], allowed: Mask) -> LinearRegressionResult:
        """Return the regression, or why there is none."""
        totals = self.moments.totals(rounds[0])
        solved = "left_out" if not bool(allowed.all()) else _solved(totals, self.confidence)
        coefficients, fit = ((), None) if isinstance(solved, str) else solved
        return LinearRegressionResult(
            variable=self.moments.variables[-1].name,
            patients=totals.count,
            confidence=self.confidence,
            outcome=solved if isinstance(solved, str) else "computed",
            coefficients=coefficients,
            fit=fit,
        )

    def error_bounds(self) -> Mapping[str, str]:
        """Return the error of the sums, and what the equations make of it."""
        return {
            "linear_regression": ERROR_OF_SUMS
            + "; the normal equations multiply a relative error of the sums by the condition of "
            "the predictors' correlation matrix"
        }


@dataclass(frozen=True, slots=True)
class LinearRegression:
    """Least squares of `outcome` on the predictors, with an intercept."""

    kind: ClassVar[str] = "linear_regression"
    forms: ClassVar[tuple[Form, ...]] = (
        variable_name("outcome"),
        variable_names("predictors", 1, 63),
        Number("confidence", 0.5, 0.999, 0.95),
    )

    outcome: str
    predictors: tuple[str, ...]
    confidence: float

    @property
    def outputs(self) -> tuple[str, ...]:
        """The regression."""
        return ("linear_regression",)

    @property
    def variables(self) -> tuple[str, ...]:
        """The predictors, then what they explain."""
        return *self.predictors, self.outcome

    def plan(self, variables: Mapping[str, Variable]) -> LinearRegressionPlan:
        """Return the sums that the normal equations need."""
        if self.outcome in self.predictors:
            raise AnalysisRefused(f"{self.outcome} cannot explain itself")
        used = tuple(variables[name] for name in self.variables)
        return LinearRegressionPlan(SecondMoments(used, all_pairs(len(used))), self.confidence)


def _solved(totals: Totals, confidence: float) -> tuple[tuple[Coefficient, ...], Fit] | str:
    """Solve the normal equations of centred, scaled variables; or say what is in the way.

    Source: Draper, Smith, "Applied Regression Analysis", 3rd ed., 5.5 (the correlation form).
    """
    y = len(totals.variables) - 1
    freedom = totals.count - y - 1
    if freedom < 1:
        return "too_few_patients"
    total = float(totals.centred(y, y))
    scales = np.sqrt([max(float(totals.centred(i, i)), 0.0) for i in range(y)])
    if total <= 0.0 or not bool(scales.all()):
        return "constant"
    squares = np.array([[float(totals.centred(i, j)) for j in range(y)] for i in range(y)])
    correlation = squares / np.outer(scales, scales)
    eigenvalues = np.linalg.eigvalsh(correlation)
    if float(eigenvalues[0]) <= COLLINEAR * float(eigenvalues[-1]):
        return "collinear"
    products = np.array([float(totals.centred(i, y)) for i in range(y)])
    inverse = np.linalg.inv(correlation) / np.outer(scales, scales)
    slopes = np.linalg.solve(correlation, products / scales) / scales
    residual = max(total - float(slopes @ products), 0.0)
    variance = residual / freedom
    means = np.array([float(totals.mean(i)) for i in range(y)])
    errors = np.sqrt(variance * np.diag(inverse))
    intercept = float(totals.mean(y)) - float(slopes @ means)
    intercept_error = math.sqrt(variance * (1 / totals.count + float(means @ inverse @ means)))
    outcome = totals.variables[y]
    named = [
        (INTERCEPT, outcome.unit, intercept, intercept_error),
        *(
            (one.name, one.unit, float(slope), float(error))
            for one, slope, error in zip(totals.variables[:y], slopes, errors, strict=True)
        ),
    ]
    quantile = t_quantile((1.0 + confidence) / 2.0, freedom)
    coefficients = tuple(
        _coefficient(name, unit, estimate, error, freedom, quantile)
        for name, unit, estimate, error in named
    )
    return coefficients, _fit(residual, total, y, freedom)


def _coefficient(
    name: str, unit: str, estimate: float, error: float, freedom: int, quantile: float
) -> Coefficient:
    # A perfect fit has no error: any coefficient but 0 is then certain.
    statistic = estimate / error if error > 0.0 else 0.0
    p_value = t_two_sided(statistic, freedom) if error > 0.0 else float(estimate == 0.0)
    return Coefficient(
        variable=name,
        unit=unit,
        estimate=estimate,
        standard_error=error,
        statistic=statistic,
        p_value=p_value,
        lower=estimate - quantile * error,
        upper=estimate + quantile * error,
    )


def _fit(residual: float, total: float, predictors: int, freedom: int) -> Fit:
    variance = residual / freedom
    unexplained = residual / total
    f = (total - residual) / predictors / variance if variance > 0.0 else None
    return Fit(
        r_squared=1.0 - unexplained,
        adjusted_r_squared=1.0 - unexplained * (freedom + predictors) / freedom,
        residual_variance=variance,
        degrees_of_freedom=freedom,
        f=f,
        f_p_value=None if f is None else f_sf(f, predictors, freedom),
    )
