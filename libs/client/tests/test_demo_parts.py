"""The demonstration's own instruments: a wrong result, a failed check, a process's memory."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cipherward_client.demo.memory import descendants, pss_bytes
from cipherward_client.demo.oracle import compare
from cipherward_client.demo.report import Report, size
from cipherward_client.demo.searching import search
from cipherward_client.sdk.study_results import StudyResult
from cipherward_threshold.parameters import profile
from cipherward_threshold.study import StudyPlan, Variable

PLAN = StudyPlan(
    (Variable("x", 0, 10), Variable("y", 0, 100)),
    "y",
    ("count", "sum", "mean", "variance", "linear_regression"),
    24,
)


def tables() -> list[np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    """Return three hospitals' rows."""
    x = np.linspace(1, 9, 60)
    rows = np.column_stack([x, 7 * x + np.sin(x)])
    return [rows[0::3], rows[1::3], rows[2::3]]


def result_of(totals: list[int]) -> StudyResult:
    """Return what a study with these totals says."""
    return StudyResult(bytes(16), PLAN.finish(totals), tuple(totals), (), (), (1, 0))


def true_totals() -> list[int]:
    """Return the sum of the hospitals' fixed-point sums."""
    modulus = profile("additive-1").plain_modulus
    parts = [PLAN.sums(rows, contributors=3, modulus=modulus) for rows in tables()]
    return [sum(column) for column in zip(*parts, strict=True)]


def test_the_right_result_is_found_to_be_right() -> None:
    found = compare(PLAN, tables(), result_of(true_totals()))
    assert found.exact
    assert found.count_equal
    assert found.moments_error < 1e-6
    assert found.regression_error < 1e-6


@pytest.mark.parametrize("place", range(6))
def test_a_sum_that_is_wrong_in_its_last_bit_is_not_exact(place: int) -> None:
    totals = true_totals()
    totals[place] += 1 if place else 1 << 24  # the count is in whole patients
    found = compare(PLAN, tables(), result_of(totals))
    assert not found.exact
    assert found.sums_equal == found.sums - 1


def test_a_result_without_its_regression_has_no_small_error() -> None:
    result = result_of(true_totals())
    without = replace(result, statistics=replace(result.statistics, regression=None))
    assert compare(PLAN, tables(), without).regression_error == float("inf")


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
