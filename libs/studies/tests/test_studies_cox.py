"""Cox regression over members against statsmodels and lifelines on the pooled data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import lifelines
import lifelines.datasets
import numpy as np
import pytest
import statsmodels.api
from hypothesis import given, settings
from hypothesis import strategies as st

from cipherward_chain.canonical import encode
from cipherward_studies.analyses.cox import Cox
from cipherward_studies.analyses.cox_plan import CoxPlan
from cipherward_studies.analyses.cox_result import CoxResult
from cipherward_studies.analysis import DOMINANCE_PATIENTS, DOMINANCE_STEPS, FRACTION_BITS, Round
from cipherward_studies.errors import AnalysisRefused, IterateRefused, TotalsMalformed
from cipherward_studies.variables import Columns, Floats, Integers, Mask, Variable

models: Any = statsmodels.api
theirs: Any = lifelines
datasets: Any = lifelines.datasets
Ends = Floats | tuple[float, ...]
TIME = Variable("months", 0, 120, "mo")
EVENT = Variable("died", 0, 1, kind="flag")


def plan_of(covariates: Sequence[Variable], ends: Ends, time: Variable = TIME) -> CoxPlan:
    names = tuple(one.name for one in covariates)
    analysis = Cox(time.name, "died", names, tuple(float(end) for end in ends))
    return analysis.plan({one.name: one for one in (time, EVENT, *covariates)})


def split(rows: Columns, members: int, seed: int) -> list[Columns]:
    length = len(next(iter(rows.values())))
    owner = np.random.default_rng(seed).integers(0, members, length)
    return [{name: c[owner == m] for name, c in rows.items()} for m in range(members)]


def allowed_of(plan: CoxPlan, members: Sequence[Columns], minimum: int) -> Mask:
    """Return the cells that reach the minimum in all members together."""
    counts: Integers = np.sum([plan.count(rows) for rows in members], axis=0)
    least = [
        DOMINANCE_PATIENTS * DOMINANCE_STEPS if cell.dominance else minimum for cell in plan.cells
    ]
    return counts >= np.array(least)


def run(
    plan: CoxPlan, members: Sequence[Columns], *, minimum: int = 0, rounds_max: int = 50
) -> CoxResult:
    """Return what the members find together; a minimum of 0 allows every cell."""
    patients = sum(len(next(iter(rows.values()))) for rows in members)
    allowed = allowed_of(plan, members, minimum)
    if minimum == 0:
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
    rng = np.random.default_rng(seed)
    age = np.clip(rng.normal(60, 12, patients), 18, 110)
    marker = np.clip(rng.lognormal(0, 0.5, patients), 0, 50)
    treated = (rng.random(patients) < 0.5).astype(float)
    rate = 0.02 * np.exp(0.04 * (age - 60) + 0.4 * (marker - 1) - 0.6 * treated)
    time, leaving = rng.exponential(1 / rate), rng.uniform(5, 119, patients)
    covariates = [
        Variable("age", 18, 110, "a"),
        Variable("marker", 0, 50, "mg/dL"),
        Variable("treated", 0, 1, kind="flag"),
    ]
    return covariates, {
        "months": np.minimum(time, leaving),
        "died": (time <= leaving).astype(float),
        "age": age,
        "marker": marker,
        "treated": treated,
    }


def bucketed(rows: Columns, ends: Ends) -> Columns:
    """Return the patients with their times rounded up to the end of a bucket."""
    places = np.searchsorted(ends, rows["months"])
    died = np.where(places < len(ends), rows["died"], 0.0)
    months = np.array(ends)[np.minimum(places, len(ends) - 1)]
    return dict(rows) | {"months": months, "died": died}


def assert_equals_pooled(result: CoxResult, rows: Columns) -> None:
    names = [name for name in rows if name not in ("months", "died")]
    design = np.column_stack([rows[name] for name in names])
    pooled = models.PHReg(rows["months"], design, status=rows["died"], ties="breslow").fit(
        disp=0, tol=1e-12
    )
    assert result.outcome == "converged"
    found = result.coefficients
    np.testing.assert_allclose([c.estimate for c in found], pooled.params, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose([c.standard_error for c in found], pooled.bse, rtol=2e-4)
    np.testing.assert_allclose([c.p_value for c in found], pooled.pvalues, rtol=5e-3, atol=1e-12)
    interval = np.exp(pooled.conf_int())
    assert [c.ratio_lower for c in found] == pytest.approx(list(interval[:, 0]), rel=1e-3)
    assert [c.ratio_upper for c in found] == pytest.approx(list(interval[:, 1]), rel=1e-3)
    assert result.log_likelihood == pytest.approx(pooled.llf, abs=1e-5)
    assert result.events == pytest.approx(rows["died"].sum(), abs=1e-6)


def test_it_equals_the_pooled_regression_of_bucketed_times() -> None:
    covariates, rows = simulated(2000, 1)
    ends = np.arange(2.0, 122.0, 2.0)
    result = run(plan_of(covariates, ends), split(rows, 4, 1))
    assert_equals_pooled(result, bucketed(rows, ends))
    assert result.rounds <= 7


def test_follow_up_that_ends_before_the_last_patient_is_censoring() -> None:
    covariates, rows = simulated(800, 2)
    ends = np.arange(1.0, 25.0)
    result = run(plan_of(covariates, ends), split(rows, 3, 2))
    assert_equals_pooled(result, bucketed(rows, ends))


def test_rossi_in_weeks_equals_the_pooled_regression() -> None:
    data = datasets.load_rossi()
    covariates = [
        Variable("fin", 0, 1, kind="flag"),
        Variable("age", 15, 60, "a"),
        Variable("race", 0, 1, kind="flag"),
        Variable("prio", 0, 30),
    ]
    rows = {"months": data["week"].to_numpy(float), "died": data["arrest"].to_numpy(float)}
    rows |= {one.name: data[one.name].to_numpy(float) for one in covariates}
    weeks = np.arange(1.0, 53.0)
    assert_equals_pooled(run(plan_of(covariates, weeks), split(rows, 4, 3)), rows)


@pytest.mark.slow
def test_it_is_near_lifelines_where_few_times_are_tied() -> None:
    data = datasets.load_lung()[["time", "status", "age", "sex", "ph.ecog"]].dropna()
    rows = {
        "months": data["time"].to_numpy(float),
        "died": data["status"].to_numpy(float),
        "age": data["age"].to_numpy(float),
        "sex": data["sex"].to_numpy(float),
        "ecog": data["ph.ecog"].to_numpy(float),
    }
    covariates = [
        Variable("age", 18, 110),
        Variable("sex", 1, 2, kind="flag"),
        Variable("ecog", 0, 5),
    ]
    ends = np.unique(rows["months"])
    plan = plan_of(covariates, ends, Variable("months", 0, 2000))
    result = run(plan, split(rows, 3, 4))
    assert_equals_pooled(result, rows)
    pooled = theirs.CoxPHFitter().fit(data, "time", "status")  # Efron's ties
    np.testing.assert_allclose(
        [one.estimate for one in result.coefficients], pooled.params_, rtol=0.02
    )
    assert result.likelihood_ratio is not None
    test = pooled.log_likelihood_ratio_test()
    assert result.likelihood_ratio.statistic == pytest.approx(test.test_statistic, rel=0.02)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(st.integers(1, 6), st.integers(0, 2**31))
def test_any_split_gives_the_same_answer(members: int, seed: int) -> None:
    covariates, rows = simulated(400, 5)
    plan = plan_of(covariates, np.arange(4.0, 124.0, 4.0))
    whole, parts = run(plan, [rows]), run(plan, split(rows, members, seed))
    assert whole.outcome == parts.outcome == "converged"
    for one, other in zip(whole.coefficients, parts.coefficients, strict=True):
        assert abs(one.estimate - other.estimate) < 1e-4 * other.standard_error
        assert one.standard_error == pytest.approx(other.standard_error, rel=3e-5)


def test_buckets_with_too_few_patients_are_joined() -> None:
    covariates, rows = simulated(3000, 6)
    covariates[1] = Variable("marker", 0, 4, outside="clip")
    rows = dict(rows) | {"marker": np.minimum(rows["marker"], 4.0)}
    ends = np.arange(1.0, 121.0)
    plan = plan_of(covariates, ends)
    members = split(rows, 4, 6)
    result = run(plan, members, minimum=10)
    fine = run(plan, members)
    assert result.outcome == "converged"
    for one, other in zip(result.coefficients, fine.coefficients, strict=True):
        assert abs(one.estimate - other.estimate) < 0.5 * other.standard_error
    allowed = allowed_of(plan, members, 10)
    totals: Integers = np.sum([plan.local(part, allowed, b"") for part in members], axis=0)
    weights = totals[: len(ends)] / 2.0**FRACTION_BITS
    assert ((weights == 0) | (weights >= 10)).all()
    events = totals[len(ends) * 4 :][: len(ends)] / 2.0**FRACTION_BITS
    assert ((events == 0) | (events >= 10)).all()
    assert events.sum() == rows["died"].sum()
    flagged = (totals[len(ends) * 3 :][: len(ends)] / 2.0**FRACTION_BITS + weights) / 2
    assert ((flagged == 0) | (flagged >= 10)).all()


def test_too_few_events_leave_it_out() -> None:
    covariates, rows = simulated(300, 7)
    died = np.zeros(300)
    died[:6] = 1.0
    members = split(dict(rows) | {"died": died}, 3, 7)
    plan = plan_of(covariates, (60.0, 120.0))
    result = run(plan, members, minimum=10)
    assert result.outcome == "left_out"
    assert result.events is None
    allowed = allowed_of(plan, members, 10)
    assert not plan.local(members[0], allowed, b"").any()


def test_monotone_likelihood_is_named() -> None:
    covariates, rows = simulated(500, 8)
    died = np.where(rows["treated"] == 1, 0.0, rows["died"])  # no treated patient dies
    result = run(plan_of(covariates, np.arange(2.0, 122.0, 2.0)), [dict(rows) | {"died": died}])
    assert result.outcome == "separated"
    assert result.coefficients == ()


def test_covariates_that_depend_on_each_other_are_named() -> None:
    covariates, rows = simulated(500, 9)
    covariates[1] = Variable("marker", 0, 300)
    rows = dict(rows) | {"marker": 2 * rows["age"] + 1}
    assert run(plan_of(covariates, (40.0, 80.0, 120.0)), [rows]).outcome == "collinear"
    rows |= {"marker": np.full(500, 3.0)}
    assert run(plan_of(covariates, (40.0, 80.0, 120.0)), [rows]).outcome == "collinear"


def test_no_events_at_all_are_named() -> None:
    covariates, rows = simulated(100, 10)
    rows = dict(rows) | {"died": np.zeros(100)}
    assert run(plan_of(covariates, (60.0, 120.0)), [rows]).outcome == "no_events"


def test_rounds_that_end_first_are_named_and_estimated() -> None:
    covariates, rows = simulated(1000, 11)
    plan = plan_of(covariates, np.arange(4.0, 124.0, 4.0))
    for rounds_max in (1, 2):
        result = run(plan, [rows], rounds_max=rounds_max)
        assert result.outcome == "not_converged"
        assert len(result.coefficients) == 3


def test_documents_hold_no_nan_whatever_the_outcome() -> None:
    covariates, rows = simulated(400, 12)
    plan = plan_of(covariates, (20.0, 40.0, 80.0, 120.0))
    nobody = dict(rows) | {"died": np.zeros(400)}
    for data, minimum in ((rows, 0), (nobody, 0), (nobody, 10)):
        result = run(plan, split(data, 3, 12), minimum=minimum)
        text = json.dumps(result.to_document(), allow_nan=False)
        assert json.loads(text) == result.to_document()
        assert len(result.to_rows()) == len(result.coefficients)


def parameters_of(
    plan: CoxPlan, point: Sequence[float], shift: float = 0.0, headroom: float = 0.0
) -> bytes:
    def steps(values: Sequence[float]) -> list[int]:
        return [round(value * 2**32) for value in values]

    return encode(
        {
            "hazard": steps([1.0] * len(plan.buckets.ends)),
            "headroom": steps([headroom]),
            "point": steps(point),
            "shift": steps([shift]),
        }
    )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-9, 9), min_size=3, max_size=3),
    st.floats(-9, 9),
    st.sampled_from([0.0, 3.0, 6.0]),
    st.sampled_from([18.0, 110.0]),
    st.sampled_from([0.0, 50.0]),
    st.sampled_from([0.0, 1.0]),
)
def test_one_patient_moves_the_sums_less_than_the_sensitivity(
    point: list[float], shift: float, headroom: float, age: float, marker: float, died: float
) -> None:
    covariates, rows = simulated(200, 13)
    plan = plan_of(covariates, (20.0, 40.0, 80.0, 120.0))
    allowed = np.ones(len(plan.cells), dtype=np.bool_)
    extreme = {"months": 30.0, "died": died, "age": age, "marker": marker, "treated": 1.0}
    more = {name: np.append(column, extreme[name]) for name, column in rows.items()}
    parameters = parameters_of(plan, point, shift, headroom)
    try:
        before = plan.local(rows, allowed, parameters)
        after = plan.local(more, allowed, parameters)
    except IterateRefused:
        return
    moved = (after - before).astype(np.float64)
    assert np.linalg.norm(moved) <= plan.sensitivity(parameters)
    assert np.abs(moved).max() <= 2**FRACTION_BITS


def test_a_hostile_iterate_is_refused() -> None:
    covariates, rows = simulated(200, 14)
    plan = plan_of(covariates, (20.0, 40.0, 80.0, 120.0))
    plan.check(parameters_of(plan, [1.0, 2.0, 3.0]))
    for parameters in (
        b"\x00",
        encode({"point": [0, 0, 0]}),
        parameters_of(plan, [1.0, 2.0]),
        parameters_of(plan, [1.0, 2.0, 70_000.0]),
        parameters_of(plan, [1.0, 2.0, 3.0], headroom=6.1),
        parameters_of(plan, [1.0, 2.0, 3.0], headroom=-1.0),
        parameters_of(plan, [1.0, 2.0, 3.0], shift=1e6),
        parameters_of(plan_of(covariates, (60.0, 120.0)), [1.0, 2.0, 3.0]),
    ):
        with pytest.raises(IterateRefused):
            plan.check(parameters)
    falling = encode(
        {"hazard": [2**32, 5, 6, 7], "headroom": [0], "point": [0, 0, 0], "shift": [0]}
    )
    with pytest.raises(IterateRefused, match="does not fall"):
        plan.check(falling)
    allowed = np.ones(len(plan.cells), dtype=np.bool_)
    rows["age"][3] = 110.0
    with pytest.raises(IterateRefused, match="carry all the weight"):
        plan.local(rows, allowed, parameters_of(plan, [500.0, 0.0, 0.0], shift=500.0))
    with pytest.raises(IterateRefused, match="no patient has any weight"):
        plan.local(rows, allowed, parameters_of(plan, [0.0, 0.0, 0.0], shift=1000.0))


def test_the_largest_coefficients_do_not_overflow() -> None:
    covariates, rows = simulated(40, 15)
    plan = plan_of(covariates, (20.0, 40.0, 80.0, 120.0))
    allowed = np.ones(len(plan.cells), dtype=np.bool_)
    totals = plan.local(rows, allowed, parameters_of(plan, [65_536.0] * 3, -150_000.0, 6.0))
    assert np.abs(totals).max() <= 40 * 2**FRACTION_BITS


def test_variables_that_make_no_regression_are_refused() -> None:
    covariates, _ = simulated(10, 16)
    with pytest.raises(AnalysisRefused):
        Cox("months", "died", ("age", "age"), (1.0, 2.0))
    with pytest.raises(AnalysisRefused):
        Cox("months", "died", ("age",), (2.0, 1.0))
    with pytest.raises(AnalysisRefused):
        plan_of(covariates, (1.0, 2.0), Variable("months", -1, 120))


def test_totals_of_another_study_are_refused() -> None:
    covariates, _ = simulated(10, 17)
    plan = plan_of(covariates, (60.0, 120.0))
    allowed = np.ones(len(plan.cells), dtype=np.bool_)
    with pytest.raises(TotalsMalformed):
        plan.finish([Round(b"", (1, 2, 3), 10)], allowed)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.01, 1.0, 30.0, 1000.0]))
def test_noise_of_any_size_ends_in_a_named_outcome(seed: int, sigma: float) -> None:
    covariates, rows = simulated(300, 18)
    plan = plan_of(covariates, np.arange(10.0, 121.0, 10.0))
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
        rounds.append(Round(parameters, tuple(int(total) for total in totals), 300))
        parameters = plan.advance(rounds, allowed)
    result = plan.finish(rounds, allowed)
    assert result.outcome in {
        "converged",
        "not_converged",
        "collinear",
        "separated",
        "no_events",
    }
    json.dumps(result.to_document(), allow_nan=False)


def test_a_member_without_patients_sends_zeros() -> None:
    covariates, rows = simulated(10, 19)
    plan = plan_of(covariates, (60.0, 120.0))
    nobody = {name: column[:0] for name, column in rows.items()}
    allowed = np.ones(len(plan.cells), dtype=np.bool_)
    assert not plan.count(nobody).any()
    assert not plan.local(nobody, allowed, b"").any()
    assert plan.local(nobody, allowed, b"").shape == (plan.slots,)
