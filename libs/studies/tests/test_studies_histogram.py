"""Histograms and quantiles, against numpy over the pooled patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cipherward_studies.analyses.histogram import HistogramResult
from cipherward_studies.answer import Answer
from cipherward_studies.errors import DraftInvalid
from cipherward_studies.plan import Plan, Released
from cipherward_studies.variables import Columns

Run = Callable[[dict[str, Any], Sequence[Columns]], Answer]
Split = Callable[[Columns, Sequence[int]], list[Columns]]
Compile = Callable[[dict[str, Any]], Plan]

PROBABILITIES = [0.05, 0.25, 0.5, 0.75, 0.95]


def document(**entries: object) -> dict[str, Any]:
    return {
        "variables": [{"name": "bmi", "low": 10, "high": 50, "unit": "kg/m2"}],
        "analyses": [{"kind": "histogram", "variable": "bmi"} | entries],
    }


def histogram_of(found: Answer) -> HistogramResult:
    (result,) = found.results
    assert isinstance(result, HistogramResult)
    return result


def test_the_bins_are_those_of_numpy_and_hold_the_quantiles(answer: Run, split: Split) -> None:
    bmi = np.random.default_rng(3).uniform(10, 50, 4_000).round(1)
    asked = document(bins=20, quantiles=PROBABILITIES)
    found = histogram_of(answer(asked, split({"bmi": bmi}, [1_500, 1_500, 1_000])))
    expected, edges = np.histogram(bmi, 20, (10, 50))
    assert [one.patients for one in found.bins] == expected.tolist()
    assert [one.low for one in found.bins] == pytest.approx(edges[:-1])
    assert found.hidden == 0
    assert found.smallest_cell == found.to_document()["smallest_cell"] == int(expected.min())
    for quantile in found.quantiles:
        pooled = np.quantile(bmi, quantile.probability, method="inverted_cdf")
        assert quantile.low <= pooled <= quantile.high
        assert quantile.high - quantile.low == pytest.approx(2.0)
        assert quantile.value == pytest.approx(pooled, abs=2.0)


def test_a_small_bin_takes_another_with_it_so_that_neither_follows(
    answer: Run, split: Split
) -> None:
    bmi = np.concatenate([np.full(3, 12.0), np.full(30, 22.0), np.full(200, 32.0)])
    bmi = np.random.default_rng(1).permutation(np.concatenate([bmi, np.full(300, 42.0)]))
    asked = document(edges=[20, 30, 40], quantiles=[0.01, 0.5])
    found = histogram_of(answer(asked, split({"bmi": bmi}, [200, 200, 133])))
    assert [one.patients for one in found.bins] == [None, None, 200, 300]
    assert found.hidden == 33
    assert found.smallest_cell is None
    assert found.to_document()["smallest_cell"] is None
    first, median = found.quantiles
    assert (first.value, first.low, first.high) == (None, 10.0, 30.0)
    assert (median.low, median.high) == (40.0, 50.0)


@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(st.sampled_from([0, 1, 5, 40, 200]), min_size=3, max_size=8),
    probability=st.sampled_from([0.01, 0.1, 0.5, 0.9, 0.99]),
    seed=st.integers(0, 1_000),
)
def test_a_quantile_is_always_between_its_edges(
    weights: list[int], probability: float, seed: int, plan: Compile
) -> None:
    bins = len(weights)
    numbers = np.random.default_rng(seed)
    width = 40 / bins
    bmi = np.concatenate(
        [numbers.uniform(10 + width * k, 10 + width * (k + 1), n) for k, n in enumerate(weights)]
    )
    compiled = plan(document(bins=bins, quantiles=[probability]))
    counts = compiled.count([{"bmi": bmi}])
    failed = [place for place, count in enumerate(counts[2:]) if count < 10]
    totals = compiled.local([{"bmi": bmi}], failed, b"")
    found = histogram_of(compiled.finish([Released(b"", tuple(totals))], failed))
    if not len(bmi):
        assert found.quantiles == ()
        return
    (quantile,) = found.quantiles
    pooled = np.quantile(bmi, probability, method="inverted_cdf")
    assert quantile.low - 1e-9 <= pooled <= quantile.high + 1e-9
    assert quantile.value is None or quantile.low <= quantile.value <= quantile.high


def test_noise_below_zero_breaks_no_quantile(plan: Compile) -> None:
    compiled = plan(document(bins=4, quantiles=PROBABILITIES))
    found = histogram_of(compiled.finish([Released(b"", (50, 0, -3, 30, 25, -1))], [0]))
    assert [one.patients for one in found.bins] == [-3, 30, 25, -1]
    assert found.smallest_cell == -3
    assert [quantile.low for quantile in found.quantiles] == [20.0, 20.0, 20.0, 30.0, 30.0]


def test_one_patient_moves_one_bin_by_one(plan: Compile) -> None:
    (analysis,) = plan(document(bins=8)).analyses
    allowed = np.ones(8, dtype=np.bool_)
    moved = analysis.local({"bmi": np.array([50.0])}, allowed, b"")
    assert float(np.linalg.norm(moved)) == analysis.sensitivity(b"") == 1.0


@pytest.mark.parametrize(
    ("entries", "pointer"),
    [
        ({}, "/analyses/0"),
        ({"bins": 1}, "/analyses/0"),
        ({"bins": 4, "edges": [20]}, "/analyses/0"),
        ({"edges": [10, 20]}, "/analyses/0"),
        ({"edges": [20, 50]}, "/analyses/0"),
        ({"edges": [30, 20]}, "/analyses/0/edges/1"),
        ({"bins": 4, "quantiles": [0]}, "/analyses/0"),
        ({"bins": 4, "quantiles": [1]}, "/analyses/0"),
        ({"bins": 1001}, "/analyses/0/bins"),
    ],
)
def test_a_histogram_that_is_none_is_refused(
    entries: dict[str, Any], pointer: str, plan: Compile
) -> None:
    with pytest.raises(DraftInvalid) as refused:
        plan(document(**entries))
    assert [fault.pointer for fault in refused.value.faults] == [pointer]
