"""Linear regression over members, against statsmodels over the pooled patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest
import statsmodels.api
from sklearn.datasets import load_diabetes

from cipherward_studies.analyses.linear_regression import LinearRegressionResult
from cipherward_studies.answer import Answer
from cipherward_studies.plan import Plan, Released
from cipherward_studies.variables import Columns

models: Any = statsmodels.api

Run = Callable[[dict[str, Any], Sequence[Columns]], Answer]
Split = Callable[[Columns, Sequence[int]], list[Columns]]
Compile = Callable[[dict[str, Any]], Plan]


def diabetes() -> tuple[Columns, list[dict[str, Any]]]:
    """Return the 442 patients of Efron et al. 2004, unscaled, and their variables."""
    bundle: Any = cast(Any, load_diabetes)(scaled=False)
    columns = {name: bundle.data[:, i] for i, name in enumerate(bundle.feature_names)}
    columns["progression"] = bundle.target
    variables: list[dict[str, Any]] = [
        {"name": "sex", "kind": "flag", "low": 1, "high": 2}
        if name == "sex"
        else {
            "name": name,
            "low": float(np.floor(column.min())),
            "high": float(np.ceil(column.max())),
        }
        for name, column in columns.items()
    ]
    return columns, variables


def regression(variables: list[dict[str, Any]], outcome: str = "progression") -> dict[str, Any]:
    predictors = [one["name"] for one in variables if one["name"] != outcome]
    return {
        "variables": variables,
        "analyses": [{"kind": "linear_regression", "outcome": outcome, "predictors": predictors}],
    }


def fitted(found: Answer) -> LinearRegressionResult:
    (result,) = found.results
    assert isinstance(result, LinearRegressionResult)
    return result


def test_the_diabetes_regression_is_that_of_statsmodels(answer: Run, split: Split) -> None:
    columns, variables = diabetes()
    found = fitted(answer(regression(variables), split(columns, [150, 120, 100, 72])))
    assert found.outcome == "computed"
    design = np.column_stack([column for name, column in columns.items() if name != "progression"])
    pooled: Any = models.OLS(columns["progression"], models.add_constant(design)).fit()
    got = found.coefficients
    assert [one.estimate for one in got] == pytest.approx(pooled.params, rel=1e-6)
    assert [one.standard_error for one in got] == pytest.approx(pooled.bse, rel=1e-6)
    assert [one.statistic for one in got] == pytest.approx(pooled.tvalues, rel=1e-6)
    assert [one.p_value for one in got] == pytest.approx(pooled.pvalues, rel=1e-5)
    interval = [(one.lower, one.upper) for one in got]
    assert np.array(interval) == pytest.approx(pooled.conf_int(), rel=1e-5)
    assert found.fit is not None
    assert found.fit.r_squared == pytest.approx(pooled.rsquared, rel=1e-8)
    assert found.fit.adjusted_r_squared == pytest.approx(pooled.rsquared_adj, rel=1e-8)
    assert found.fit.residual_variance == pytest.approx(pooled.mse_resid, rel=1e-8)
    assert found.fit.f == pytest.approx(pooled.fvalue, rel=1e-8)
    assert found.fit.f_p_value == pytest.approx(pooled.f_pvalue, rel=1e-6)
    assert found.fit.degrees_of_freedom == 431


def test_a_predictor_far_from_zero_loses_no_digits(answer: Run, split: Split) -> None:
    numbers = np.random.default_rng(3)
    x = 1e6 + numbers.uniform(0, 10, 600)
    y = 3 * (x - 1e6) + numbers.normal(0, 2, 600)
    variables = [
        {"name": "x", "low": 1_000_000, "high": 1_000_010},
        {"name": "y", "low": -20, "high": 50},
    ]
    document = regression(variables, "y")
    found = fitted(answer(document, split({"x": x, "y": y}, [200, 200, 200])))
    slope = np.polyfit(x - 1e6, y, 1)[0]
    assert found.coefficients[1].estimate == pytest.approx(slope, rel=1e-9)


def rows_of(case: str) -> tuple[Columns, list[int]]:
    numbers = np.random.default_rng(9)
    columns = {name: numbers.uniform(0, 10, 300) for name in "xyz"}
    if case == "collinear":
        columns["z"] = 10 - columns["x"]
    if case == "constant":
        columns["z"] = np.full(300, 5.0)
    return columns, [0] if case != "left_out" else [0, 1]


@pytest.mark.parametrize("case", ["computed", "collinear", "constant", "left_out"])
def test_a_regression_without_one_solution_says_why(case: str, plan: Compile) -> None:
    columns, failed = rows_of(case)
    variables: list[dict[str, Any]] = [{"name": name, "low": 0, "high": 10} for name in "xzy"]
    compiled = plan(regression(variables, "y"))
    totals = compiled.local([columns], failed, b"")
    found = fitted(compiled.finish([Released(b"", tuple(totals))], failed))
    assert found.outcome == case
    assert bool(found.coefficients) == (found.fit is not None) == (case == "computed")


def test_too_few_patients_for_the_predictors_are_named(plan: Compile) -> None:
    variables: list[dict[str, Any]] = [{"name": name, "low": 0, "high": 10} for name in "xzy"]
    compiled = plan(regression(variables, "y"))
    rows = {name: np.array([1.0, 4.0, 6.5]) for name in "xyz"}
    found = compiled.finish([Released(b"", tuple(compiled.local([rows], [0], b"")))], [0])
    assert fitted(found).outcome == "too_few_patients"


def test_a_perfect_fit_has_finite_numbers_only(plan: Compile) -> None:
    x = np.arange(64) / 8.0
    variables: list[dict[str, Any]] = [{"name": name, "low": 0, "high": 16} for name in "xy"]
    compiled = plan(regression(variables, "y"))
    totals = compiled.local([{"x": x, "y": 2 * x}], [0], b"")
    found = compiled.finish([Released(b"", tuple(totals))], [0])
    numbers = [
        value
        for row in fitted(found).to_rows()
        for value in row.values()
        if isinstance(value, float)
    ]
    assert np.isfinite(numbers).all()
    assert fitted(found).coefficients[1].estimate == pytest.approx(2.0)
