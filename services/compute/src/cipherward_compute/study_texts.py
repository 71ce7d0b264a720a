"""The text of a study as this member computes it: what was handed over, and what the chain says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cipherward_compute.failures import SpecDiffers
from cipherward_compute.instructions import Asked
from cipherward_studies.column_plan import ColumnPlan
from cipherward_studies.errors import StudyError
from cipherward_studies.plan import Plan
from cipherward_studies.spec import StudySpec, parse_spec
from cipherward_threshold.errors import ThresholdError


@dataclass(frozen=True, slots=True)
class PlannedStudy:
    """A study's text and its plan."""

    spec: StudySpec
    plan: Plan

    def slots(self, values: int) -> list[int]:
        """Return how many of so many values each ciphertext carries."""
        return [len(batch) for batch in self.plan.batches([0] * values)]


async def planned(octets: bytes) -> PlannedStudy:
    """Return the study whose text was handed over and checked before.

    Raises:
        SpecDiffers: it is none any more: this release cannot compute it.
    """

    def work() -> PlannedStudy:
        spec = parse_spec(octets)
        return PlannedStudy(spec, Plan.of(spec))

    try:
        return await asyncio.to_thread(work)
    except (StudyError, ThresholdError) as error:
        raise SpecDiffers(str(error)) from None


async def asked_for(octets: bytes, asked: Asked, profile: str) -> PlannedStudy:
    """Return the study after its text has been compared with what the chain says about it.

    Args:
        profile: of the key that it is to be computed under.

    Raises:
        SpecDiffers: they are not the same.
    """
    found = await planned(octets)
    _compare(found.spec, asked, profile)
    return found


async def planned_columns(octets: bytes) -> ColumnPlan:
    """Return the study of stored columns whose text was handed over and checked before.

    Raises:
        SpecDiffers: it is none, or none any more.
    """
    try:
        return await asyncio.to_thread(lambda: ColumnPlan.of(parse_spec(octets)))
    except StudyError as error:
        raise SpecDiffers(str(error)) from None


async def columns_asked_for(octets: bytes, asked: Asked, profile: str) -> ColumnPlan:
    """Return the study of stored columns, compared as in `asked_for`.

    Raises:
        SpecDiffers: as there.
    """
    found = await planned_columns(octets)
    _compare(found.spec, asked, profile)
    return found


def _compare(spec: StudySpec, asked: Asked, profile: str) -> None:
    if spec.digest != asked.spec_digest:
        raise SpecDiffers("the order names another text")
    if spec.requester_key_digest != asked.requester_key_digest:
        raise SpecDiffers("the text has another requester's key than the order")
    if spec.profile != profile:
        raise SpecDiffers(f"the text asks for other parameters than {profile}")
    if spec.minimum != asked.minimum:
        raise SpecDiffers("the text has another minimum than the order")
    if spec.data_set != asked.data_set:
        raise SpecDiffers("the text has another data set than the order")
    if not set(spec.outputs) <= set(asked.outputs):
        raise SpecDiffers("the text asks for statistics that the order does not name")
