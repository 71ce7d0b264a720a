"""Noisy and impossible totals: every analysis answers in finite numbers, or says why not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cipherward_studies.analyses.registry import ANALYSES
from cipherward_studies.errors import TotalsMalformed
from cipherward_studies.plan import Plan, Released
from cipherward_studies.variables import Columns

Split = Callable[[Columns, Sequence[int]], list[Columns]]
Compile = Callable[[dict[str, Any]], Plan]

VARIABLES: list[dict[str, Any]] = [
    {"name": "age", "low": 18, "high": 100, "unit": "years"},
    {"name": "weeks", "low": 0, "high": 100},
    {"name": "died", "kind": "flag"},
    {"name": "treated", "kind": "flag"},
]
TIMES = {"time": "weeks", "event": "died", "ends": [25, 50, 75, 100]}
KINDS: list[dict[str, Any]] = [
    {"kind": "moments", "variables": ["age"], "statistics": ["standard_error", "correlation"]},
    {"kind": "histogram", "variable": "age", "edges": [40, 60], "quantiles": [0.1, 0.5]},
    {"kind": "table", "rows": "died", "columns": "treated"},
    {"kind": "linear_regression", "outcome": "age", "predictors": ["weeks", "treated"]},
    {"kind": "t_test", "variable": "age", "group": "treated", "groups": [0, 1]},
    {"kind": "anova", "variable": "age", "group": "treated", "groups": [0, 1]},
    {"kind": "logistic_regression", "outcome": "died", "predictors": ["age", "treated"]},
    {"kind": "survival", **TIMES, "group": "treated", "groups": [0, 1]},
    {"kind": "cox", **TIMES, "predictors": ["age", "treated"]},
]
NAMED = {one["kind"]: one for one in KINDS}
USES = [
    {"variable": name, "op": ">=", "values": [0]} for name in ("age", "weeks", "died", "treated")
]


def patients(count: int) -> Columns:
    numbers = np.random.default_rng(6)
    treated = (numbers.random(count) < 0.5).astype(float)
    age = numbers.uniform(20, 95, count)
    weeks = numbers.exponential(60 + 30 * treated, count).clip(0.1, 100)
    return {
        "age": age,
        "weeks": weeks,
        "died": (numbers.random(count) < 0.6).astype(float),
        "treated": treated,
    }


def assert_finite(value: Any) -> None:
    """Hold that a document has only finite numbers, and that JSON takes it."""
    text = json.dumps(value, allow_nan=False)
    assert "NaN" not in text


def compiled_for(kind: str, plan: Compile, rho_micro: int = 0) -> Plan:
    document = {"variables": VARIABLES, "cohort": USES, "analyses": [NAMED[kind]]}
    return plan(document | {"rho_micro": rho_micro})


def test_every_kind_of_analysis_is_tried_here() -> None:
    assert set(NAMED) == set(ANALYSES) - {"product_sum"}  # of stored columns, which are exact


@pytest.mark.parametrize("kind", sorted(NAMED))
def test_noise_leaves_an_answer_of_finite_numbers(kind: str, plan: Compile) -> None:
    compiled = compiled_for(kind, plan, 200)
    rows = patients(400)
    for seed in range(5):
        numbers = np.random.default_rng(seed)
        rounds: list[Released] = []
        iterate: bytes | None = b""
        while iterate is not None:
            values = np.array(compiled.local([rows], [0], iterate), dtype=np.float64)
            for block in compiled.noise(iterate):
                values[block.start : block.stop] += numbers.normal(
                    0, block.sigma, block.stop - block.start
                )
            totals = tuple(int(total) for total in np.rint(values))
            rounds.append(Released(iterate, totals))
            iterate = compiled.advance(rounds, [0])
        found = compiled.finish(rounds, [0])
        assert found.private
        assert_finite(found.to_document())
        for result in found.results:
            assert_finite(result.to_rows())


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(sorted(NAMED)), data=st.data())
def test_totals_that_no_patients_have_end_in_a_name(
    kind: str, data: st.DataObject, plan: Compile
) -> None:
    compiled = compiled_for(kind, plan)
    size = st.sampled_from([1, 50, 2**20, 2**33, 2**45, 2**56])
    totals = tuple(
        data.draw(st.integers(-bound, bound))
        for bound in data.draw(
            st.lists(size, min_size=compiled.value_slots, max_size=compiled.value_slots)
        )
    )
    rounds = [Released(b"", totals)]
    failed = data.draw(st.sets(st.integers(0, len(compiled.cells) - 1)).map(sorted))
    try:
        compiled.advance(rounds, failed)
        found = compiled.finish(rounds, failed).to_document()
    except TotalsMalformed:
        found = {}
    assert_finite(found)


@pytest.mark.parametrize("kind", sorted(NAMED))
def test_nothing_of_a_cell_that_failed_is_encrypted_or_answered(
    kind: str, plan: Compile, split: Split
) -> None:
    compiled = compiled_for(kind, plan)
    everything = list(range(len(compiled.cells)))
    values = compiled.local(split(patients(400), [200, 200]), everything, b"")
    assert values == [400, *[0] * (compiled.value_slots - 1)]
    found = compiled.finish([Released(b"", tuple(values))], everything)
    assert_finite(found.to_document())
    assert found.excluded is None
    assert math.isclose(found.patients, 400)
