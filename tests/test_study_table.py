"""The studies of docs/studies.md: right in the clear, and all of them measured encrypted."""

from __future__ import annotations

import pytest

from bench.study_cases import CASES, Case
from bench.study_columns import TITLES
from bench.study_oracles import Figure
from bench.study_table import MARKERS, PAGE
from cipherward_client.demo.clear_run import run_in_the_clear
from cipherward_client.demo.tables import dealt, load_table
from cipherward_studies.analyses.product_sum import ProductSum
from cipherward_studies.analyses.registry import ANALYSES

MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
GUARDIANS = MEMBERS[:3]
# The worst is a Cox regression's standard error: Newton's method ends with a small step.
ERROR_MAX = 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_study_of_the_table_is_what_the_library_says(case: Case) -> None:
    tables = dealt(load_table(case.table), case.names, MEMBERS)
    answer = run_in_the_clear(case.draft, tables, GUARDIANS).answer
    patients = case.patients(tables)
    assert answer.patients == len(patients[case.names[0]])
    figures = case.oracle(answer, patients)
    assert figures
    assert max(figure.error for figure in figures) < ERROR_MAX


def test_every_analysis_is_in_the_table() -> None:
    # Of patients of two hospitals at once, so not of any hospital's rows: over stored columns.
    stored = {ProductSum.kind}
    assert {case.analysis["kind"] for case in CASES} == set(ANALYSES) - stored


def test_a_missing_figure_has_no_small_error() -> None:
    assert not Figure("mean", float("nan"), 1.0).error < ERROR_MAX


def test_the_page_has_a_measured_row_for_every_study() -> None:
    shown = PAGE.read_text(encoding="utf-8").partition(MARKERS[0])[2].partition(MARKERS[1])[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in shown.splitlines()[3:]]
    measured = [row for row in rows if row]
    studies = [*(case.title for case in CASES), *TITLES]
    assert [row[0] for row in measured] == studies, "run `make study-table`"
    assert all(float(row[5]) < ERROR_MAX for row in measured)
