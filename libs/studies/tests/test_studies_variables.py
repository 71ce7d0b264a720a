"""Who takes part: conditions, missing values, plausible ranges."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cipherward_studies.errors import ColumnsMalformed, ValueMissing, ValueOutside
from cipherward_studies.variables import (
    OPERATORS,
    Condition,
    Missing,
    Operator,
    Outside,
    Variable,
    prepare,
)

NAN = math.nan


def age(*, missing: Missing = "exclude", outside: Outside = "exclude") -> Variable:
    return Variable("age", 18, 100, "years", missing=missing, outside=outside)


def test_the_ends_of_a_range_are_plausible_and_what_is_beyond_is_counted() -> None:
    rows = {"age": np.array([18, 100, 17.9, 100.1, NAN, math.inf, -math.inf, 50])}
    found = prepare([age()], [], rows)
    assert found.used.tolist() == [True, True, False, False, False, False, False, True]
    assert (found.patients, found.excluded) == (3, 5)
    assert found.columns["age"].tolist() == [18, 100, 50]


def test_clipping_keeps_the_patient_at_the_nearer_end() -> None:
    found = prepare([age(outside="clip")], [], {"age": np.array([5.0, 200, NAN, 40])})
    assert found.columns["age"].tolist() == [18, 100, 40]
    assert found.excluded == 1  # who has no value has none to clip


def test_one_missing_value_leaves_the_patient_out_of_everything() -> None:
    variables = [age(), Variable("bmi", 10, 60)]
    rows = {"age": np.array([20.0, 30, NAN]), "bmi": np.array([NAN, 25, 25])}
    found = prepare(variables, [], rows)
    assert (found.patients, found.excluded) == (1, 2)
    assert {name: column.tolist() for name, column in found.columns.items()} == {
        "age": [30],
        "bmi": [25],
    }


def test_a_variable_may_refuse_what_is_missing_or_implausible() -> None:
    with pytest.raises(ValueMissing) as missing:
        prepare([age(missing="refuse")], [], {"age": np.array([50, NAN])})
    assert missing.value.metadata == {"variable": "age"}
    with pytest.raises(ValueOutside):
        prepare([age(outside="refuse")], [], {"age": np.array([50, 101.0])})


def test_a_refusal_concerns_the_cohort_only() -> None:
    variables = [age(outside="refuse"), Variable("bmi", 10, 60, missing="refuse")]
    cohort = [Condition("age", "<=", (100,))]
    rows = {"age": np.array([50, 101.0]), "bmi": np.array([20, NAN])}
    assert prepare(variables, cohort, rows).patients == 1


@pytest.mark.parametrize(
    ("op", "values", "kept"),
    [
        ("<", (30,), [20]),
        ("<=", (30,), [20, 30]),
        ("==", (30,), [30]),
        ("!=", (30,), [20, 40]),
        (">=", (30,), [30, 40]),
        (">", (30,), [40]),
        ("between", (20, 30), [20, 30]),
    ],
)
def test_each_condition_keeps_whom_it_says(
    op: Operator, values: tuple[float, ...], kept: list[float]
) -> None:
    found = prepare([age()], [Condition("age", op, values)], {"age": np.array([20.0, 30, 40])})
    assert found.columns["age"].tolist() == kept
    assert found.excluded == 0  # who is not in the cohort is counted nowhere


def test_every_operator_is_tried_above() -> None:
    assert set(OPERATORS) == {"<", "<=", "==", "!=", ">=", ">", "between"}


def test_who_may_be_in_the_cohort_but_has_no_value_is_counted_as_excluded() -> None:
    variables = [age(), Variable("bmi", 10, 60)]
    cohort = [Condition("age", ">", (30,)), Condition("bmi", "<", (25,))]
    rows = {"age": np.array([NAN, NAN, 40]), "bmi": np.array([20, 30.0, 20])}
    found = prepare(variables, cohort, rows)
    assert (found.patients, found.excluded) == (1, 1)


def test_conditions_see_values_before_they_are_clipped() -> None:
    cohort = [Condition("age", ">", (100,))]
    found = prepare([age(outside="clip")], cohort, {"age": np.array([100, 120.0])})
    assert found.columns["age"].tolist() == [100]


def test_a_flag_has_its_two_values_only() -> None:
    flag = Variable("sex", 1, 2, kind="flag")
    found = prepare([flag], [], {"sex": np.array([1, 2, 0, 1.5, NAN])})
    assert (found.columns["sex"].tolist(), found.excluded) == ([1, 2], 3)
    clip = Variable("sex", 1, 2, kind="flag", outside="clip")
    assert prepare([clip], [], {"sex": np.array([0, 1.7])}).columns["sex"].tolist() == [1, 2]


def test_a_column_is_scaled_to_one_on_both_sides() -> None:
    assert age().scaled(np.array([18, 59, 100.0])).tolist() == [-1, 0, 1]


@pytest.mark.parametrize(
    "rows",
    [
        {"bmi": np.zeros(3)},
        {"age": np.zeros((3, 1))},
        {"age": np.zeros(3), "bmi": np.zeros(2)},
    ],
)
def test_rows_without_the_columns_of_the_study_are_refused(rows: dict[str, np.ndarray]) -> None:
    with pytest.raises(ColumnsMalformed):
        prepare([age(), Variable("bmi", 10, 60)], [], rows)


def test_no_rows_are_no_patients() -> None:
    found = prepare([age()], [], {"age": np.zeros(0)})
    assert (found.patients, found.excluded) == (0, 0)
