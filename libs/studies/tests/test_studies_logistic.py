"""Logistic regression over members against statsmodels on the pooled data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
import statsmodels.api
from hypothesis import given, settings
from hypothesis import strategies as st

from cipherward_chain.canonical import encode
from cipherward_studies.analyses.logistic_regression import LogisticPlan, LogisticRegression
from cipherward_studies.analyses.logistic_result import LogisticResult
from cipherward_studies.analysis import FRACTION_BITS, Round
from cipherward_studies.errors import AnalysisRefused, IterateRefused, TotalsMalformed
from cipherward_studies.variables import Columns, Integers, Variable

models: Any = statsmodels.api
datasets: Any = sklearn.datasets


def plan_of(variables: Sequence[Variable]) -> LogisticPlan:
    """Return the plan of a regression of the first variable on the others."""
    names = [variable.name for variable in variables]
    analysis = LogisticRegression(names[0], tuple(names[1:]))
    return analysis.plan({variable.name: variable for variable in variables})


def split(rows: Columns, members: int, seed: int) -> list[Columns]:
    """Return the patients dealt to members at random."""
    length = len(next(iter(rows.values())))
    owner = np.random.default_rng(seed).integers(0, members, length)
    return [{name: c[owner == m] for name, c in rows.items()} for m in range(members)]


def run(plan: LogisticPlan, members: Sequence[Columns], rounds_max: int = 50) -> LogisticResult:
    """Return what the members find together, all cells allowed."""
    patients = sum(len(next(iter(rows.values()))) for rows in members)
    allowed = np.ones(len(plan.cells), dtype=np.bool_)
    rounds: list[Round] = []
    parameters: bytes | None = b""
    while parameters is not None and len(rounds) < min(rounds_max, plan.rounds):
        plan.check(parameters)
        parts = [plan.local(rows, allowed, parameters) for rows in members]
        totals: Integers = np.sum(parts, axis=0)
        rounds.append(Round(parameters, tuple(int(total) for total in totals), patients))
        parameters = plan.advance(rounds, allowed)
    return plan.finish(rounds, allowed)


def simulated(patients: int, seed: int) -> tuple[list[Variable], Columns]:
    """Return patients whose outcome follows from a number, a skewed number and a flag."""
    rng = np.random.default_rng(seed)
    age = np.clip(rng.normal(60, 12, patients), 18, 110)
    marker = np.clip(rng.lognormal(0, 0.5, patients), 0, 50)
    smoker = (rng.random(patients) < 0.3).astype(float)
    odds = np.exp(-4 + 0.05 * age + 0.8 * marker + 0.7 * smoker - 1.5)
    ill = (rng.random(patients) < odds / (1 + odds)).astype(float)
    variables = [
        Variable("ill", 0, 1, kind="flag"),
        Variable("age", 18, 110, "a"),
        Variable("marker", 0, 50, "mg/dL"),
        Variable("smoker", 0, 1, kind="flag"),
    ]
    return variables, {"ill": ill, "age": age, "marker": marker, "smoker": smoker}


def assert_equals_pooled(result: LogisticResult, rows: Columns) -> None:
    """Hold a result against statsmodels' maximum likelihood."""
    names = list(rows)
    design = np.column_stack([np.ones(len(rows[names[0]])), *(rows[n] for n in names[1:])])
    pooled = models.Logit(rows[names[0]], design).fit(disp=0, tol=1e-12, maxiter=100)
    assert result.outcome == "converged"
    assert [one.variable for one in result.coefficients] == ["intercept", *names[1:]]
    found = result.coefficients
    np.testing.assert_allclose([c.estimate for c in found], pooled.params, rtol=1e-6)
    np.testing.assert_allclose([c.standard_error for c in found], pooled.bse, rtol=1e-4)
    np.testing.assert_allclose([c.p_value for c in found], pooled.pvalues, rtol=1e-3, atol=1e-12)
    interval = np.exp(pooled.conf_int(0.05))
    assert [np.exp(c.lower) for c in found] == pytest.approx(list(interval[:, 0]), rel=1e-3)
    assert [c.ratio_lower for c in found] == pytest.approx(list(interval[:, 0]), rel=1e-3)
    assert [c.ratio_upper for c in found] == pytest.approx(list(interval[:, 1]), rel=1e-3)
    assert result.log_likelihood == pytest.approx(pooled.llf, rel=1e-7)
    assert result.null_log_likelihood == pytest.approx(pooled.llnull, rel=1e-9)
    assert result.pseudo_r_squared == pytest.approx(pooled.prsquared, rel=1e-6)
    assert result.likelihood_ratio is not None
    assert result.likelihood_ratio.statistic == pytest.approx(pooled.llr, rel=1e-6)
    assert result.likelihood_ratio.p_value == pytest.approx(pooled.llr_pvalue, rel=1e-4, abs=1e-12)
    assert result.events == pytest.approx(rows[names[0]].sum(), abs=1e-6)


