"""Survival and models through a whole study: from the document to the answer, with the minimum."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import lifelines
import lifelines.datasets
import numpy as np
import pytest
import sklearn.datasets
import statsmodels.api

from cipherward_studies.analyses.anova import AnovaResult
from cipherward_studies.analyses.cox_result import CoxResult
from cipherward_studies.analyses.logistic_result import LogisticResult
from cipherward_studies.analyses.survival import SurvivalResult
from cipherward_studies.analyses.t_test import TTestResult
from cipherward_studies.answer import Answer
from cipherward_studies.errors import DraftInvalid, FlagUndeclared
from cipherward_studies.plan import Plan
from cipherward_studies.variables import Columns

models: Any = statsmodels.api
theirs: Any = lifelines
datasets: Any = lifelines.datasets
learn: Any = sklearn.datasets

Run = Callable[[dict[str, Any], Sequence[Columns]], Answer]
Split = Callable[[Columns, Sequence[int]], list[Columns]]
Compile = Callable[[dict[str, Any]], Plan]


def rossi() -> tuple[Columns, list[dict[str, Any]]]:
    """Return the 432 convicts of Rossi et al. 1980, and their variables."""
    data = datasets.load_rossi()
    rows = {
        "week": data["week"].to_numpy(float),
        "arrest": data["arrest"].to_numpy(float),
        "fin": data["fin"].to_numpy(float),
        "age": data["age"].to_numpy(float),
        "prio": data["prio"].to_numpy(float),
    }
    order = np.random.default_rng(1).permutation(len(data))
    variables: list[dict[str, Any]] = [
        {"name": "week", "low": 0, "high": 52},
        {"name": "arrest", "kind": "flag"},
        {"name": "fin", "kind": "flag"},
        {"name": "age", "low": 17, "high": 44},
        {"name": "prio", "low": 0, "high": 18},
    ]
    return {name: column[order] for name, column in rows.items()}, variables


def test_cox_on_rossi_is_the_pooled_regression_of_the_published_buckets(
    answer: Run, split: Split
) -> None:
    rows, variables = rossi()
    analysis = {
        "kind": "cox",
        "time": "week",
        "event": "arrest",
        "predictors": ["fin", "age", "prio"],
        "ends": [13, 26, 39, 52],
    }
    found = answer({"variables": variables, "analyses": [analysis]}, split(rows, [150, 150, 132]))
    (result,) = found.results
    assert isinstance(result, CoxResult)
    assert result.outcome == "converged"
    assert found.rounds == result.rounds <= 6
    design = np.column_stack([rows[name] for name in ("fin", "age", "prio")])
    weeks = np.array(result.ends)[np.searchsorted(result.ends, rows["week"])]
    pooled = models.PHReg(weeks, design, status=rows["arrest"], ties="breslow").fit(disp=0)
    for one, estimate, error in zip(result.coefficients, pooled.params, pooled.bse, strict=True):
        assert abs(one.estimate - estimate) < 1e-4 * error
        assert one.standard_error == pytest.approx(error, rel=1e-4)
    # In 13 weeks too few of those who had money are arrested, beside one member's own.
    assert result.ends == (26.0, 52.0)
    json.dumps(found.to_document(), allow_nan=False)


def test_survival_on_rossi_is_the_pooled_curve_at_the_published_ends(
    answer: Run, split: Split
) -> None:
    rows, variables = rossi()
    analysis = {
        "kind": "survival",
        "time": "week",
        "event": "arrest",
        "ends": list(range(4, 53, 4)),
        "group": "fin",
        "groups": [0, 1],
    }
    document = {"variables": variables[:3], "analyses": [analysis]}
    found = answer(document, split(rows, [150, 150, 132]))
    (result,) = found.results
    assert isinstance(result, SurvivalResult)
    for one in result.groups:
        mine = rows["fin"] == one.group
        pooled = theirs.KaplanMeierFitter().fit(rows["week"][mine], rows["arrest"][mine])
        assert one.curve is not None
        assert len(one.curve.points) >= 2
        for point in one.curve.points:
            # Nobody is censored before the end: at every published end the curve is the pooled one.
            assert point.survival == pytest.approx(float(pooled.predict(point.time)), abs=1e-12)
    assert result.log_rank is not None
    test = theirs.statistics.logrank_test(
        rows["week"][rows["fin"] == 0],
        rows["week"][rows["fin"] == 1],
        rows["arrest"][rows["fin"] == 0],
        rows["arrest"][rows["fin"] == 1],
    )
    assert result.log_rank.statistic == pytest.approx(test.test_statistic, rel=0.1)


def breast_cancer() -> tuple[Columns, list[dict[str, Any]]]:
    """Return 569 tumours, and three of their variables."""
    data = learn.load_breast_cancer()
    rows = {"malignant": (data.target == 0).astype(float)}
    variables: list[dict[str, Any]] = [{"name": "malignant", "kind": "flag"}]
    for place, name, high in ((0, "radius", 30), (1, "texture", 40), (8, "symmetry", 0.4)):
        rows[name] = data.data[:, place]
        variables.append({"name": name, "low": 0, "high": high})
    return rows, variables


def test_models_of_one_study_are_those_of_statsmodels(answer: Run, split: Split) -> None:
    rows, variables = breast_cancer()
    analyses: list[dict[str, Any]] = [
        {
            "kind": "logistic_regression",
            "outcome": "malignant",
            "predictors": ["radius", "texture", "symmetry"],
        },
        {"kind": "t_test", "variable": "radius", "group": "malignant", "groups": [0, 1]},
        {"kind": "anova", "variable": "texture", "group": "malignant", "groups": [0, 1]},
    ]
    found = answer({"variables": variables, "analyses": analyses}, split(rows, [200, 200, 169]))
    regression, t_test, anova = found.results
    assert isinstance(regression, LogisticResult)
    assert isinstance(t_test, TTestResult)
    assert isinstance(anova, AnovaResult)
    design = np.column_stack(
        [np.ones(569), *(rows[name] for name in ("radius", "texture", "symmetry"))]
    )
    pooled = models.Logit(rows["malignant"], design).fit(disp=0, tol=1e-12)
    assert regression.outcome == "converged"
    estimates = [one.estimate for one in regression.coefficients]
    errors = [one.standard_error for one in regression.coefficients]
    assert estimates == pytest.approx(list(pooled.params), rel=1e-6)
    assert errors == pytest.approx(list(pooled.bse), rel=1e-4)
    assert t_test.outcome == anova.outcome == "tested"
    assert anova.f_statistic is not None


def test_a_private_study_ends_with_a_named_outcome(plan: Compile) -> None:
    _, variables = breast_cancer()
    analysis = {
        "kind": "logistic_regression",
        "outcome": "malignant",
        "predictors": ["radius", "texture"],
    }
    document: dict[str, Any] = {
        "variables": variables[:3],
        "analyses": [analysis],
        "rho_micro": 1_000_000,
    }
    compiled = plan(document)
    (block,) = compiled.noise(b"")[1:]
    assert block.stop - block.start == compiled.analyses[0].slots
    assert block.sigma > 0


@pytest.mark.parametrize(
    ("analysis", "text"),
    [
        ({"kind": "t_test", "variable": "radius", "group": "malignant", "groups": [1]}, "2"),
        ({"kind": "logistic_regression", "outcome": "radius", "predictors": ["texture"]}, "flag"),
        ({"kind": "logistic_regression", "outcome": "malignant", "predictors": []}, "1 to"),
        ({"kind": "anova", "variable": "radius", "group": "", "groups": [0, 1]}, "variable"),
        (
            {"kind": "survival", "time": "radius", "event": "texture", "ends": [1, 2]},
            "not a flag",
        ),
        ({"kind": "survival", "time": "radius", "event": "malignant", "ends": [2, 1]}, "above"),
        (
            {"kind": "cox", "time": "radius", "event": "malignant", "predictors": ["radius"]},
            "lacks ends",
        ),
    ],
)
def test_a_document_that_asks_for_nonsense_says_where(
    analysis: dict[str, Any], text: str, plan: Compile
) -> None:
    _, variables = breast_cancer()
    with pytest.raises(DraftInvalid) as refused:
        plan({"variables": variables, "analyses": [analysis]})
    faults = [fault for fault in refused.value.faults if fault.pointer.startswith("/analyses/0")]
    assert any(text in fault.text for fault in faults)


def test_an_event_that_is_declared_a_number_is_refused(plan: Compile) -> None:
    rows, variables = rossi()
    variables[2] = {"name": "fin", "low": 0, "high": 1}
    analysis = {
        "kind": "cox",
        "time": "week",
        "event": "arrest",
        "predictors": ["fin", "age"],
        "ends": [26, 52],
    }
    compiled = plan({"variables": variables[:4], "analyses": [analysis]})
    with pytest.raises(FlagUndeclared):
        compiled.count([rows])


def test_buckets_that_cross_the_bins_of_a_histogram_are_refused(plan: Compile) -> None:
    _, variables = rossi()
    survival = {"kind": "survival", "time": "week", "event": "arrest", "ends": [13, 26, 39, 52]}
    histogram = {"kind": "histogram", "variable": "week", "bins": 4}
    compiled = plan({"variables": variables[:2], "analyses": [survival, histogram]})
    assert len(compiled.analyses) == 2
    crossing = survival | {"ends": [10, 20, 30, 52]}
    with pytest.raises(DraftInvalid, match="cuts week in other places"):
        plan({"variables": variables[:2], "analyses": [crossing, histogram]})
