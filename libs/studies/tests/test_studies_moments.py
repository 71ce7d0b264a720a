"""Moments of members' patients, against numpy over all of them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cipherward_studies.analyses.moments import STATISTICS, MomentsResult
from cipherward_studies.answer import Answer
from cipherward_studies.plan import Plan, Released
from cipherward_studies.variables import Columns
from cipherward_threshold.parameters import profile

Run = Callable[[dict[str, Any], Sequence[Columns]], Answer]
Split = Callable[[Columns, Sequence[int]], list[Columns]]
Compile = Callable[[dict[str, Any]], Plan]

DOCUMENT: dict[str, Any] = {
    "variables": [
        {"name": "age", "low": 18, "high": 100, "unit": "years"},
        {"name": "bmi", "low": 10, "high": 60, "unit": "kg/m2"},
        {"name": "smoker", "kind": "flag"},
        {"name": "treated", "kind": "flag"},
    ],
    "analyses": [
        {
            "kind": "moments",
            "variables": ["age", "bmi", "smoker", "treated"],
            "statistics": list(STATISTICS),
        }
    ],
}


def patients(count: int, seed: int = 7) -> Columns:
    numbers = np.random.default_rng(seed)
    age = numbers.uniform(20, 90, count).round(1)
    smoker = (numbers.random(count) < 0.4).astype(float)
    return {
        "age": age,
        "bmi": (20 + 0.1 * age + 3 * smoker + numbers.normal(0, 2, count)).clip(10, 60),
        "smoker": smoker,
        "treated": (numbers.random(count) < 0.3 + 0.3 * smoker).astype(float),
    }


def moments_of(found: Answer) -> MomentsResult:
    (result,) = found.results
    assert isinstance(result, MomentsResult)
    return result


def test_every_moment_is_that_of_the_pooled_patients(answer: Run, split: Split) -> None:
    rows = patients(500)
    found = moments_of(answer(DOCUMENT, split(rows, [200, 150, 100, 50])))
    assert found.patients == 500
    for one in found.variables:
        pooled = rows[one.variable]
        assert one.sum == pytest.approx(pooled.sum(), rel=1e-9)
        assert one.mean == pytest.approx(pooled.mean(), rel=1e-9)
        assert one.variance == pytest.approx(pooled.var(ddof=1), rel=1e-9)
        assert one.standard_error == pytest.approx(pooled.std(ddof=1) / np.sqrt(500), rel=1e-9)
    names = list(rows)
    table = np.array(list(rows.values()))
    covariance = np.asarray(np.cov(table))
    correlation = np.asarray(np.corrcoef(table))
    assert len(found.pairs) == 10
    for pair in found.pairs:
        place = names.index(pair.first), names.index(pair.second)
        assert pair.covariance == pytest.approx(covariance[place], rel=1e-7, abs=1e-9)
        assert pair.correlation == pytest.approx(correlation[place], rel=1e-7, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 120), min_size=3, max_size=8), seed=st.integers(0, 1_000))
def test_any_split_into_members_gives_the_same_sums(
    sizes: list[int], seed: int, plan: Compile, split: Split
) -> None:
    rows = patients(sum(sizes), seed)
    compiled = plan(DOCUMENT)
    together = np.array(compiled.local([rows], [0], b""))
    parts = [compiled.local([part], [0], b"") for part in split(rows, sizes)]
    # one rounding to a step for each member, and the last bits of a double's sum
    assert np.abs(together - np.array(parts).sum(axis=0)).max() <= len(sizes) + 1


def test_values_follow_chunks_as_they_follow_members(plan: Compile, split: Split) -> None:
    rows = patients(1_000)
    compiled = plan(DOCUMENT)
    chunks = split(rows, [1, 499, 0, 500])
    assert compiled.count(chunks) == compiled.count([rows])
    together = np.array(compiled.local([rows], [0], b""))
    assert np.abs(together - np.array(compiled.local(chunks, [0], b""))).max() <= 5


def test_a_flag_that_few_patients_have_is_left_out_with_its_products(
    answer: Run, split: Split
) -> None:
    rows = patients(500)
    rows = {**rows, "smoker": (np.arange(500) < 9).astype(float)}
    found = answer(DOCUMENT, split(rows, [200, 150, 150]))
    assert "smoker = 1" in found.left_out
    result = moments_of(found)
    named = {one.variable: one for one in result.variables}
    assert named["smoker"].left_out
    assert named["smoker"].mean is None
    assert named["age"].mean == pytest.approx(rows["age"].mean())
    for pair in result.pairs:
        assert pair.left_out == ("smoker" in (pair.first, pair.second))


def test_two_flags_that_few_patients_have_together_show_no_covariance(
    answer: Run, split: Split
) -> None:
    numbers = np.arange(400)
    smoker = (numbers < 60).astype(float)
    treated = ((numbers >= 55) & (numbers < 200)).astype(float)  # five have both
    order = np.random.default_rng(1).permutation(400)
    rows = {**patients(400), "smoker": smoker[order], "treated": treated[order]}
    result = moments_of(answer(DOCUMENT, split(rows, [200, 100, 100])))
    assert not any(one.left_out for one in result.variables)
    hidden = [(pair.first, pair.second) for pair in result.pairs if pair.left_out]
    assert hidden == [("smoker", "treated")]


def test_what_is_left_out_is_not_even_encrypted(plan: Compile) -> None:
    compiled = plan(DOCUMENT)
    place = [cell.label for cell in compiled.cells].index("smoker = 1")
    values = compiled.local([patients(200)], [0, place], b"")[2:]  # after patients and excluded
    pairs = [(i, j) for i in range(4) for j in range(i, 4)]
    zero = {2, *(4 + k for k, pair in enumerate(pairs) if 2 in pair)}
    assert {slot for slot, value in enumerate(values) if value == 0} == zero


def test_one_patient_who_makes_most_of_a_sum_is_not_published(answer: Run, split: Split) -> None:
    document: dict[str, Any] = {
        "variables": [{"name": "cost", "low": 0, "high": 1_000_000, "unit": "EUR"}],
        "analyses": [{"kind": "moments", "variables": ["cost"]}],
    }
    cost = np.random.default_rng(2).uniform(100, 900, 300)
    cost[5] = 990_000
    found = answer(document, split({"cost": cost}, [100, 100, 100]))
    assert "cost above 0" in found.left_out
    assert moments_of(found).variables[0].left_out
    clipped = {
        **document,
        "variables": [{"name": "cost", "low": 0, "high": 1_000, "outside": "clip"}],
    }
    found = answer(clipped, split({"cost": cost}, [100, 100, 100]))
    assert moments_of(found).variables[0].mean == pytest.approx(cost.clip(0, 1_000).mean())


@pytest.mark.parametrize(
    ("statistics", "slots"),
    [(["sum", "mean"], 4), (["variance"], 8), (["standard_error"], 8), (["correlation"], 14)],
)
def test_only_the_sums_that_are_needed_are_encrypted(
    statistics: list[str], slots: int, plan: Compile
) -> None:
    analysis = DOCUMENT["analyses"][0] | {"statistics": statistics}
    assert plan(DOCUMENT | {"analyses": [analysis]}).value_slots == 2 + slots


@settings(max_examples=50, deadline=None)
@given(
    extreme=st.tuples(
        st.sampled_from([18.0, 59.0, 100.0]),
        st.sampled_from([10.0, 35.0, 60.0]),
        st.sampled_from([0.0, 1.0]),
        st.sampled_from([0.0, 1.0]),
    )
)
def test_no_patient_moves_the_sums_by_more_than_the_sensitivity(
    extreme: tuple[float, ...], plan: Compile
) -> None:
    (analysis,) = plan(DOCUMENT).analyses
    allowed = np.ones(len(analysis.cells), dtype=np.bool_)
    rows = patients(40)
    more = {
        name: np.append(column, value)
        for (name, column), value in zip(rows.items(), extreme, strict=True)
    }
    before, after = analysis.local(rows, allowed, b""), analysis.local(more, allowed, b"")
    assert float(np.linalg.norm((after - before).astype(float))) <= analysis.sensitivity(b"")


def test_ten_million_patients_at_the_end_of_a_range_do_not_wrap(plan: Compile) -> None:
    (analysis,) = plan(DOCUMENT).analyses
    allowed = np.ones(len(analysis.cells), dtype=np.bool_)
    ends = {"age": 100.0, "bmi": 10.0, "smoker": 1.0, "treated": 0.0}
    one = analysis.local({name: np.array([end]) for name, end in ends.items()}, allowed, b"")
    bound = profile("additive-1").message_bound
    assert 10_000_000 * int(np.abs(one).max()) <= bound < 2 * 10_000_000 * int(np.abs(one).max())


def test_a_study_of_one_patient_has_no_variance(plan: Compile) -> None:
    compiled = plan(DOCUMENT)
    totals = compiled.local([patients(1)], [0], b"")
    (result,) = compiled.finish([Released(b"", tuple(totals))], [0]).results
    assert isinstance(result, MomentsResult)
    assert {one.variance for one in result.variables} == {None}
    assert {pair.correlation for pair in result.pairs} == {None}