def test_it_equals_the_pooled_regression() -> None:
    variables, rows = simulated(2000, 1)
    result = run(plan_of(variables), split(rows, 4, 1))
    assert_equals_pooled(result, rows)
    assert result.rounds <= 7


def test_breast_cancer_equals_the_pooled_regression() -> None:
    data = datasets.load_breast_cancer()
    columns = {"benign": data.target.astype(float)}
    variables = [Variable("benign", 0, 1, kind="flag")]
    for name in ("mean radius", "mean texture", "mean smoothness", "mean symmetry"):
        column = data.data[:, list(data.feature_names).index(name)]
        word = name.replace("mean ", "")
        columns[word] = column
        variables.append(Variable(word, 0, float(np.ceil(column.max() * 2))))
    assert_equals_pooled(run(plan_of(variables), split(columns, 4, 2)), columns)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.integers(1, 6), st.integers(0, 2**31))
def test_any_split_gives_the_same_answer(members: int, seed: int) -> None:
    variables, rows = simulated(400, 3)
    plan = plan_of(variables)
    whole, parts = run(plan, [rows]), run(plan, split(rows, members, seed))
    assert whole.outcome == parts.outcome
    np.testing.assert_allclose(
        [c.estimate for c in parts.coefficients],
        [c.estimate for c in whole.coefficients],
        rtol=1e-7,
    )
    np.testing.assert_allclose(
        [c.standard_error for c in parts.coefficients],
        [c.standard_error for c in whole.coefficients],
        rtol=1e-7,
    )


def test_complete_separation_is_named() -> None:
    variables, rows = simulated(600, 4)
    rows = dict(rows) | {"ill": (rows["age"] > 60).astype(float)}
    result = run(plan_of(variables), split(rows, 3, 4))
    assert result.outcome == "separated"
    assert result.coefficients == ()


def test_quasi_separation_is_named() -> None:
    variables, rows = simulated(600, 5)
    ill = np.where(rows["smoker"] == 1, 1.0, rows["ill"])  # every smoker is ill, others vary
    result = run(plan_of(variables), split(dict(rows) | {"ill": ill}, 3, 5))
    assert result.outcome == "separated"


def test_covariates_that_depend_on_each_other_are_named() -> None:
    variables, rows = simulated(600, 6)
    variables[2] = Variable("marker", 0, 300)
    rows = dict(rows) | {"marker": rows["age"] * 2 + 3}
    result = run(plan_of(variables), split(rows, 3, 6))
    assert result.outcome == "collinear"


def test_a_covariate_that_does_not_vary_is_named() -> None:
    variables, rows = simulated(600, 7)
    rows = dict(rows) | {"marker": np.full(600, 7.0)}
    assert run(plan_of(variables), split(rows, 3, 7)).outcome == "collinear"


def test_rounds_that_end_first_are_named_and_estimated() -> None:
    variables, rows = simulated(2000, 1)
    result = run(plan_of(variables), [rows], rounds_max=3)
    assert result.outcome == "not_converged"
    assert len(result.coefficients) == 4
    assert run(plan_of(variables), [rows], rounds_max=1).outcome == "not_converged"


def test_nothing_is_sent_when_a_cell_is_left_out() -> None:
    variables, rows = simulated(300, 8)
    plan = plan_of(variables)
    allowed = np.ones(len(plan.cells), dtype=np.bool_)
    allowed[3] = False
    totals = plan.local(rows, allowed, b"")
    assert not totals.any()
    rounds = [Round(b"", tuple(int(total) for total in totals), 300)]
    assert plan.advance(rounds, allowed) is None
    result = plan.finish(rounds, allowed)
    assert result.outcome == "left_out"
    assert result.events is None


def test_documents_hold_no_nan_whatever_the_outcome() -> None:
    variables, rows = simulated(600, 5)
    separated = dict(rows) | {"ill": (rows["age"] > 60).astype(float)}
    for data in (rows, separated):
        result = run(plan_of(variables), split(data, 3, 5))
        text = json.dumps(result.to_document(), allow_nan=False)
        assert json.loads(text) == result.to_document()
        assert len(result.to_rows()) == len(result.coefficients)


