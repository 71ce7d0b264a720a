"""Contingency tables, against scipy over the pooled patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import scipy.stats
import statsmodels.api

from cipherward_studies.analyses.table import TableResult
from cipherward_studies.answer import Answer
from cipherward_studies.errors import DraftInvalid
from cipherward_studies.plan import Plan, Released
from cipherward_studies.variables import Columns

stats: Any = scipy.stats
models: Any = statsmodels.api

Run = Callable[[dict[str, Any], Sequence[Columns]], Answer]
Split = Callable[[Columns, Sequence[int]], list[Columns]]
Compile = Callable[[dict[str, Any]], Plan]


def document(**entries: object) -> dict[str, Any]:
    return {
        "variables": [
            {"name": "smoker", "kind": "flag"},
            {"name": "sex", "kind": "flag", "low": 1, "high": 2},
            {"name": "age", "low": 18, "high": 100},
        ],
        "cohort": [{"variable": name, "op": ">=", "values": [0]} for name in ("age", "sex")],
        "analyses": [{"kind": "table", "rows": "smoker", "columns": "sex"} | entries],
    }


def patients(count: int) -> Columns:
    numbers = np.random.default_rng(11)
    sex = numbers.integers(1, 3, count).astype(float)
    return {
        "smoker": (numbers.random(count) < 0.2 + 0.15 * sex).astype(float),
        "sex": sex,
        "age": numbers.uniform(18, 100, count),
    }


def table_of(found: Answer) -> TableResult:
    (result,) = found.results
    assert isinstance(result, TableResult)
    return result


@pytest.mark.parametrize("correction", [True, False])
def test_two_by_two_is_that_of_scipy(correction: bool, answer: Run, split: Split) -> None:
    rows = patients(800)
    found = table_of(answer(document(correction=correction), split(rows, [300, 300, 200])))
    pooled = np.histogram2d(rows["smoker"], rows["sex"], [[0, 0.5, 1], [1, 1.5, 2]])[0]
    assert [list(line) for line in found.counts] == pooled.tolist()
    assert found.smallest_cell == found.to_document()["smallest_cell"] == int(pooled.min())
    expected = stats.chi2_contingency(pooled, correction=correction)
    assert found.chi_square is not None
    assert found.chi_square.statistic == pytest.approx(expected.statistic, rel=1e-12)
    assert found.chi_square.p_value == pytest.approx(expected.pvalue, rel=1e-11)
    assert found.chi_square.degrees_of_freedom == 1
    oracle = models.stats.Table2x2(pooled)
    assert found.odds_ratio is not None
    assert found.odds_ratio.estimate == pytest.approx(oracle.oddsratio, rel=1e-12)
    low, high = oracle.oddsratio_confint(0.05)
    assert (found.odds_ratio.lower, found.odds_ratio.upper) == pytest.approx((low, high), rel=1e-11)


def test_cuts_make_levels_of_a_number(answer: Run, split: Split) -> None:
    rows = patients(900)
    asked = document(columns="age", column_cuts=[40, 60, 80])
    asked["cohort"][0]["variable"] = "sex"
    found = table_of(answer(asked, split(rows, [300, 300, 300])))
    pooled = np.histogram2d(rows["smoker"], rows["age"], [[0, 0.5, 1], [18, 40, 60, 80, 100]])[0]
    assert [list(line) for line in found.counts] == pooled.tolist()
    assert found.column_levels == (
        "18 to below 40",
        "40 to below 60",
        "60 to below 80",
        "80 to 100",
    )
    expected = stats.chi2_contingency(pooled)
    assert found.chi_square is not None
    assert not found.chi_square.corrected
    assert found.chi_square.p_value == pytest.approx(expected.pvalue, rel=1e-11)
    assert found.chi_square.degrees_of_freedom == 3
    assert found.odds_ratio is None
    assert len(found.to_rows()) == 8


def test_a_table_with_a_small_cell_hides_two_and_has_no_test(answer: Run, split: Split) -> None:
    sex = np.repeat([1.0, 2.0, 1.0, 2.0], [100, 90, 80, 4])
    smoker = np.repeat([0.0, 0.0, 1.0, 1.0], [100, 90, 80, 4])
    order = np.random.default_rng(5).permutation(274)
    rows = {"smoker": smoker[order], "sex": sex[order], "age": np.full(274, 50.5)}
    rows["age"][::2] = np.linspace(20, 90, 137)
    found = table_of(answer(document(), split(rows, [100, 100, 74])))
    assert found.outcome == "left_out"
    assert found.chi_square is None
    assert found.odds_ratio is None
    flat = [count for line in found.counts for count in line]
    assert flat == [100, 90, None, None]


@pytest.mark.parametrize("small", [0, 4])
def test_a_smallest_cell_that_is_left_out_is_not_told(
    small: int, answer: Run, split: Split
) -> None:
    sizes = [100, 90, 80, small]
    rows = {
        "sex": np.repeat([1.0, 2.0, 1.0, 2.0], sizes),
        "smoker": np.repeat([0.0, 0.0, 1.0, 1.0], sizes),
        "age": np.linspace(18, 100, sum(sizes)),
    }
    order = np.random.default_rng(5).permutation(sum(sizes))
    rows = {name: column[order] for name, column in rows.items()}
    found = table_of(answer(document(), split(rows, [100, 100, 70 + small])))
    assert found.smallest_cell is None
    assert found.to_document()["smallest_cell"] is None
    flat = [count for line in found.counts for count in line if count is not None]
    assert flat == [100, 90]  # neither of which is called the smallest


def test_a_level_that_noise_has_emptied_has_no_test(plan: Compile) -> None:
    compiled = plan(document())
    found = table_of(compiled.finish([Released(b"", (90, 0, 50, 40, 3, -4))], [0]))
    assert found.outcome == "empty_margin"
    assert found.chi_square is None


@pytest.mark.parametrize(
    "entries",
    [
        {"columns": "smoker"},
        {"row_cuts": [0.5]},
        {"columns": "age"},
        {"columns": "age", "column_cuts": [18]},
        {"columns": "age", "column_cuts": [50, 101]},
    ],
)
def test_a_table_that_is_none_is_refused(entries: dict[str, Any], plan: Compile) -> None:
    with pytest.raises(DraftInvalid) as refused:
        plan(document(**entries))
    assert refused.value.faults[0].pointer == "/analyses/0"
