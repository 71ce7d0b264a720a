"""Whatever is asked or given wrongly ends in a named state, which `study show` explains."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.permits import show_permit
from cipherward_client.sdk.studies import fetch_result, propose_study
from cipherward_studies.document import STEP_SECONDS
from cipherward_studies.spec import Draft
from tests.integration.studies.town import (
    LIAR,
    MEMBERS,
    VARIABLES,
    Rows,
    StudyTown,
    asked,
    everywhere,
    explained,
    new_data_set,
    shown,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

Tables = dict[str, Rows]


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked of which rows, and how it ends. `words` stand in what is said of the end."""

    reason: str
    words: str
    asked: Mapping[str, Any] = field(default_factory=dict[str, Any])
    given: Callable[[Tables], None] = lambda _: None


def one_hospital_has_none(tables: Tables) -> None:
    del tables[MEMBERS[2]]


def one_is_missing(tables: Tables) -> None:
    tables[MEMBERS[2]][4, 1] = np.nan


def one_is_implausible(tables: Tables) -> None:
    tables[MEMBERS[2]][4, 1] = 101


def two_hospitals_have_patients(tables: Tables) -> None:
    for member in MEMBERS[2:]:
        tables[member][:, 0] = 121  # implausible: nobody is that old


def every_age_is_a_flag(tables: Tables) -> None:
    tables[MEMBERS[0]][:, 0] = np.arange(30) % 2


def policy(name: str, **declared: str) -> list[dict[str, Any]]:
    """Return the variables with another policy of one of them."""
    return [dict(one) | (declared if one["name"] == name else {}) for one in VARIABLES]


CASES: Mapping[str, Case] = {
    "a data set that a hospital does not have": Case(
        "DATA_SET_UNKNOWN", "no data set", given=one_hospital_has_none
    ),
    "a missing value of a variable that allows none": Case(
        "ROWS_REFUSED", "bmi", {"variables": policy("bmi", missing="refuse")}, one_is_missing
    ),
    "a value out of the range of a variable that allows none": Case(
        "ROWS_REFUSED", "bmi", {"variables": policy("bmi", outside="refuse")}, one_is_implausible
    ),
    "a number that has two values at a hospital": Case(
        "ROWS_REFUSED", "age", given=every_age_is_a_flag
    ),
    "a cohort that is too small": Case(
        "COHORT_TOO_SMALL",
        "fewer patients than the minimum",
        {"cohort": [{"variable": "age", "op": ">=", "values": [85]}], "minimum": 60},
    ),
    "patients at two hospitals only": Case(
        "CONTRIBUTORS_TOO_FEW", "", given=two_hospitals_have_patients
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_bad_input_ends_in_a_state_that_is_explained(
    town: StudyTown, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case, data_set, tables = CASES[name], new_data_set(), everywhere(8)
    case.given(tables)
    await town.give(data_set, tables)
    study = await town.ask(asked(data_set, **case.asked))
    refused = await town.refused(study)
    assert {end.reason for end in refused.values()} == {case.reason}
    assert any(case.words in end.failure for end in refused.values())
    explained(await shown(town, study, tmp_path, capsys), case.reason, case.words)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("age [a]", "height [cm]"), "VARIABLE_UNKNOWN"),
        (("age [a]", "bmi [lb/in2]"), "UNIT_DIFFERS"),
    ],
)
async def test_what_a_hospital_does_not_have_in_that_unit_is_not_even_proposed(
    town: StudyTown, names: tuple[str, str], reason: str
) -> None:
    data_set = new_data_set()
    await town.give(data_set, everywhere(9), names)
    draft = asked(data_set)
    permit = await town.permitted(draft)
    with pytest.raises(ClientError) as told:
        await propose_study(town.town.alliance, await town.researcher(), draft, permit)
    assert told.value.reason == reason