def test_the_cells_are_the_tables_behind_the_sums() -> None:
    variables, rows = simulated(300, 9)
    plan = plan_of(variables)
    labels = [cell.label for cell in plan.cells]
    both = int(((rows["ill"] == 1) & (rows["smoker"] == 1)).sum())
    assert plan.count(rows)[labels.index("ill = 1, smoker = 1")] == both


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-9, 9), min_size=4, max_size=4),
    st.sampled_from([0.0, 1.0]),
    st.sampled_from([18.0, 110.0, 60.0]),
    st.sampled_from([0.0, 50.0]),
)
def test_one_patient_moves_the_sums_less_than_the_sensitivity(
    point: list[float], ill: float, age: float, marker: float
) -> None:
    variables, rows = simulated(300, 10)
    plan = plan_of(variables)
    allowed = np.ones(len(plan.cells), dtype=np.bool_)
    parameters = encode({"point": [round(value * 2**32) for value in point]})
    extreme = {"ill": ill, "age": age, "marker": marker, "smoker": 1.0}
    more = {name: np.append(column, extreme[name]) for name, column in rows.items()}
    try:
        before = plan.local(rows, allowed, parameters)
        after = plan.local(more, allowed, parameters)
    except IterateRefused:
        return
    moved = (after - before).astype(np.float64)
    assert np.linalg.norm(moved) <= plan.sensitivity(parameters)
    assert np.abs(moved).max() <= 2**FRACTION_BITS


@pytest.mark.parametrize(
    "parameters",
    [
        b"\x00",
        encode({"point": [0, 0, 0]}),
        encode({"point": [0, 0, 0, 1 << 60]}),
        encode({"point": [0, 0, 0, -(1 << 49)]}),
        encode({"point": [0, 0, 0, True]}),
        encode({"point": [0, 0, 0, 0], "shift": 1}),
        encode({"other": [0, 0, 0, 0]}),
    ],
)
def test_a_hostile_iterate_is_refused(parameters: bytes) -> None:
    variables, _ = simulated(10, 11)
    with pytest.raises(IterateRefused):
        plan_of(variables).check(parameters)


def test_an_iterate_that_singles_patients_out_is_refused() -> None:
    variables, rows = simulated(300, 12)
    rows["age"][17] = 110.0
    plan = plan_of(variables)
    allowed = np.ones(len(plan.cells), dtype=np.bool_)
    point = [-60000.0, 60000.0, 0.0, 0.0]  # everybody but this patient is certain
    parameters = encode({"point": [round(value * 2**32) for value in point]})
    plan.check(parameters)
    with pytest.raises(IterateRefused, match="carry all the weight"):
        plan.local(rows, allowed, parameters)


def test_the_largest_coefficients_do_not_overflow() -> None:
    variables, rows = simulated(40, 13)
    plan = plan_of(variables)
    allowed = np.ones(len(plan.cells), dtype=np.bool_)
    parameters = encode({"point": [1 << 47, -(1 << 47), 1 << 47, 1 << 47]})
    plan.check(parameters)
    totals = plan.local(rows, allowed, parameters)
    assert np.abs(totals).max() <= 40 * 2**FRACTION_BITS


def test_an_outcome_that_is_no_flag_is_refused() -> None:
    variables, _ = simulated(10, 14)
    with pytest.raises(AnalysisRefused):
        plan_of(variables[1:])
    with pytest.raises(AnalysisRefused):
        LogisticRegression("ill", ("ill", "age"))


def test_totals_of_another_study_are_refused() -> None:
    variables, _ = simulated(10, 15)
    plan = plan_of(variables)
    allowed = np.ones(len(plan.cells), dtype=np.bool_)
    with pytest.raises(TotalsMalformed):
        plan.finish([Round(b"", (1, 2, 3), 10)], allowed)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.01, 1.0, 30.0, 1000.0]))
def test_noise_of_any_size_ends_in_a_named_outcome(seed: int, sigma: float) -> None:
    variables, rows = simulated(300, 16)
    plan = plan_of(variables)
    allowed = np.ones(len(plan.cells), dtype=np.bool_)
    rng = np.random.default_rng(seed)
    rounds: list[Round] = []
    parameters: bytes | None = b""
    while parameters is not None and len(rounds) < 8:
        plan.check(parameters)
        noise = np.rint(rng.normal(0, sigma * 2**FRACTION_BITS, plan.slots)).astype(np.int64)
        try:
            totals = plan.local(rows, allowed, parameters) + noise
        except IterateRefused:
            break
        patients = 300 + round(rng.normal(0, sigma))
        rounds.append(Round(parameters, tuple(int(total) for total in totals), patients))
        parameters = plan.advance(rounds, allowed)
    result = plan.finish(rounds, allowed)
    assert result.outcome in {"converged", "not_converged", "collinear", "separated"}
    json.dumps(result.to_document(), allow_nan=False)


def test_a_member_without_patients_sends_zeros() -> None:
    variables, rows = simulated(10, 17)
    plan = plan_of(variables)
    nobody = {name: column[:0] for name, column in rows.items()}
    allowed = np.ones(len(plan.cells), dtype=np.bool_)
    assert not plan.count(nobody).any()
    assert not plan.local(nobody, allowed, b"").any()
