"""A service is not ready while the member's deny canaries find that it gives too much."""

from __future__ import annotations

import pytest

from cipherward_kit.readiness import Readiness
from cipherward_member.canaries import (
    CANARIES,
    PATHS_MAX,
    CanaryReportMalformed,
    CanaryReports,
)


def test_a_member_without_canaries_is_ready() -> None:
    readiness = Readiness(CANARIES)
    CanaryReports(readiness)
    assert readiness.ready


async def test_a_leak_ends_readiness_until_a_later_round_is_refused_again() -> None:
    readiness = Readiness(CANARIES)
    reports = CanaryReports(readiness)
    reports.take(["record", "decide"])
    assert not readiness.ready
    assert readiness.missing() == {CANARIES: "not refused on: decide, record"}
    reports.take(["record"])
    assert readiness.missing() == {CANARIES: "not refused on: record"}
    reports.take([])
    assert readiness.ready


@pytest.mark.parametrize(
    "paths",
    [["Record"], ["record id 00ff"], [""], ["-record"], ["a" * 33], ["record"] * (PATHS_MAX + 1)],
)
async def test_what_names_no_path_is_refused_and_changes_nothing(paths: list[str]) -> None:
    readiness = Readiness(CANARIES)
    reports = CanaryReports(readiness)
    reports.take(["record"])
    with pytest.raises(CanaryReportMalformed):
        reports.take(paths)
    assert not readiness.ready
