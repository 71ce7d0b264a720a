"""Texts of studies against the data sets of a member: variables and the units they are in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from grpc import aio

from cipherward_kit.errors import reason_of

if TYPE_CHECKING:
    from conftest import MakeSpec, Rows, StudyRun

pytestmark = pytest.mark.slow  # four hospitals start: about a second

DONE, FAILED = 1, 2
UNITS = {"age": "a", "bmi": "kg/m2"}


def in_units(study: StudyRun, a_spec: MakeSpec, **units: str) -> StudyRun:
    """Return the study over the same variables in other units."""
    variables = [
        {"name": name, "low": 0, "high": 400, "unit": units.get(name, "")}
        for name in ("age", "bmi", "bp", "progression")
    ]
    return replace(study, spec=a_spec(variables=variables))


@pytest.mark.begins("keyed")
async def test_a_study_in_another_unit_than_the_data_set_is_refused_by_name(
    study: StudyRun, rows: Mapping[str, Rows], a_spec: MakeSpec
) -> None:
    for member, hospital in study.world.hospitals.items():
        await hospital.contribute(rows[member], units=UNITS)
    for units in ({"age": "a", "bmi": "lb/in2"}, {"age": "a"}, {"bmi": "kg/m2"}):
        with pytest.raises(aio.AioRpcError) as refusal:
            await in_units(study, a_spec, **units).put_spec()
        assert reason_of(refusal.value) == "UNIT_DIFFERS"
    text = refusal.value.details() or ""
    assert text == "age is in no unit in the study, and in a in cohort-1"
    # a hospital that declares no unit leaves it to the study
    await in_units(study, a_spec, **UNITS, bp="mmHg").put_spec()


@pytest.mark.begins("keyed")
async def test_a_unit_that_was_declared_after_the_text_came_fails_the_step(
    study: StudyRun, rows: Mapping[str, Rows]
) -> None:
    await study.put_spec()
    await study.world.hospitals["hospital-c"].contribute(rows["hospital-c"], units=UNITS)
    reports = await study.reports(study.start_order("counts", "commit"))
    for member, report in reports.items():
        assert report.outcome == (FAILED if member == "hospital-c" else DONE)
    seen = await study.seen_at("hospital-c")
    assert seen.failure_reason == "UNIT_DIFFERS"
    assert seen.failure == "age is in another unit in cohort-1 here"
