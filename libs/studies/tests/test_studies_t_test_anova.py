"""t-test and analysis of variance over members against scipy and statsmodels on the pooled data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.stats
import sklearn.datasets
import statsmodels.stats.weightstats
from hypothesis import given, settings
from hypothesis import strategies as st

from cipherward_studies.analyses.anova import Anova, AnovaPlan, AnovaResult
from cipherward_studies.analyses.t_test import TTest, TTestPlan, TTestResult
from cipherward_studies.analysis import FRACTION_BITS, Round
from cipherward_studies.errors import AnalysisRefused, IterateRefused, TotalsMalformed
from cipherward_studies.variables import Columns, Floats, Integers, Mask, Variable

stats: Any = scipy.stats
datasets: Any = sklearn.datasets
weightstats: Any = statsmodels.stats.weightstats
VARIABLES = {
    "pressure": Variable("pressure", 50, 250, "mmHg"),
    "arm": Variable("arm", 0, 9),
    "radius": Variable("radius", 0, 60, "mm"),
    "ill": Variable("ill", 0, 1, kind="flag"),
}
T_TEST = TTest("pressure", "arm", (0.0, 1.0)).plan(VARIABLES)
ANOVA = Anova("pressure", "arm", (0.0, 1.0, 2.0, 3.0)).plan(VARIABLES)


def split(rows: Columns, members: int, seed: int) -> list[Columns]:
    length = len(next(iter(rows.values())))
    owner = np.random.default_rng(seed).integers(0, members, length)
    return [{name: c[owner == m] for name, c in rows.items()} for m in range(members)]


def simulated(patients: int, seed: int) -> Columns:
    rng = np.random.default_rng(seed)
    arm = rng.choice([0.0, 1.0, 2.0, 3.0, 7.0], patients, p=[0.3, 0.25, 0.2, 0.15, 0.1])
    pressure = rng.normal(130 + 3 * arm, 10 + 2 * arm)
    return {"pressure": np.clip(pressure, 50, 250), "arm": arm}


def totals_of(plan: TTestPlan | AnovaPlan, members: Sequence[Columns], allowed: Mask) -> Round:
    found: Integers = np.sum([plan.local(rows, allowed, b"") for rows in members], axis=0)
    return Round(b"", tuple(int(total) for total in found), 0)


def everything(plan: TTestPlan | AnovaPlan) -> Mask:
    return np.ones(len(plan.cells), dtype=np.bool_)


def t_test_of(members: Sequence[Columns], plan: TTestPlan = T_TEST) -> TTestResult:
    return plan.finish([totals_of(plan, members, everything(plan))], everything(plan))


def anova_of(members: Sequence[Columns], allowed: Mask | None = None) -> AnovaResult:
    used = everything(ANOVA) if allowed is None else allowed
    return ANOVA.finish([totals_of(ANOVA, members, used)], used)


def assert_equals_pooled(result: TTestResult, first: Floats, second: Floats) -> None:
    assert result.outcome == "tested"
    assert result.difference == pytest.approx(first.mean() - second.mean(), rel=1e-7)
    for test, equal in ((result.welch, False), (result.pooled, True)):
        pooled = stats.ttest_ind(first, second, equal_var=equal)
        assert test is not None
        assert test.statistic == pytest.approx(pooled.statistic, rel=1e-7)
        assert test.degrees_of_freedom == pytest.approx(pooled.df, rel=1e-7)
        assert test.p_value == pytest.approx(pooled.pvalue, rel=1e-6, abs=1e-300)
        interval = pooled.confidence_interval(0.95)
        assert test.lower == pytest.approx(interval.low, rel=1e-6)
        assert test.upper == pytest.approx(interval.high, rel=1e-6)
    for one, values in zip(result.groups, (first, second), strict=True):
        assert one.patients == len(values)
        assert one.mean == pytest.approx(values.mean(), rel=1e-9)
        assert one.standard_deviation == pytest.approx(values.std(ddof=1), rel=1e-7)


def test_a_t_test_equals_the_pooled_one() -> None:
    rows = simulated(500, 1)
    result = t_test_of(split(rows, 4, 1))
    groups = [rows["pressure"][rows["arm"] == code] for code in (0.0, 1.0)]
    assert_equals_pooled(result, groups[0], groups[1])
    assert result.welch is not None
    interval = weightstats.CompareMeans.from_data(*groups).tconfint_diff(usevar="unequal")
    assert (result.welch.lower, result.welch.upper) == pytest.approx(interval, rel=1e-6)


def test_breast_cancer_radii_compare_as_pooled() -> None:
    data = datasets.load_breast_cancer()
    rows = {"radius": data.data[:, 0], "ill": (data.target == 0).astype(float)}
    plan = TTest("radius", "ill", (0.0, 1.0)).plan(VARIABLES)
    result = t_test_of(split(rows, 4, 2), plan)
    radii = [rows["radius"][rows["ill"] == code] for code in (0.0, 1.0)]
    assert_equals_pooled(result, radii[0], radii[1])


def test_an_analysis_of_variance_equals_the_pooled_one() -> None:
    rows = simulated(700, 3)
    result = anova_of(split(rows, 5, 3))
    groups = [rows["pressure"][rows["arm"] == code] for code in (0.0, 1.0, 2.0, 3.0)]
    pooled = stats.f_oneway(*groups)
    assert result.outcome == "tested"
    assert result.f_statistic == pytest.approx(pooled.statistic, rel=1e-7)
    assert result.p_value == pytest.approx(pooled.pvalue, rel=1e-6, abs=1e-300)
    together = np.concatenate(groups)
    between = sum(len(g) * (g.mean() - together.mean()) ** 2 for g in groups)
    total = float(((together - together.mean()) ** 2).sum())
    assert result.eta_squared == pytest.approx(between / total, rel=1e-7)
    assert result.within is not None
    assert result.within.degrees_of_freedom == len(together) - 4


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(0, 2**31))
def test_any_split_gives_the_same_answer(members: int, seed: int) -> None:
    rows = simulated(200, 4)
    whole, parts = t_test_of([rows]), t_test_of(split(rows, members, seed))
    assert whole.welch is not None
    assert parts.welch is not None
    assert parts.welch.statistic == pytest.approx(whole.welch.statistic, rel=1e-7)
    first, other = anova_of([rows]), anova_of(split(rows, members, seed))
    assert first.f_statistic == pytest.approx(other.f_statistic, rel=1e-7)


def test_a_group_whose_cells_fail_is_left_out() -> None:
    rows = simulated(300, 5)
    allowed = everything(ANOVA)
    allowed[2] = False  # the group of arm 2
    result = anova_of([rows], allowed)
    assert [one.left_out for one in result.groups] == [False, False, True, False]
    groups = [rows["pressure"][rows["arm"] == code] for code in (0.0, 1.0, 3.0)]
    assert result.f_statistic == pytest.approx(stats.f_oneway(*groups).statistic, rel=1e-7)
    totals = totals_of(ANOVA, [rows], allowed).totals
    assert not any(totals[6:9])
    dominated = everything(T_TEST)
    dominated[-1] = False  # one patient may make most of a sum in the second group
    totals = totals_of(T_TEST, [rows], dominated)
    found = T_TEST.finish([totals], dominated)
    assert found.outcome == "left_out"
    assert found.groups[1].mean is None
    assert not any(totals.totals[3:])


def test_cells_are_the_groups_and_what_is_behind_their_sums() -> None:
    rows = simulated(100, 6)
    labels = [cell.label for cell in T_TEST.cells]
    assert labels[:2] == ["arm = 0", "arm = 1"]
    assert labels[2] == "arm = 0, pressure above 50"
    counts = T_TEST.count(rows)
    assert counts[0] == (rows["arm"] == 0).sum()
    above = (rows["pressure"][rows["arm"] == 0] - 50) / 200 * 1000
    assert abs(counts[2] - above.sum()) <= len(above) / 2


def test_a_variable_that_does_not_vary_is_named() -> None:
    rows = dict(simulated(120, 7)) | {"pressure": np.full(120, 121.3)}
    found = t_test_of(split(rows, 4, 7))
    assert found.outcome == "constant"
    assert found.welch is None
    assert anova_of(split(rows, 4, 7)).outcome == "constant"


def test_an_empty_group_is_named() -> None:
    rows = dict(simulated(50, 8)) | {"arm": np.zeros(50)}
    assert t_test_of([rows]).outcome == "left_out"
    assert anova_of([rows]).outcome == "left_out"


def test_documents_hold_no_nan_whatever_the_outcome() -> None:
    rows = simulated(120, 9)
    for data in (
        rows,
        dict(rows) | {"arm": np.zeros(120)},
        dict(rows) | {"pressure": np.full(120, 99.9)},
    ):
        for result in (t_test_of([data]), anova_of([data])):
            text = json.dumps(result.to_document(), allow_nan=False)
            assert json.loads(text) == result.to_document()
    assert [row["test"] for row in t_test_of([rows]).to_rows()] == ["welch", "pooled"]
    assert len(anova_of([rows]).to_rows()) == 4


@settings(max_examples=40, deadline=None)
@given(st.floats(50, 250), st.sampled_from([0.0, 1.0, 3.0, 7.0]))
def test_one_patient_moves_the_sums_less_than_the_sensitivity(pressure: float, arm: float) -> None:
    rows = simulated(60, 10)
    more = {
        "pressure": np.append(rows["pressure"], pressure),
        "arm": np.append(rows["arm"], arm),
    }
    for plan in (T_TEST, ANOVA):
        moved = plan.local(more, everything(plan), b"") - plan.local(rows, everything(plan), b"")
        assert np.linalg.norm(moved.astype(float)) <= plan.sensitivity(b"")
        assert np.abs(moved).max() <= 2**FRACTION_BITS


def test_there_is_one_round() -> None:
    for plan in (T_TEST, ANOVA):
        with pytest.raises(IterateRefused):
            plan.check(b"x")
        with pytest.raises(TotalsMalformed):
            plan.finish([Round(b"", (1,), 9)], everything(plan))
        assert plan.advance([], everything(plan)) is None


def test_groups_that_are_none_are_refused() -> None:
    for groups in ((1.0,), (1.0, 1.0), (2.0, 1.0), ()):
        with pytest.raises(AnalysisRefused):
            Anova("pressure", "arm", groups)
    with pytest.raises(AnalysisRefused):
        TTest("pressure", "arm", (0.0, 1.0, 2.0))
    with pytest.raises(AnalysisRefused):
        TTest("arm", "arm", (0.0, 1.0)).plan(VARIABLES)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.01, 1.0, 30.0, 1000.0]))
def test_noise_of_any_size_ends_in_a_named_outcome(seed: int, sigma: float) -> None:
    rows = simulated(120, 11)
    rng = np.random.default_rng(seed)
    for plan in (T_TEST, ANOVA):
        noise = np.rint(rng.normal(0, sigma * 2**FRACTION_BITS, plan.slots)).astype(np.int64)
        totals = plan.local(rows, everything(plan), b"") + noise
        released = Round(b"", tuple(int(total) for total in totals), 120)
        result = plan.finish([released], everything(plan))
        assert result.outcome in {"tested", "constant", "left_out"}
        json.dumps(result.to_document(), allow_nan=False)


def test_a_member_without_patients_sends_zeros() -> None:
    nobody = {name: column[:0] for name, column in simulated(10, 12).items()}
    for plan in (T_TEST, ANOVA):
        assert not plan.count(nobody).any()
        assert not plan.local(nobody, everything(plan), b"").any()
