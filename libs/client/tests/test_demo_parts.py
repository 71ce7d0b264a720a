"""The demonstration's own instruments: a wrong result, a failed check, a process's memory."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import lifelines
import numpy as np
import pytest

from cipherward_client.demo.clear_run import run_in_the_clear
from cipherward_client.demo.memory import descendants, pss_bytes
from cipherward_client.demo.oracle import (
    exactness,
    moments_error,
    pooled,
    product_limit,
    regression_error,
    survival_error,
)
from cipherward_client.demo.questions import (
    ASKED,
    EVENT,
    OUTCOME,
    TIME,
    WATCHED,
    regression_study,
    survival_study,
)
from cipherward_client.demo.report import Report, size
from cipherward_client.demo.searching import search
from cipherward_client.demo.tables import dealt, load_table
from cipherward_client.sdk.study_results import StudyResult
from cipherward_studies.spec import Draft

HOSPITALS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
GUARDIANS = HOSPITALS[:3]
REGRESSION, SURVIVAL = regression_study(), survival_study()
PATIENTS = {
    REGRESSION: dealt(load_table("diabetes"), ASKED, HOSPITALS),
    SURVIVAL: dealt(load_table("actg175"), WATCHED, HOSPITALS),
}


def right(draft: Draft) -> StudyResult:
    """Return what a study of the hospitals' patients must say, when the first three judge."""
    found = run_in_the_clear(draft, PATIENTS[draft], GUARDIANS)
    return StudyResult(bytes(16), found.answer, found.totals, (), (), (1, 0))


def wrong(draft: Draft, place: int) -> StudyResult:
    """Return the same with one sum that is one too large, and what follows from it."""
    expected = run_in_the_clear(draft, PATIENTS[draft], GUARDIANS)
    totals = list(expected.totals)
    totals[place] += 1
    return replace(right(draft), totals=tuple(totals))


@pytest.mark.parametrize("draft", [REGRESSION, SURVIVAL])
def test_the_right_result_is_found_to_be_right(draft: Draft) -> None:
    result = right(draft)
    assert exactness(draft, PATIENTS[draft], GUARDIANS, result).exact
    patients = pooled(PATIENTS[draft])
    assert result.answer.patients == len(next(iter(patients.values())))


def test_the_regression_study_is_that_of_the_pooled_patients() -> None:
    patients, result = pooled(PATIENTS[REGRESSION]), right(REGRESSION)
    assert moments_error(patients, result) < 1e-9
    assert regression_error(patients, OUTCOME, result) < 1e-7


def test_the_curves_are_those_of_the_pooled_patients() -> None:
    assert survival_error(pooled(PATIENTS[SURVIVAL]), right(SURVIVAL)) < 1e-12


def test_the_product_limit_is_that_of_lifelines() -> None:
    patients = pooled(PATIENTS[SURVIVAL])
    times, happened = patients[TIME], patients[EVENT] == 1
    fitted = cast(Any, lifelines).KaplanMeierFitter().fit(times, happened)
    at = [100.0, 365.0, 800.0, 1231.0]
    np.testing.assert_allclose(product_limit(times, happened, at), fitted.predict(at), atol=1e-12)


@pytest.mark.parametrize("place", [0, 1, 2, 9, 50])
def test_a_sum_that_is_wrong_in_its_last_bit_is_not_exact(place: int) -> None:
    result = wrong(REGRESSION, place)
    found = exactness(REGRESSION, PATIENTS[REGRESSION], GUARDIANS, result)
    assert not found.exact
    assert found.sums_equal == found.sums - 1


def test_an_answer_of_other_patients_has_no_small_error() -> None:
    patients = {name: column[1:] for name, column in pooled(PATIENTS[REGRESSION]).items()}
    assert moments_error(patients, right(REGRESSION)) == float("inf")
    assert regression_error(patients, OUTCOME, right(REGRESSION)) > 1e-5
    fewer = {name: column[1:] for name, column in pooled(PATIENTS[SURVIVAL]).items()}
    assert survival_error(fewer, right(SURVIVAL)) > 1e-5


def test_an_answer_without_its_results_has_no_small_error() -> None:
    result = right(REGRESSION)
    without = replace(result, answer=replace(result.answer, results=()))
    patients = pooled(PATIENTS[REGRESSION])
    assert moments_error(patients, without) == float("inf")
    assert regression_error(patients, OUTCOME, without) == float("inf")
    assert survival_error(patients, without) == float("inf")


def test_one_failed_check_fails_the_report(tmp_path: Path) -> None:
    report = Report()
    assert not report.passed
    report.check("first", True, "1 of 1")
    assert report.passed
    report.check("second", False, "0 of 1")
    assert not report.passed
    with report.timed("part"):
        pass
    report.write(tmp_path / "report.json")
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["checks"] == [
        {"name": "first", "passed": True, "figure": "1 of 1"},
        {"name": "second", "passed": False, "figure": "0 of 1"},
    ]
    assert set(document["timings"]) == {"part"}


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(b"...a secret...")
    (tmp_path / "empty").touch()
    assert search([tmp_path], [b"a secret", b"another"]) == (14, 1)


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_the_search_misses_no_place_and_takes_no_likeness(tmp_path: Path, place: str) -> None:
    needles = [secrets.token_bytes(32) for _ in range(442)]
    likeness = needles[7][:-1] + bytes([needles[7][-1] ^ 1])
    noise = likeness + secrets.token_bytes(1001)  # at an even and at an odd place
    file = {
        "first": needles[7] + noise,
        "middle": noise + needles[7] + noise,
        "last": noise + needles[7],
    }
    (tmp_path / "file").write_bytes(noise)
    assert search([tmp_path], needles) == (len(noise), 0)
    (tmp_path / "file").write_bytes(file[place])
    assert search([tmp_path], needles) == (len(file[place]), 1)


def test_a_childs_memory_is_counted() -> None:
    held = "held = bytearray(b'x') * 50_000_000"
    program = f"import sys; {held}; print(1, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"1\n"
        assert child.pid in set(descendants(os.getpid()))
        assert 50_000_000 < pss_bytes(child.pid) < 200_000_000
    assert pss_bytes(child.pid) == 0


@pytest.mark.parametrize(
    ("octets", "text"),
    [(0, "0 B"), (999, "999 B"), (2_900, "2.9 kB"), (39_600_000, "39.6 MB"), (10**10, "10.00 GB")],
)
def test_sizes_are_for_people(octets: int, text: str) -> None:
    assert size(octets) == text
