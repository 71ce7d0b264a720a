"""Study plans: every statistic from summed integers alone, against numpy over the pooled rows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cipherward_threshold.encoding import FixedPoint
from cipherward_threshold.errors import ValueOutOfRange
from cipherward_threshold.parameters import profile
from cipherward_threshold.study import (
    COUNT_SLOTS,
    STATISTICS,
    CollinearVariables,
    PlanRefused,
    Rows,
    RowsMalformed,
    StudyPlan,
    Variable,
)

MODULUS = profile("additive-1").plain_modulus
NAMES = ("age", "bmi", "bp", "s1", "s2", "s5", "progression")
RANGES = tuple(Variable(name, 0.0, 400.0) for name in NAMES)
PLAN = StudyPlan(RANGES, "progression", STATISTICS, 24)


def patients(count: int, seed: int = 7) -> Rows:
    numbers = np.random.default_rng(seed)
    x = numbers.uniform(10, 90, (count, 6)).round(2)
    y = 30 + x @ np.array([0.5, 2.0, -0.3, 0.1, 0.0, 0.7]) + numbers.normal(0, 9, count)
    return np.column_stack([x, y.round(1)])


def totals_of(plan: StudyPlan, parts: list[Rows]) -> list[int]:
    vectors = [plan.sums(part, contributors=len(parts), modulus=MODULUS) for part in parts]
    return [sum(column) for column in zip(*vectors, strict=True)]


def test_every_statistic_of_four_hospitals_is_that_of_their_pooled_patients() -> None:
    rows = patients(442)
    found = PLAN.finish(totals_of(PLAN, [rows[i::4] for i in range(4)]))
    assert found.count == 442
    assert list(found.sums.values()) == pytest.approx(rows.sum(axis=0), rel=1e-11)
    assert list(found.means.values()) == pytest.approx(rows.mean(axis=0), rel=1e-11)
    assert list(found.variances.values()) == pytest.approx(rows.var(axis=0, ddof=1), rel=1e-9)
    covariance = np.cov(rows.T)
    for (first, second), value in found.covariances.items():
        expected = covariance[NAMES.index(first), NAMES.index(second)]
        assert value == pytest.approx(expected, rel=1e-7, abs=1e-8)
    assert len(found.covariances) == 28


def test_the_regression_is_least_squares_with_its_standard_errors() -> None:
    rows = patients(442)
    found = PLAN.finish(totals_of(PLAN, [rows[:100], rows[100:]])).regression
    assert found is not None
    design = np.column_stack([np.ones(len(rows)), rows[:, :6]])
    expected, residual, _, _ = np.linalg.lstsq(design, rows[:, 6], rcond=None)
    variance = float(residual[0]) / (442 - 7)
    errors = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    assert [found.intercept, *found.coefficients.values()] == pytest.approx(expected, rel=1e-7)
    assert [found.intercept_standard_error, *found.standard_errors.values()] == pytest.approx(
        errors, rel=1e-7
    )
    centred = rows[:, 6] - rows[:, 6].mean()
    assert found.r_squared == pytest.approx(1 - residual[0] / (centred @ centred), rel=1e-9)
    assert found.residual_variance == pytest.approx(variance, rel=1e-9)
    assert found.degrees_of_freedom == 435


def test_a_predictor_with_a_huge_mean_loses_no_digits() -> None:
    numbers = np.random.default_rng(3)
    x = 1e4 + numbers.integers(0, 64, 500) / 64
    rows = np.column_stack([x, 3 * (x - 1e4) + numbers.integers(0, 8, 500) / 8])
    plan = StudyPlan(
        (Variable("x", 0, 2e4), Variable("y", -9, 9)), "y", ("count", "linear_regression"), 12
    )  # steps of 2^-12 hold every product exactly
    found = plan.finish(totals_of(plan, [rows[:250], rows[250:]])).regression
    assert found is not None
    slope = np.polyfit(x - 1e4, rows[:, 1], 1)[0]
    assert found.coefficients["x"] == pytest.approx(slope, rel=1e-10)


def test_missing_and_implausible_values_leave_the_whole_row_out() -> None:
    rows = patients(10)
    rows[0, 2] = math.nan
    rows[1, 6] = 401
    rows[2, 0] = -0.5
    rows[3, 1] = math.inf
    rows[4, 0], rows[4, 1] = 0.0, 400.0  # the ends are plausible
    assert len(PLAN.complete(rows)) == 6
    assert PLAN.counts(rows) == [6, 1]
    assert PLAN.sums(rows, contributors=4, modulus=MODULUS)[0] == 6 << 24


def test_a_member_without_patients_contributes_zeros() -> None:
    empty = patients(3)[:0]
    assert PLAN.counts(empty) == [0] * COUNT_SLOTS
    assert PLAN.sums(empty, contributors=4, modulus=MODULUS) == [0] * PLAN.sum_slots


@pytest.mark.parametrize(
    ("statistics", "slots"),
    [
        (("count",), 1),
        (("count", "sum", "mean"), 8),
        (("count", "variance"), 15),
        (("count", "covariance"), 36),
    ],
)
def test_only_the_sums_that_are_needed_are_encrypted(
    statistics: tuple[str, ...], slots: int
) -> None:
    plan = StudyPlan(RANGES, "", statistics, 24)
    assert plan.sum_slots == slots
    found = plan.finish(totals_of(plan, [patients(20), patients(30, seed=1)]))
    assert found.count == 50
    assert bool(found.sums) == ("sum" in statistics)
    assert bool(found.variances) == ("variance" in statistics)
    assert found.regression is None


def test_totals_are_exact_in_fixed_point() -> None:
    parts = [patients(50), patients(60, seed=1)]
    kept = np.concatenate([parts[0].sum(axis=0), parts[1].sum(axis=0)])
    point = FixedPoint(24)
    each = [point.encode([math.fsum(p[:, 3])], contributors=2, modulus=MODULUS) for p in parts]
    assert totals_of(PLAN, parts)[1 + 3] == each[0][0] + each[1][0]
    assert abs(totals_of(PLAN, parts)[1 + 3] / 2**24 - (kept[3] + kept[10])) < 2**-23


def test_a_sum_that_could_wrap_is_refused() -> None:
    plan = StudyPlan(RANGES, "progression", STATISTICS, 44)
    with pytest.raises(ValueOutOfRange):
        plan.sums(patients(442), contributors=4, modulus=MODULUS)


@pytest.mark.parametrize(
    ("variables", "outcome", "statistics"),
    [
        ((), "", ("count",)),
        ((Variable("a", 0, 1), Variable("a", 0, 1)), "", ("count",)),
        ((Variable("a", 1, 1),), "", ("count",)),
        ((Variable("a", math.nan, 1),), "", ("count",)),
        ((Variable("a", 0, math.inf),), "", ("count",)),
        ((Variable("a", 0, 1),), "", ("sum",)),
        ((Variable("a", 0, 1),), "", ("count", "median")),
        ((Variable("a", 0, 1),), "", ("count", "count")),
        ((Variable("a", 0, 1),), "a", ("count", "linear_regression")),
        ((Variable("a", 0, 1), Variable("b", 0, 1)), "c", ("count", "linear_regression")),
        ((Variable("a", 0, 1), Variable("b", 0, 1)), "a", ("count",)),
        ((Variable("a", 0, 1), Variable("b", 0, 1)), "", ("count", "linear_regression")),
    ],
)
def test_a_plan_that_cannot_be_computed_is_refused(
    variables: tuple[Variable, ...], outcome: str, statistics: tuple[str, ...]
) -> None:
    with pytest.raises(PlanRefused):
        StudyPlan(variables, outcome, statistics, 24)


def test_a_fixed_point_beyond_a_double_is_refused() -> None:
    with pytest.raises(ValueOutOfRange):
        StudyPlan(RANGES, "", ("count",), 53)


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(RowsMalformed):
        PLAN.counts(patients(3)[:, :5])


def test_totals_that_are_none_are_refused() -> None:
    good = totals_of(PLAN, [patients(20)])
    with pytest.raises(RowsMalformed):
        PLAN.finish(good[:-1])
    with pytest.raises(RowsMalformed):
        PLAN.finish([good[0] + 1, *good[1:]])
    with pytest.raises(RowsMalformed):
        PLAN.finish([-good[0], *good[1:]])


@pytest.mark.parametrize("case", ["constant", "dependent", "few"])
def test_a_regression_without_one_solution_is_refused(case: str) -> None:
    rows = patients(30)
    if case == "constant":
        rows[:, 0] = 50
    elif case == "dependent":
        rows[:, 1] = rows[:, 0]
    else:
        rows = rows[:7]
    with pytest.raises(CollinearVariables):
        PLAN.finish(totals_of(PLAN, [rows]))


def test_a_study_of_nobody_has_a_count_and_no_means() -> None:
    plan = StudyPlan(RANGES, "", ("count", "sum", "mean", "variance"), 24)
    found = plan.finish([0] * plan.sum_slots)
    assert (found.count, found.means, found.variances) == (0, {}, {})
