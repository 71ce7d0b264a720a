"""Survival over members against lifelines on the pooled data."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import lifelines
import lifelines.datasets
import lifelines.statistics
import lifelines.utils
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cipherward_studies.analyses.buckets import Buckets
from cipherward_studies.analyses.survival import Survival, SurvivalPlan, SurvivalResult
from cipherward_studies.analyses.survival_curves import curve, log_rank
from cipherward_studies.analysis import FRACTION_BITS, Round
from cipherward_studies.errors import AnalysisRefused, IterateRefused, TotalsMalformed
from cipherward_studies.variables import Columns, Floats, Integers, Mask, Variable

theirs: Any = lifelines
datasets: Any = lifelines.datasets
statistics: Any = lifelines.statistics
utils: Any = lifelines.utils
Ends = Floats | tuple[float, ...]
VARIABLES = {
    "days": Variable("days", 0, 5000, "d"),
    "died": Variable("died", 0, 1, kind="flag"),
    "arm": Variable("arm", 0, 9),
}


def plan_of(ends: Ends, groups: Ends = ()) -> SurvivalPlan:
    group = "arm" if len(groups) else ""
    analysis = Survival(
        "days",
        "died",
        tuple(float(end) for end in ends),
        group,
        tuple(float(code) for code in groups),
    )
    return analysis.plan(VARIABLES)


def split(rows: Columns, members: int, seed: int) -> list[Columns]:
    length = len(next(iter(rows.values())))
    owner = np.random.default_rng(seed).integers(0, members, length)
    return [{name: c[owner == m] for name, c in rows.items()} for m in range(members)]


def allowed_of(plan: SurvivalPlan, rows: Columns, minimum: int) -> Mask:
    """Return the cells that have the minimum; 0 allows every cell."""
    return plan.count(rows) >= minimum


def run(plan: SurvivalPlan, members: Sequence[Columns], allowed: Mask) -> SurvivalResult:
    totals: Integers = np.sum([plan.local(rows, allowed, b"") for rows in members], axis=0)
    return plan.finish([Round(b"", tuple(int(total) for total in totals), 0)], allowed)


def simulated(patients: int, seed: int, arms: int = 3) -> Columns:
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, arms, patients).astype(float)
    days = np.ceil(rng.exponential(300 * (1 + arm / 2)))
    leaving = np.ceil(rng.uniform(50, 900, patients))
    return {
        "days": np.minimum(days, leaving).astype(np.float64),
        "died": (days <= leaving).astype(np.float64),
        "arm": arm,
    }


def bucketed(rows: Columns, ends: Ends) -> Columns:
    places = np.searchsorted(ends, rows["days"])
    died = np.where(places < len(ends), rows["died"], 0.0)
    days = np.array(ends)[np.minimum(places, len(ends) - 1)]
    return dict(rows) | {"days": days, "died": died}


def assert_equals_pooled(result: SurvivalResult, rows: Columns) -> None:
    for one in result.groups:
        mine = rows["arm"] == one.group if one.group is not None else rows["arm"] >= 0
        days, died = rows["days"][mine], rows["died"][mine]
        pooled = theirs.KaplanMeierFitter(alpha=0.05).fit(days, died)
        assert one.outcome == "estimated"
        assert one.curve is not None
        points = one.curve.points
        times = [point.time for point in points]
        np.testing.assert_allclose(
            [point.survival for point in points], pooled.predict(times), rtol=1e-12, atol=1e-14
        )
        table = pooled.event_table.loc[times]
        assert [point.events for point in points] == list(table["observed"])
        assert [point.censored for point in points] == list(table["censored"])
        assert [point.at_risk for point in points] == list(table["at_risk"])
        band = pooled.confidence_interval_.loc[times].to_numpy()
        inside = [i for i, point in enumerate(points) if point.lower is not None]
        found = np.array([(points[i].lower, points[i].upper) for i in inside])
        np.testing.assert_allclose(found, band[inside], rtol=1e-9)
        assert_median(one.curve.median, pooled.median_survival_time_)
        interval = (
            theirs.utils.median_survival_times(pooled.confidence_interval_).to_numpy().ravel()
        )
        assert_median(one.curve.median_lower, interval[0])
        assert_median(one.curve.median_upper, interval[1])
    if result.log_rank is not None:
        pooled = statistics.multivariate_logrank_test(rows["days"], rows["arm"], rows["died"])
        assert result.log_rank.statistic == pytest.approx(pooled.test_statistic, rel=1e-9)
        assert result.log_rank.p_value == pytest.approx(pooled.p_value, rel=1e-8, abs=1e-15)


def assert_median(found: float | None, pooled: float) -> None:
    assert (found is None and np.isinf(pooled)) or found == pooled


def test_it_equals_the_pooled_analysis_where_every_time_is_an_end() -> None:
    rows = simulated(700, 1)
    ends = np.unique(rows["days"])[::1]
    plan = plan_of(ends[:512], (0.0, 1.0, 2.0))
    kept = bucketed(rows, ends[:512])
    result = run(plan, split(rows, 4, 1), np.ones(len(plan.cells), dtype=np.bool_))
    assert_equals_pooled(result, kept)
    assert result.log_rank is not None
    assert result.log_rank.degrees_of_freedom == 2


def test_it_equals_the_pooled_analysis_of_bucketed_times() -> None:
    rows = simulated(3000, 2)
    ends = np.arange(30.0, 631.0, 30.0)
    plan = plan_of(ends, (0.0, 1.0, 2.0))
    result = run(plan, split(rows, 5, 2), np.ones(len(plan.cells), dtype=np.bool_))
    assert_equals_pooled(result, bucketed(rows, ends))


def test_one_group_has_a_curve_and_no_test() -> None:
    rows = simulated(500, 3)
    ends = np.arange(20.0, 901.0, 20.0)
    plan = plan_of(ends)
    result = run(plan, split(rows, 3, 3), np.ones(len(plan.cells), dtype=np.bool_))
    assert_equals_pooled(result, bucketed(rows, ends))
    assert result.log_rank is None


@pytest.mark.parametrize("name", ["lung", "waltons"])
def test_lifelines_data_sets_equal_the_pooled_analysis(name: str) -> None:
    rows: dict[str, Any]
    if name == "lung":
        data = datasets.load_lung()
        rows = {"days": data["time"], "died": data["status"], "arm": data["sex"]}
    else:
        data = datasets.load_waltons()
        rows = {"days": data["T"], "died": data["E"], "arm": data["group"] == "control"}
    columns = {key: column.to_numpy(float) for key, column in rows.items()}
    groups = np.unique(columns["arm"])
    plan = plan_of(np.unique(columns["days"]), groups)
    result = run(plan, split(columns, 4, 4), np.ones(len(plan.cells), dtype=np.bool_))
    assert_equals_pooled(result, columns)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(0, 2**31))
def test_any_split_gives_the_same_bits(members: int, seed: int) -> None:
    rows = simulated(200, 5)
    plan = plan_of(np.arange(50.0, 901.0, 50.0), (0.0, 1.0, 2.0))
    allowed = allowed_of(plan, rows, 5)
    assert run(plan, split(rows, members, seed), allowed) == run(plan, [rows], allowed)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(2, 30), st.integers(0, 2**31))
def test_every_published_bucket_has_the_minimum(buckets: int, minimum: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ends = Buckets(tuple(float(end) for end in range(1, buckets + 1)))
    places = rng.integers(0, buckets, int(rng.integers(1, 300)))
    places = places[rng.random(len(places)) < 1 / (1 + places)]  # few in late buckets
    where = ends.published(ends.count(places) >= minimum)
    if where is None:
        assert len(places) < minimum
        return
    numbers = np.bincount(where[places], minlength=buckets)
    assert ((numbers == 0) | (numbers >= minimum)).all()
    assert numbers.sum() == len(places)
    assert (np.diff(where) >= 0).all()


def test_a_bucket_that_fails_is_joined_with_its_neighbour() -> None:
    ends = Buckets((1.0, 2.0, 3.0, 4.0))
    places = np.repeat([0, 1, 2, 3], [12, 3, 0, 15])
    where = ends.published(ends.count(places) >= 10)
    assert where is not None
    assert list(where) == [1, 1, 3, 3]


def test_small_buckets_are_joined_in_all_groups_alike() -> None:
    rows = simulated(900, 6)
    plan = plan_of(np.arange(10.0, 901.0, 10.0), (0.0, 1.0, 2.0))
    allowed = allowed_of(plan, rows, 10)
    result = run(plan, split(rows, 4, 6), allowed)
    times = [
        {point.time for point in (one.curve.points if one.curve else ()) if point.events}
        for one in result.groups
    ]
    assert times[0] == times[1] == times[2]
    assert len(times[0]) > 5
    exact = run(plan, [rows], np.ones(len(plan.cells), dtype=np.bool_))
    for one, fine in zip(result.groups, exact.groups, strict=True):
        assert one.curve is not None
        assert fine.curve is not None
        for point in one.curve.points:
            assert point.events == 0 or point.events >= 10
            assert point.censored == 0 or point.censored >= 10
        assert one.curve.events == fine.curve.events
        at = {point.time: point.survival for point in fine.curve.points}
        for point in one.curve.points[:-1]:  # the last bucket holds whoever is left
            assert point.survival == pytest.approx(at[point.time], abs=0.03)


def test_a_group_that_is_too_small_is_left_out() -> None:
    rows = simulated(600, 7)
    rows["arm"][rows["arm"] == 1] = 2.0
    rows["arm"][:7] = 1.0
    plan = plan_of(np.arange(100.0, 901.0, 100.0), (0.0, 1.0, 2.0))
    result = run(plan, [rows], allowed_of(plan, rows, 10))
    assert [one.outcome for one in result.groups] == ["estimated", "left_out", "estimated"]
    assert result.groups[1].curve is None
    assert result.log_rank is not None
    assert result.log_rank.degrees_of_freedom == 1


def test_without_enough_events_nothing_is_published() -> None:
    rows = simulated(100, 8)
    rows["died"][:] = 0.0
    plan = plan_of((100.0, 900.0))
    allowed = allowed_of(plan, rows, 10)
    assert not plan.local(rows, allowed, b"").any()
    result = run(plan, [rows], allowed)
    assert [one.outcome for one in result.groups] == ["left_out"]


def test_documents_hold_no_nan() -> None:
    rows = simulated(60, 9)
    rows["died"][:] = 1.0  # the curve goes down to 0
    plan = plan_of(np.arange(100.0, 4901.0, 100.0), (0.0, 1.0, 5.0))  # nobody in arm 5
    allowed = np.ones(len(plan.cells), dtype=np.bool_)
    for data in (rows, {name: column[:0] for name, column in rows.items()}):
        result = run(plan, [data], allowed)
        text = json.dumps(result.to_document(), allow_nan=False)
        assert json.loads(text) == result.to_document()
    assert len({tuple(row) for row in run(plan, [rows], allowed).to_rows()}) == 1


def test_noise_below_zero_makes_no_impossible_curve() -> None:
    plan = plan_of((1.0, 2.0, 3.0, 4.0))
    allowed = np.ones(len(plan.cells), dtype=np.bool_)
    unit = 2**FRACTION_BITS
    totals = tuple(int(value * unit) for value in (3.4, -0.7, 1e-9, 2.2, -5.0, 0.3, 0.2, -1.1))
    result = plan.finish([Round(b"", totals, 5)], allowed)
    json.dumps(result.to_document(), allow_nan=False)
    found = result.groups[0].curve
    assert found is not None
    survivals = [point.survival for point in found.points]
    assert all(0 <= after <= before for before, after in itertools.pairwise(survivals))


def test_groups_that_nobody_can_compare_have_no_test() -> None:
    first, second = [5.0, 0.0], [0.0, 5.0]
    assert log_rank(np.array([first, [0.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 0.0]])) is None
    assert log_rank(np.array([[0.0, 0.0]] * 2), np.array([first, second])) is None


def test_a_median_is_found_at_exactly_one_half() -> None:
    found = curve((1.0, 2.0, 3.0), np.array([1.0, 1.0, 2.0]), np.zeros(3), 0.95)
    assert found.median == 2.0
    assert found.points[-1].standard_error is None


def test_one_patient_moves_the_sums_by_the_sensitivity() -> None:
    rows = simulated(50, 10)
    plan = plan_of((100.0, 200.0, 900.0), (0.0, 1.0, 2.0))
    allowed = np.ones(len(plan.cells), dtype=np.bool_)
    less = {name: column[1:] for name, column in rows.items()}
    moved = plan.local(rows, allowed, b"") - plan.local(less, allowed, b"")
    assert np.linalg.norm(moved.astype(float)) == plan.sensitivity(b"")


def test_there_is_one_round() -> None:
    plan = plan_of((1.0, 2.0))
    allowed = np.ones(len(plan.cells), dtype=np.bool_)
    with pytest.raises(IterateRefused):
        plan.check(b"x")
    assert plan.advance([Round(b"", (0, 0, 0, 0), 0)], allowed) is None
    with pytest.raises(TotalsMalformed):
        plan.finish([Round(b"", (0,), 0)], allowed)


@pytest.mark.parametrize(
    ("ends", "group", "groups"),
    [
        ((), "", ()),
        ((0.0, 1.0), "", ()),
        ((1.0, 1.0), "", ()),
        ((1.0, float("inf")), "", ()),
        (tuple(range(1, 514)), "", ()),
        ((1.0,), "arm", ()),
        ((1.0,), "arm", (1.0,)),
        ((1.0,), "arm", (2.0, 1.0)),
        ((1.0,), "", (1.0, 2.0)),
        ((1.0,), "died", (0.0, 1.0)),
    ],
)
def test_what_makes_no_survival_analysis_is_refused(
    ends: tuple[float, ...], group: str, groups: tuple[float, ...]
) -> None:
    with pytest.raises(AnalysisRefused):
        Survival("days", "died", ends, group, groups)


def test_variables_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(AnalysisRefused):
        Survival("days", "arm", (1.0,)).plan(VARIABLES)
    with pytest.raises(AnalysisRefused):
        Survival("days", "died", (1.0,)).plan(VARIABLES | {"days": Variable("days", -1, 9)})
