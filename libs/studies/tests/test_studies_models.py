"""The text of a risk model, and how its scores are computed on stored columns."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cipherward_chain.canonical import encode
from cipherward_studies.columns import VALUE_BITS, ColumnText
from cipherward_studies.errors import ColumnsDiffer, DraftInvalid
from cipherward_studies.models import TERMS_MAX, WEIGHT_MAX, Model, ModelMalformed, parse_model
from cipherward_studies.schema import model_schema
from cipherward_studies.scores import WEIGHT_BITS, ScorePlan, WeightVanishes, plan_scores
from cipherward_threshold.parameters import profile
from tools.study_schema import MODEL_TARGET, model_document

SUM_MAX = profile("product-1").message_bound
AGE: dict[str, Any] = {"variable": "age", "at": "hospital-a", "weight": "0.0412"}
BMI: dict[str, Any] = {"variable": "bmi", "at": "hospital-b", "weight": 0.0712}
TEXT = ColumnText.from_document(
    {
        "data_set": "cohort-1",
        "variables": [
            {"name": "age", "low": 0, "high": 120},
            {"name": "bmi", "low": 10, "high": 80, "fraction_bits": 8},
            {"name": "change", "low": "-0.9", "high": "0.9", "fraction_bits": 20},
        ],
    }
)


def document(*terms: dict[str, Any], **changed: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"data_set": "cohort-1", "kind": "logistic", "intercept": -3.5}
    return {**found, "terms": list(terms or (AGE, BMI)), **changed}


def planned(*terms: dict[str, Any], **changed: Any) -> ScorePlan:
    return plan_scores(Model.from_document(document(*terms, **changed)), TEXT)


def test_a_text_reads_as_what_was_written() -> None:
    model = Model.from_document(document())
    assert parse_model(model.to_bytes()) == model
    assert Model.from_document(model.to_document()) == model
    assert model.terms[1].weight == Decimal("0.0712")
    assert model.members == ("hospital-a", "hospital-b")


@pytest.mark.parametrize(
    ("changed", "at"),
    [
        (document({**AGE, "weight": 0}), "/terms/0/weight"),
        (document({**AGE, "weight": "1.234567891"}), "/terms/0/weight"),
        (document({**AGE, "weight": WEIGHT_MAX + 1}), "/terms/0/weight"),
        (document({**AGE, "weight": "1e-3"}), "/terms/0/weight"),
        (document({**AGE, "weight": True}), "/terms/0/weight"),
        (document({**AGE, "at": "Hospital A"}), "/terms/0/at"),
        (document(AGE, {**AGE, "weight": 2}), "/terms"),
        (document(terms=[]), "/terms"),
        (document(terms=[{**AGE, "variable": f"v{n}"} for n in range(TERMS_MAX + 1)]), "/terms"),
        (document(kind="cox"), "/kind"),
        (document(intercept=math.inf), "/intercept"),
        (document(data_set="patients"), "/data_set"),
        (document(more=1), "/more"),
    ],
)
def test_what_is_no_model_is_refused_with_its_place(changed: dict[str, Any], at: str) -> None:
    with pytest.raises(DraftInvalid) as refused:
        Model.from_document(changed)
    assert at in {fault.pointer for fault in refused.value.faults}


def test_a_text_has_one_form_only() -> None:
    loose = {"version": 1, **Model.from_document(document()).to_document()}
    assert parse_model(encode(loose))
    other: list[dict[str, Any]] = [
        {**loose, "intercept": "-3.50"},
        {**loose, "version": 2},
        {**loose, "octets": b""},
    ]
    for octets in (b"", b"\xa0", *map(encode, other), bytes(17_000)):
        with pytest.raises(ModelMalformed):
            parse_model(octets)


def test_the_published_schema_is_current_and_takes_what_the_reading_takes() -> None:
    assert MODEL_TARGET.read_text(encoding="utf-8") == model_document(), (
        "run python tools/study_schema.py"
    )
    validator: Any = Draft202012Validator(model_schema())
    assert validator.is_valid(document())
    assert validator.is_valid(Model.from_document(document()).to_document())
    assert not validator.is_valid(document(kind="cox"))
    assert not validator.is_valid(document({**AGE, "weight": "1e-3"}))


def test_a_probability_is_the_logistic_of_the_score() -> None:
    plan = planned()
    age, bmi = 61, 25 * 256
    opened = plan.terms[0].weight * age + plan.terms[1].weight * bmi
    linear = -3.5 + 0.0412 * 61 + 0.0712 * 25
    assert plan.linear(opened) == pytest.approx(linear, abs=plan.error)
    assert plan.probability(opened) == pytest.approx(1 / (1 + math.exp(-plan.linear(opened))))
    assert planned(kind="linear").probability(opened) == 0.0
    assert plan.probability(-(1 << 56)) == 0.0
    assert plan.probability(1 << 56) == 1.0


def test_the_scale_is_the_largest_that_the_circuit_carries() -> None:
    plan = planned()
    assert (1 << WEIGHT_BITS) // 2 <= max(plan.weights) < 1 << WEIGHT_BITS
    most = planned({**AGE, "weight": WEIGHT_MAX}, {**BMI, "weight": -WEIGHT_MAX})
    assert (most.scale_bits, most.weights) == (0, (WEIGHT_MAX, -round(WEIGHT_MAX / 256)))


def test_a_weight_that_is_nothing_beside_another_is_refused_by_name() -> None:
    with pytest.raises(WeightVanishes) as refused:
        planned({**AGE, "weight": WEIGHT_MAX}, {**BMI, "weight": "0.001"})
    assert refused.value.metadata == {"variable": "bmi", "at": "hospital-b"}


def test_columns_that_are_not_stored_are_refused() -> None:
    with pytest.raises(ColumnsDiffer):
        planned({**AGE, "variable": "height"})
    with pytest.raises(ColumnsDiffer):
        planned(data_set="cohort-2")
    with pytest.raises(ColumnsDiffer, match="hospital-b"):
        Model.from_document(document()).check_members(("hospital-a", "hospital-c"))


def test_the_largest_sums_of_the_largest_model_fit_the_plaintext() -> None:
    assert TERMS_MAX << WEIGHT_BITS + VALUE_BITS <= SUM_MAX


@st.composite
def weights(draw: st.DrawFn) -> Decimal:
    digits = draw(st.integers(1, 10**9 - 1)) * draw(st.sampled_from((1, -1)))
    return Decimal(digits).scaleb(-draw(st.integers(3, 12)))


@given(
    st.lists(weights(), min_size=3, max_size=3),
    st.floats(0, 120),
    st.floats(10, 80),
    st.floats(-0.9, 0.9),
    weights(),
)
def test_a_score_differs_from_the_models_own_by_no_more_than_the_stated_error(
    weighed: list[Decimal], age: float, bmi: float, change: float, intercept: Decimal
) -> None:
    names = ("age", "bmi", "change")
    terms = [
        {"variable": name, "at": "hospital-a", "weight": f"{weight:f}"}
        for name, weight in zip(names, weighed, strict=True)
    ]
    try:
        plan = planned(*terms, intercept=f"{intercept:f}")
    except WeightVanishes:
        return
    values = dict(zip(names, (age, bmi, change), strict=True))
    steps = {n: round(Fraction(v) * 2 ** TEXT.variable(n).fraction_bits) for n, v in values.items()}
    opened = sum(term.weight * steps[term.variable] for term in plan.terms)
    exact = Fraction(intercept) + sum(
        Fraction(weight) * Fraction(values[name])
        for name, weight in zip(names, weighed, strict=True)
    )
    assert abs(opened) <= plan.bound <= SUM_MAX
    assert abs(Fraction(plan.linear(opened)) - exact) <= plan.error
