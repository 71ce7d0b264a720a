"""The plan of a study: slots, batches, chunks, verdicts and what is left out."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cipherward_chain.canonical import encode
from cipherward_studies.answer import Answer
from cipherward_studies.errors import (
    CohortTooSmall,
    ContributorsTooFew,
    DraftInvalid,
    FlagUndeclared,
    IterateRefused,
    TooManySlots,
    TotalsMalformed,
)
from cipherward_studies.plan import EXCLUDED, Plan, Released
from cipherward_studies.variables import CHUNK_ROWS, Columns
from cipherward_threshold.errors import UnknownProfile
from cipherward_threshold.parameters import profile

Run = Callable[[dict[str, Any], Sequence[Columns]], Answer]
Split = Callable[[Columns, Sequence[int]], list[Columns]]
Compile = Callable[[dict[str, Any]], Plan]

DOCUMENT: dict[str, Any] = {
    "variables": [
        {"name": "age", "low": 18, "high": 100},
        {"name": "bmi", "low": 10, "high": 60},
    ],
    "cohort": [{"variable": "age", "op": ">=", "values": [30]}],
    "analyses": [
        {"kind": "moments", "variables": ["bmi"]},
        {"kind": "histogram", "variable": "age", "edges": [50, 70]},
    ],
}


def patients(count: int, seed: int = 4) -> Columns:
    numbers = np.random.default_rng(seed)
    bmi = numbers.uniform(15, 55, count)
    bmi[numbers.random(count) < 0.1] = math.nan
    return {"age": numbers.uniform(18, 100, count), "bmi": bmi}


def test_counts_begin_with_patients_contributor_and_excluded(plan: Compile) -> None:
    compiled = plan(DOCUMENT)
    rows = patients(1_000)
    cohort = rows["age"] >= 30
    complete = cohort & ~np.isnan(rows["bmi"])
    counts = compiled.count([rows])
    assert len(counts) == compiled.count_slots == 2 + 1 + 2 + 3
    assert counts[:3] == [complete.sum(), 1, (cohort & ~complete).sum()]
    assert counts[5:] == np.histogram(rows["age"][complete], [18, 50, 70, 100])[0].tolist()
    assert compiled.cells[0] == EXCLUDED


def test_a_member_without_patients_encrypts_zeros(plan: Compile) -> None:
    compiled = plan(DOCUMENT)
    for chunks in ([], [{"age": np.zeros(0), "bmi": np.zeros(0)}], [patients(0)]):
        assert compiled.count(chunks) == [0] * compiled.count_slots
        assert compiled.local(chunks, [], b"") == [0] * compiled.value_slots


def test_the_answer_counts_who_was_left_out_and_names_what_is_not_told(
    answer: Run, split: Split
) -> None:
    rows = patients(2_000)
    found = answer(DOCUMENT, split(rows, [700, 700, 600]))
    cohort = rows["age"] >= 30
    missing = np.isnan(rows["bmi"])
    assert found.patients == (cohort & ~missing).sum()
    assert found.excluded == (cohort & missing).sum()
    assert found.left_out == ()
    assert [one["kind"] for one in found.to_document()["results"]] == ["moments", "histogram"]
    few = {"age": rows["age"], "bmi": np.where(missing, 20.0, rows["bmi"])}
    found = answer(DOCUMENT, split(few, [700, 700, 600]))
    assert found.excluded is None
    assert found.left_out == (EXCLUDED.label,)


def test_a_study_without_analyses_counts_its_cohort(answer: Run, split: Split) -> None:
    rows = patients(900)
    document: dict[str, Any] = DOCUMENT | {"variables": DOCUMENT["variables"][:1], "analyses": []}
    found = answer(document, split(rows, [300, 300, 300]))
    assert found.patients == (rows["age"] >= 30).sum()
    assert found.results == ()


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(0, 300), min_size=3, max_size=6), seed=st.integers(0, 99))
def test_any_split_into_members_gives_the_same_counts(
    sizes: list[int], seed: int, plan: Compile, split: Split
) -> None:
    compiled = plan(DOCUMENT)
    rows = patients(sum(sizes), seed)
    together = compiled.count([rows])
    parts = [compiled.count([part]) for part in split(rows, sizes)]
    added = [sum(column) for column in zip(*parts, strict=True)]
    assert added[:1] + added[2:] == together[:1] + together[2:]
    assert compiled.count(split(rows, sizes)) == together


def test_partitions_of_two_analyses_are_two(plan: Compile) -> None:
    histogram = {"kind": "histogram", "variable": "age", "edges": [50, 70]}
    compiled = plan(DOCUMENT | {"analyses": [*DOCUMENT["analyses"], histogram]})
    partitions = {cell.partition for cell in compiled.cells if cell.partition}
    assert len(partitions) == 2


def test_values_are_cut_into_the_slots_of_ciphertexts(plan: Compile) -> None:
    histograms = [{"kind": "histogram", "variable": "age", "bins": 1_000}] * 9
    compiled = plan(DOCUMENT | {"analyses": [DOCUMENT["analyses"][0], *histograms]})
    values = list(range(compiled.value_slots))
    batches = compiled.batches(values)
    slots = profile("additive-1").slots
    assert [len(batch) for batch in batches] == [slots, compiled.value_slots - slots]
    assert [value for batch in batches for value in batch] == values
    assert compiled.ciphertexts(compiled.value_slots) == 2
    assert compiled.ciphertexts(slots) == 1


def test_more_than_eight_ciphertexts_are_refused(plan: Compile) -> None:
    variables = [{"name": f"v{i}", "kind": "flag"} for i in range(64)]
    names = [one["name"] for one in variables]
    covariance = {"kind": "moments", "variables": names, "statistics": ["covariance"]}
    compiled = plan({"variables": variables, "analyses": [covariance]})
    assert compiled.count_slots == 3 + 128 + 4 * 2_016
    with pytest.raises(TooManySlots):
        plan({"variables": variables, "analyses": [covariance] * 9})


def test_unknown_parameters_are_refused(plan: Compile) -> None:
    with pytest.raises(UnknownProfile):
        plan(DOCUMENT | {"profile": "additive-9"})


def test_a_verdict_stops_what_must_not_go_on(plan: Compile) -> None:
    compiled = plan(DOCUMENT)
    own = compiled.count([patients(100)])
    two = [2 * count for count in own]
    with pytest.raises(ContributorsTooFew):
        compiled.verdict(two, own)
    lonely = [count if place != 1 else 3 for place, count in enumerate(own)]
    with pytest.raises(CohortTooSmall):
        compiled.verdict(lonely, own)


@pytest.mark.parametrize("codes", [(0.0, 1.0), (1.0, 2.0), (20.0, 30.0)])
def test_a_number_with_two_values_must_be_declared_a_flag(
    codes: tuple[float, float], plan: Compile
) -> None:
    document: dict[str, Any] = {
        "variables": [{"name": "sex", "low": 0, "high": 30}],
        "analyses": [{"kind": "moments", "variables": ["sex"]}],
    }
    compiled = plan(document)
    sex = np.repeat(codes, [400, 3])
    with pytest.raises(FlagUndeclared) as refused:
        compiled.count([{"sex": sex[:200]}, {"sex": sex[200:]}])
    assert refused.value.metadata == {"variable": "sex"}
    assert compiled.count([{"sex": sex[-9:]}])[0] == 9  # of nine patients nothing can be said
    compiled.count([{"sex": np.append(sex, 3.0)}])
    compiled.count([{"sex": np.full(50, codes[0])}])  # here all have one: elsewhere it is judged


def test_totals_of_another_study_are_refused(plan: Compile) -> None:
    compiled = plan(DOCUMENT)
    totals = tuple(compiled.local([patients(100)], [], b""))
    with pytest.raises(TotalsMalformed):
        compiled.finish([Released(b"", totals[:-1])], [])
    with pytest.raises(TotalsMalformed):
        compiled.finish([], [])


@pytest.mark.parametrize(
    "iterate",
    [
        b"\x00",
        bytes(64 * 1024 + 1),
        encode({"parameters": []}),
        encode({"parameters": [[], []]}),
        encode({"parameters": [[b"x"], []]}),
        encode({"parameters": [[b""], []]}),
        encode({"parameters": [["x"], []]}),
        encode({"parameters": ["x", []]}),
        encode({"parameters": [[b"x", b"y"], []]}),
        encode({"parameters": [[], []], "more": 1}),
    ],
)
def test_an_iterate_that_asks_for_what_is_none_is_refused(iterate: bytes, plan: Compile) -> None:
    compiled = plan(DOCUMENT)
    with pytest.raises(IterateRefused):
        compiled.check_iterate(iterate)
    with pytest.raises(IterateRefused):
        compiled.local([patients(50)], [], iterate)


def test_a_study_of_one_round_has_no_next(plan: Compile) -> None:
    compiled = plan(DOCUMENT)
    totals = tuple(compiled.local([patients(100)], [], b""))
    assert compiled.rounds == 1
    assert compiled.advance([Released(b"", totals)], []) is None


@pytest.mark.slow
def test_the_memory_of_a_million_patients_is_that_of_a_chunk(plan: Compile) -> None:
    compiled = plan(DOCUMENT)

    def peak(chunks: int) -> tuple[int, list[int]]:
        tracemalloc.start()
        values = compiled.local((patients(CHUNK_ROWS, seed) for seed in range(chunks)), [], b"")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most, values

    one, _ = peak(1)
    sixteen, values = peak(16)
    assert sixteen < 1.5 * one
    assert values[0] > 750_000


def sexes(few: int) -> Columns:
    """Return 600 patients, `few` of them women of 18 to below 50; half are of each sex."""
    numbers = np.random.default_rng(8)
    sex = np.repeat([0.0, 1.0], 300)
    age = numbers.uniform(50, 100, 600)
    age[300 : 300 + few] = numbers.uniform(20, 49, few)
    age[:100] = numbers.uniform(20, 49, 100)
    order = numbers.permutation(600)
    return {"sex": sex[order], "age": age[order]}


def test_a_table_whose_margins_are_published_is_left_out_whole(answer: Run, split: Split) -> None:
    table = {"kind": "table", "rows": "sex", "columns": "age", "column_cuts": [50]}
    histogram = {"kind": "histogram", "variable": "age", "edges": [50, 70]}
    document: dict[str, Any] = {
        "variables": [{"name": "sex", "kind": "flag"}, {"name": "age", "low": 18, "high": 100}],
        "analyses": [table],
    }
    alone = answer(document, split(sexes(4), [200, 200, 200]))
    assert len(alone.left_out) == 1 + 2  # nobody is excluded; the small cell takes one along
    both = document | {"analyses": [table, histogram]}
    linked = answer(both, split(sexes(4), [200, 200, 200]))
    assert len(linked.left_out) == 1 + 4
    assert not any("age" in label and "sex" not in label for label in linked.left_out)
    assert answer(both, split(sexes(60), [200, 200, 200])).left_out == (EXCLUDED.label,)


@pytest.mark.parametrize("edges", [[50], [40, 60], [40, 50, 60], [40, 50, 60, 70]])
def test_cuts_of_one_variable_may_be_nested(edges: list[int], plan: Compile) -> None:
    histograms = [
        {"kind": "histogram", "variable": "age", "edges": found} for found in ([40, 50, 60], edges)
    ]
    assert plan(DOCUMENT | {"analyses": [DOCUMENT["analyses"][0], *histograms]}).cells


def test_cuts_that_leave_patients_between_them_are_refused(plan: Compile) -> None:
    histogram = {"kind": "histogram", "variable": "age", "edges": [51, 70]}
    with pytest.raises(DraftInvalid) as refused:
        plan(DOCUMENT | {"analyses": [*DOCUMENT["analyses"], histogram]})
    assert [fault.pointer for fault in refused.value.faults] == ["/analyses/2"]