async def test_incomplete_rows_are_left_out_and_counted_in_the_answer(town: StudyTown) -> None:
    data_set, tables = new_data_set(), everywhere(10)
    for rows in tables.values():
        rows[:6, 0], rows[6:12, 1] = np.nan, 1000
    await town.give(data_set, tables)
    study = await town.ask(asked(data_set))
    assert (await town.until(study, "")).stage == "released"
    result = await fetch_result(town.town.alliance, await town.researcher(), study)
    assert (result.answer.patients, result.answer.excluded) == (4 * 18, 4 * 12)


async def test_a_patient_of_two_hospitals_is_counted_at_both(town: StudyTown) -> None:
    """No hospital can tell, and nothing that leaves it may: a study counts rows, not persons."""
    data_set, tables = new_data_set(), everywhere(11)
    tables[MEMBERS[1]][:10] = tables[MEMBERS[0]][:10]
    await town.give(data_set, tables)
    study = await town.ask(asked(data_set))
    assert (await town.until(study, "")).stage == "released"
    result = await fetch_result(town.town.alliance, await town.researcher(), study)
    assert result.answer.patients == 120


async def test_two_researchers_cannot_single_out_few_patients(
    town: StudyTown, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first asks for those under 60; the second, under a permit of its own, for some more."""
    data_set, tables = new_data_set(), everywhere(12)
    for rows in tables.values():
        rows[:, 0] = [*range(30, 60)]
        rows[-2:, 0] = 60  # two patients of each hospital are what both together would tell of
    await town.give(data_set, tables)

    def under(age: int) -> Draft:
        return asked(data_set, cohort=[{"variable": "age", "op": "<", "values": [age]}])

    first = await town.ask(under(60), MEMBERS[2])
    assert (await town.until(first, "")).stage == "released"
    second = await town.ask(under(61))
    refused = await town.refused(second)
    assert {end.reason for end in refused.values()} == {"COHORT_TOO_CLOSE"}
    explained(await shown(town, second, tmp_path, capsys), "COHORT_TOO_CLOSE", "differs by fewer")


async def test_a_spent_data_set_is_spent_for_every_researcher(
    town: StudyTown, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data_set = new_data_set()
    await town.give(data_set, everywhere(13))
    for member in (MEMBERS[2], MEMBERS[1]):
        study = await town.ask(asked(data_set), member)
        assert (await town.until(study, "")).stage == "released"
    third = await town.ask(asked(data_set))
    end = await town.until(third, "")
    assert end.stage == "failed"
    explained(await shown(town, third, tmp_path, capsys), "BUDGET_SPENT")
    permit = await town.permitted(asked(data_set))
    kept = await show_permit(town.town.alliance, await town.researcher(), permit)
    assert kept.releases_max == 100  # it is not the permit that is spent


async def test_a_hospital_that_never_answers_is_named_when_its_time_is_over(
    town: StudyTown, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data_set = new_data_set()
    await town.give(data_set, everywhere(14))
    study = await town.proposed(asked(data_set, step_seconds=STEP_SECONDS[0]))
    process = town.town.running.supervisor.pids[f"{LIAR}/compute"]
    os.kill(process, signal.SIGSTOP)
    try:
        await town.approve(study)
        end = await town.until(study, "")
        assert (end.stage, end.reason) == ("failed", "MEMBER_SILENT")
        assert LIAR in end.failure
        document = await shown(town, study, tmp_path, capsys)
    finally:
        os.kill(process, signal.SIGCONT)
    explained(document, "MEMBER_SILENT", LIAR)


async def test_who_orders_the_chain_may_be_killed_in_the_middle(town: StudyTown) -> None:
    """Ledger and contract of the one member that runs them: there is no other coordinator."""
    data_set = new_data_set()
    await town.give(data_set, everywhere(15))
    study = await town.ask(asked(data_set))
    await town.until(study, "counting")
    await town.town.restart([f"{MEMBERS[0]}/ledger", f"{MEMBERS[0]}/contract"])
    assert (await town.until(study, "")).stage == "released"
