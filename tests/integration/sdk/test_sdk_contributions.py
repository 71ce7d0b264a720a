"""Giving a hospital's rows to its own compute service: parts, units, and what goes wrong."""

from __future__ import annotations

import math
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cipherward_client.sdk import contributions
from cipherward_client.sdk.contributions import RowsPart, contribute_parts, contribute_rows
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.permits import PermitRequest, apply_for_permit, vote_permit
from cipherward_client.sdk.studies import propose_study
from cipherward_studies.spec import Draft

Town = Any  # conftest's; test modules cannot import it

VARIABLES = ("age [a]", "bmi [kg/m2]", "flag")
ROWS, PART = 60_000, 7_000  # 1.4 MB: several messages


class FileGone(Exception):
    """The rows cannot be read to their end."""


def parts(*, broken: bool = False) -> Iterator[RowsPart]:
    numbers = np.random.default_rng(5)
    references = np.random.default_rng(6).bytes(16 * ROWS)
    for at in range(0, ROWS, PART):
        size = min(PART, ROWS - at)
        yield RowsPart(numbers.normal(size=(size, 3)), references[16 * at : 16 * (at + size)])
        if broken:
            raise FileGone


async def test_rows_come_in_parts_and_once_for_a_request_id(town: Town) -> None:
    hospital = await town.hospital("a")
    request_id = str(uuid.uuid4())
    for _ in range(2):
        stored = await contribute_parts(
            hospital, "cohort-90", VARIABLES, parts, request_id=request_id
        )
        assert stored == ROWS
    with pytest.raises(ClientError) as reused:
        await contribute_rows(hospital, "cohort-90", VARIABLES, [[1, 2, 0]], request_id=request_id)
    assert reused.value.reason == "REQUEST_ID_REUSED"


async def test_rows_that_cannot_be_read_to_their_end_are_not_stored(town: Town) -> None:
    hospital = await town.hospital("a")
    with pytest.raises(FileGone):
        await contribute_parts(hospital, "cohort-91", VARIABLES, lambda: parts(broken=True))


async def test_a_table_out_of_form_is_explained(town: Town) -> None:
    hospital = await town.hospital("a")
    rows = [[61.0, 24.5, 0.0], [48.0, math.nan, 1.0]]
    twice = [secrets.token_bytes(16)] * 2
    for variables, table, references, reason in (
        (("Age", "bmi", "flag"), rows, (), "DATA_SET_MALFORMED"),
        (("age", "bmi [kg", "flag"), rows, (), "DATA_SET_MALFORMED"),
        (VARIABLES, [[61.0, math.inf, 0.0]], (), "DATA_SET_MALFORMED"),
        (VARIABLES, rows, twice, "DATA_SET_MALFORMED"),
        (VARIABLES, rows, twice[:1], "STUDY_REQUEST_INVALID"),
        (VARIABLES, rows, (b"short", b"short"), "STUDY_REQUEST_INVALID"),
        (VARIABLES, [[61.0, 24.5]], (), "STUDY_REQUEST_INVALID"),
        (VARIABLES, [], (), "DATA_SET_MALFORMED"),
    ):
        with pytest.raises(ClientError) as told:
            await contribute_rows(hospital, "cohort-92", variables, table, references=references)
        assert told.value.reason == reason


async def test_a_study_in_another_unit_than_the_data_set_is_refused(town: Town) -> None:
    for letter in "abcd":
        await contribute_parts(await town.hospital(letter), "cohort-93", VARIABLES, parts)
    researcher = await town.person("b", "staff", "researcher")
    draft = Draft.from_document(
        {
            "data_set": "cohort-93",
            "variables": [{"name": "bmi", "low": 0, "high": 300, "unit": "lb/in2"}],
            "analyses": [{"kind": "moments", "variables": ["bmi"]}],
        }
    )
    wanted = replace(PermitRequest.for_study(draft), releases_max=2)
    permit = (await apply_for_permit(town.alliance, researcher, wanted)).permit_id
    for letter in "abc":
        await vote_permit(await town.hospital(letter), permit)
    with pytest.raises(ClientError) as told:
        await propose_study(town.alliance, researcher, draft, permit)
    assert told.value.reason == "UNIT_DIFFERS"
    assert "kg/m2" in told.value.detail


@pytest.mark.parametrize(
    ("text", "name", "unit"),
    [
        ("bmi", "bmi", ""),
        (" bmi [kg/m2] ", "bmi", "kg/m2"),
        ("bmi[ kg/m2 ]", "bmi", "kg/m2"),
        ("bmi []", "bmi", ""),
        ("bmi [kg", "bmi [kg", ""),
    ],
)
def test_a_unit_stands_in_brackets_behind_the_name(text: str, name: str, unit: str) -> None:
    found = contributions.variable_of(text)
    assert (found.name, found.unit) == (name, unit)
