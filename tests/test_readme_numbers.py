"""The pages' figures are those that were measured."""

from __future__ import annotations

import pytest

from bench.__main__ import ORDER, pages, read_results
from bench.results import Row, Spread, Target, merged
from bench.tables import HEADLINES, MarkersMissing, headlines, markdown, with_table


def test_the_pages_show_the_figures_that_were_measured() -> None:
    for path, page in pages():
        assert path.read_text(encoding="utf-8") == page, "run `python -m bench --readme`"


def test_the_readme_hides_no_missed_target() -> None:
    shown = headlines(read_results())
    missed = [row["name"] for row in read_results()["results"] if not row["met"]]
    assert [name for name in missed if f"| {name} |" not in shown] == []


def test_every_headline_is_a_row() -> None:
    assert set(ORDER) >= HEADLINES


def test_every_row_of_the_table_was_measured() -> None:
    assert [row["name"] for row in read_results()["results"]] == ORDER


def test_a_missed_target_is_said() -> None:
    slow = Row("slow", 3.0, "s", Spread(2.0, 4.0, "min..max of 3 runs"), Target(1.5, False))
    found = {"machine": read_results()["machine"], "results": [slow.document()]}
    assert "**missed**" in markdown(found)


def test_a_target_for_a_ratio_is_not_met_without_one() -> None:
    assert not Target(0.6, at_least=True, of_ratio=True).met(1_000.0, None)
    assert Target(0.6, at_least=True, of_ratio=True).met(0.1, 0.61)


def test_one_benchmark_leaves_the_other_rows_as_they_were() -> None:
    target, spread = Target(1, at_least=True), Spread(1, 1, "min..max of 1 run")
    before = [{"name": name, "value": 1} for name in ORDER]
    after = merged(before, [Row(ORDER[1], 2.0, "s", spread, target)], ORDER)
    assert [row["name"] for row in after] == ORDER
    assert [row["value"] for row in after] == [1, 2.0, *[1] * (len(ORDER) - 2)]


def test_a_page_without_its_markers_is_left_alone() -> None:
    with pytest.raises(MarkersMissing):
        with_table("# A page", "a table")
