"""Studies of several rounds: an iterative analysis beside one that has finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import statsmodels.api

from cipherward_studies.analyses.logistic_result import LogisticResult
from cipherward_studies.answer import Answer
from cipherward_studies.errors import IterateRefused
from cipherward_studies.iterates import iterate_octets, parse_iterate
from cipherward_studies.plan import Plan, Released
from cipherward_studies.variables import Columns

models: Any = statsmodels.api

Run = Callable[[dict[str, Any], Sequence[Columns]], Answer]
Split = Callable[[Columns, Sequence[int]], list[Columns]]
Compile = Callable[[dict[str, Any]], Plan]

DOCUMENT: dict[str, Any] = {
    "variables": [{"name": "ill", "kind": "flag"}, {"name": "age", "low": 18, "high": 100}],
    "analyses": [
        {"kind": "moments", "variables": ["age"]},
        {"kind": "logistic_regression", "outcome": "ill", "predictors": ["age"]},
    ],
}


def patients() -> Columns:
    numbers = np.random.default_rng(12)
    age = numbers.uniform(20, 95, 900)
    odds = np.exp(-6 + 0.1 * age)
    return {"age": age, "ill": (numbers.random(900) < odds / (1 + odds)).astype(float)}


def first_rounds(compiled: Plan, count: int) -> list[Released]:
    """Return so many released rounds of all patients."""
    rounds: list[Released] = []
    iterate: bytes | None = b""
    while iterate is not None and len(rounds) < count:
        rounds.append(Released(iterate, tuple(compiled.local([patients()], [0], iterate))))
        iterate = compiled.advance(rounds, [0])
    return rounds


def test_rounds_go_on_until_the_regression_has_converged(answer: Run, split: Split) -> None:
    rows = patients()
    found = answer(DOCUMENT, split(rows, [400, 300, 200]))
    assert 3 <= found.rounds <= 12
    _, regression = found.results
    assert isinstance(regression, LogisticResult)
    assert regression.outcome == "converged"
    pooled = models.Logit(rows["ill"], models.add_constant(rows["age"])).fit(disp=0, tol=1e-12)
    estimates = [one.estimate for one in regression.coefficients]
    assert estimates == pytest.approx(pooled.params, rel=1e-6)


def test_an_analysis_that_has_finished_encrypts_zeros(plan: Compile) -> None:
    compiled = plan(DOCUMENT)
    moments, regression = compiled.analyses
    rounds = first_rounds(compiled, 3)
    assert any(rounds[0].totals[2 : 2 + moments.slots])
    for later in rounds[1:]:
        assert not any(later.totals[2 : 2 + moments.slots])
        assert any(later.totals[-regression.slots :])
        assert parse_iterate(later.iterate, 2)[0] is None
        assert compiled.advance(rounds[:1], [0]) == rounds[1].iterate  # a replay finds the same


def test_no_more_rounds_are_asked_than_the_study_allows(plan: Compile) -> None:
    compiled = plan(DOCUMENT | {"rounds_max": 2})
    assert compiled.rounds == 2
    rounds = first_rounds(compiled, 50)
    assert len(rounds) == 2
    _, regression = compiled.finish(rounds, [0]).results
    assert isinstance(regression, LogisticResult)
    assert regression.outcome != "converged"


def test_noise_goes_to_the_analyses_that_go_on(plan: Compile) -> None:
    compiled = plan(DOCUMENT | {"rho_micro": 30_000})
    rounds = first_rounds(plan(DOCUMENT), 2)
    first, later = compiled.noise(b""), compiled.noise(rounds[1].iterate)
    assert len(first) == 3
    assert len(later) == 2
    assert later[1].stop == compiled.value_slots
    assert later[0].sigma < first[0].sigma  # two share the rho that three did


def test_an_iterate_out_of_bounds_is_refused_before_anything_is_computed(plan: Compile) -> None:
    compiled = plan(DOCUMENT)
    with pytest.raises(IterateRefused):
        compiled.check_iterate(iterate_octets([None, b"\xff" * 40]))
    with pytest.raises(IterateRefused):
        compiled.check_iterate(iterate_octets([b"\xa0", None]))  # moments have one round
    with pytest.raises(IterateRefused):
        plan(DOCUMENT | {"rho_micro": 9}).noise(iterate_octets([None, b"\xff" * 40]))
