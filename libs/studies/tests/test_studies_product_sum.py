"""Studies of stored columns: their texts, their terms, and what follows from the sums."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cipherward_studies import columns
from cipherward_studies.analyses import product_sum
from cipherward_studies.analyses.product_sum import ProductSumResult
from cipherward_studies.column_explain import explain_columns
from cipherward_studies.column_plan import ColumnPlan, Factor, Term, is_of_columns, plan_for
from cipherward_studies.columns import ColumnText, StoredVariable
from cipherward_studies.errors import (
    AnalysisRefused,
    CohortTooSmall,
    ColumnsDiffer,
    CountsMalformed,
    DraftInvalid,
    TotalsMalformed,
)
from cipherward_studies.plan import Plan, Released
from cipherward_studies.spec import Draft, StudySpec, parse_spec

AGE: dict[str, Any] = {"name": "age", "low": 0, "high": 120, "unit": "a"}
BMI: dict[str, Any] = {"name": "bmi", "low": 10, "high": 90, "unit": "kg/m2"}
PRODUCT: dict[str, Any] = {
    "kind": "product_sum",
    "x": {"variable": "age", "at": "north"},
    "y": {"variable": "bmi", "at": "south", "fraction_bits": 4},
}
KEY: dict[str, Any] = {"id": "ab" * 16, "key_digest": "cd" * 32, "releases_max": 100}
MEMBERS = ("east", "north", "south")


def a_document(**changed: Any) -> dict[str, Any]:
    return {
        "data_set": "cohort-1",
        "variables": [AGE, BMI],
        "analyses": [PRODUCT],
        "profile": "product-1",
        "minimum": 10,
        "data_key": KEY,
        **changed,
    }


def a_study(**changed: Any) -> StudySpec:
    return Draft.from_document(a_document(**changed)).spec(b"key")


def a_text(**changed: Any) -> ColumnText:
    bmi = {**BMI, "fraction_bits": 4, **changed}
    return ColumnText.from_document({"data_set": "cohort-1", "variables": [AGE, bmi]})


def test_the_text_of_a_product_is_read_as_it_was_written() -> None:
    study = a_study()
    assert parse_spec(study.octets) == study
    assert study.outputs == ("count", "covariance", "mean", "product_sum", "sum")
    assert is_of_columns(study)


def test_a_draft_keeps_the_data_key_that_it_names() -> None:
    draft = Draft.from_document(a_document())
    assert draft.data_key is not None
    assert draft.data_key.id == bytes.fromhex("ab" * 16)
    assert Draft.from_document(draft.to_document()) == draft
    assert plan_for(draft.spec(b"key")) == ColumnPlan.of(a_study())


def test_no_member_plans_a_product_over_rows() -> None:
    with pytest.raises(AnalysisRefused, match="stored columns"):
        Plan.of(a_study())


def test_a_study_over_rows_is_none_of_columns() -> None:
    moments = {"kind": "moments", "variables": ["age", "bmi"]}
    study = a_study(analyses=[moments], profile="additive-1", data_key={})
    assert not is_of_columns(study)
    with pytest.raises(AnalysisRefused, match="product_sum alone"):
        ColumnPlan.of(study)


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"analyses": [PRODUCT, {"kind": "moments", "variables": ["age"]}]}, "/analyses"),
        ({"analyses": [PRODUCT] * 3}, "/analyses"),
        ({"analyses": [PRODUCT, PRODUCT | {"x": PRODUCT["y"], "y": PRODUCT["x"]}]}, "/analyses"),
        ({"analyses": [PRODUCT | {"y": {"variable": "bmi", "at": "north"}}]}, "/analyses/0"),
        ({"analyses": [PRODUCT | {"y": {"variable": "bmi"}}]}, "/analyses/0/y"),
        ({"cohort": [{"variable": "age", "op": ">", "values": [50]}]}, "/cohort"),
        ({"rho_micro": 1000}, "/rho_micro"),
        ({"profile": "additive-1"}, "/profile"),
        ({"data_key": None}, "/data_key"),
        ({"data_key": KEY | {"id": "ab"}}, "/data_key/id"),
        (
            {"analyses": [{"kind": "moments", "variables": ["age", "bmi"]}]},
            "/data_key",
        ),
    ],
)
def test_what_cannot_be_computed_on_columns_is_no_study(
    changed: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(DraftInvalid) as refused:
        a_study(**changed)
    assert pointer in [fault.pointer for fault in refused.value.faults]


def test_the_terms_are_products_of_the_two_members_columns() -> None:
    fx, fy = Factor("north", "age", "flag"), Factor("south", "bmi", "flag")
    x, y = Factor("north", "age", "value"), Factor("south", "bmi", "value")
    plan = ColumnPlan.of(a_study())
    assert plan.terms("counts") == (Term(fx, fy),)
    assert plan.terms("values") == (Term(fx, fy, 2), Term(x, fy), Term(fx, y), Term(x, y))


@pytest.mark.parametrize(
    ("bounds", "bits"), [((0, 1), 0), ((1, 2), 0), ((0, 0.0625), 4), ((10, 10.125), 3)]
)
def test_products_with_a_column_of_two_values_are_refused(
    bounds: tuple[float, float], bits: int
) -> None:
    low, high = bounds
    flag = {"name": "smoker", "low": low, "high": high}
    operand = {"variable": "smoker", "at": "south", "fraction_bits": bits}
    for other, sides in ((AGE, {"y": operand}), (BMI, {"x": {**operand, "at": "north"}})):
        study = a_study(variables=[other, flag], analyses=[PRODUCT | sides])
        with pytest.raises(AnalysisRefused, match="smoker has two values"):
            plan_for(study)
    three = {**flag, "high": low + 2 / (1 << bits)}
    asked = a_study(variables=[AGE, three], analyses=[PRODUCT | {"y": operand}])
    assert isinstance(plan_for(asked), ColumnPlan)


@given(
    values=st.lists(st.one_of(st.floats(), st.just(math.nan)), min_size=1, max_size=40),
    low=st.integers(-100, 99),
    width=st.integers(1, 100),
    bits=st.integers(0, 8),
)
def test_no_patient_weighs_more_in_a_column_than_its_declared_range(
    values: list[float], low: int, width: int, bits: int
) -> None:
    stored = StoredVariable("x", float(low), float(low + width), "", bits)
    steps, there = stored.steps(np.array(values))
    assert (steps[there] >= low << bits).all()
    assert (steps[there] <= (low + width) << bits).all()
    assert not steps[~there].any()


def test_columns_that_are_as_the_study_says_are_taken() -> None:
    ColumnPlan.of(a_study()).check_columns(a_text(), MEMBERS)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"fraction_bits": 3}, "fraction bits"),
        ({"unit": "lb/in2"}, "another unit"),
        ({"high": 80}, "10 to 80"),
        ({"name": "weight"}, "no column of bmi"),
    ],
)
def test_columns_in_another_form_are_refused(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(ColumnsDiffer, match=why):
        ColumnPlan.of(a_study()).check_columns(a_text(**changed), MEMBERS)


def test_a_column_of_somebody_who_has_none_is_refused() -> None:
    with pytest.raises(ColumnsDiffer, match="south stores no columns"):
        ColumnPlan.of(a_study()).check_columns(a_text(), ("east", "north"))


def test_fewer_common_patients_than_the_minimum_fail_the_study() -> None:
    plan = ColumnPlan.of(a_study())
    assert plan.verdict([10], 40) == ()
    with pytest.raises(CohortTooSmall):
        plan.verdict([9], 40)


@pytest.mark.parametrize("counts", [[], [41], [-1], [20, 20]])
def test_counts_that_no_patients_have_are_refused(counts: list[int]) -> None:
    with pytest.raises(CountsMalformed):
        ColumnPlan.of(a_study()).verdict(counts, 40)


def test_the_answer_is_that_of_the_pooled_patients() -> None:
    numbers = np.random.default_rng(4)
    age = numbers.integers(20, 90, 50)
    bmi = numbers.integers(18 * 16, 40 * 16, 50)
    sums = [100, int(age.sum()), int(bmi.sum()), int((age * bmi).sum())]
    answer = ColumnPlan.of(a_study()).finish([Released(b"", tuple(sums))], ())
    (found,) = answer.results
    assert isinstance(found, ProductSumResult)
    assert (answer.patients, found.patients, found.sum_x) == (50, 50, age.sum())
    assert found.mean_y == pytest.approx((bmi / 16).mean(), rel=1e-14)
    assert found.product_sum == pytest.approx((age * bmi / 16).sum(), rel=1e-14)
    assert found.covariance == pytest.approx(np.cov(age, bmi / 16)[0, 1], rel=1e-12)
    assert found.to_rows() == [found.to_document()]


@pytest.mark.parametrize("doubled", [101, 18, -100])
def test_totals_of_no_or_too_few_patients_are_refused(doubled: int) -> None:
    with pytest.raises(TotalsMalformed):
        ColumnPlan.of(a_study()).finish([Released(b"", (doubled, 1, 1, 1))], ())


def test_the_largest_sum_stays_below_half_of_the_plaintext_modulus() -> None:
    from cipherward_threshold.parameters import profile

    parameters = profile("product-1")
    slots = columns.BLOCKS_MAX * parameters.slots
    assert ColumnPlan.of(a_study()).bound(slots) < parameters.plain_modulus // 2


def test_operands_have_the_fraction_bits_that_columns_have() -> None:
    assert product_sum.FRACTION_BITS_MAX == columns.FRACTION_BITS_MAX


def test_an_explanation_says_who_learns_what() -> None:
    found = explain_columns(ColumnPlan.of(a_study()))
    assert found.cells == ("patients of whom age at north and bmi at south are known",)
    assert (found.counts.ciphertexts, found.values.ciphertexts, found.values.bytes) == (1, 4, 0)
    assert found.error_bounds["1 product_sum: covariance"].startswith("exact")
    assert any("fewer than 10 patients" in sentence for sentence in found.disclosed)
