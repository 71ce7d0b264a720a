"""A study is exact, and ends for all when one withdraws; compute services that are killed in the
middle of it change nothing.

What a researcher sees through the SDK is held in tests/integration/sdk.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import pytest_asyncio

from cipherward_client.sdk.studies import (
    StudyProgress,
    fetch_result,
    watch_study,
    withdraw_study,
)
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.plan import Plan
from cipherward_studies.spec import Draft
from cipherward_studies.variables import Columns
from tests.integration.studies.town import MEMBERS, STUDY_SECONDS, Rows, StudyTown, new_data_set

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = ("a", "b", "c", "d", "e", "f", "outcome")
LEFT_OUT = (0,)  # no row is incomplete, and how few is not told


def draft_of(data_set: str) -> Draft:
    """Return a study of thirty-six sums."""
    return Draft.from_document(
        {
            "data_set": data_set,
            "variables": [{"name": name, "low": -1000, "high": 2000} for name in NAMES],
            "analyses": [
                {"kind": "moments", "variables": list(NAMES), "statistics": ["sum", "covariance"]},
                {
                    "kind": "linear_regression",
                    "outcome": "outcome",
                    "predictors": list(NAMES[:-1]),
                },
            ],
        }
    )


def patients(seed: int) -> Rows:
    """Return sixty made-up patients, with a known relation."""
    numbers = np.random.default_rng(seed)
    x = numbers.normal(50, 20, (60, 6)).round(2)
    return np.column_stack([x, (x @ np.arange(6) + numbers.normal(0, 9, 60)).round(1)])


@dataclass(frozen=True)
class Asked:
    """What is asked, by whom, of which rows."""

    draft: Draft
    researcher: Wallet
    rows: Mapping[str, Rows]

    def totals(self) -> tuple[int, ...]:
        """Return the sum of what every hospital computes in the clear, in fixed point."""
        plan = Plan.of(self.draft.spec(b"any key"))
        tables: list[Columns] = [
            dict(zip(NAMES, rows.T, strict=True)) for rows in self.rows.values()
        ]
        parts = [plan.local([table], LEFT_OUT, b"") for table in tables]
        return tuple(sum(column) for column in zip(*parts, strict=True))


@pytest_asyncio.fixture(loop_scope="module")
async def question(town: StudyTown) -> Asked:
    """A study of a data set of its own, of which every hospital has sixty patients."""
    draft = draft_of(new_data_set())
    rows = {member: patients(seed) for seed, member in enumerate(MEMBERS)}
    await town.give(draft.data_set, rows, NAMES)
    return Asked(draft, await town.researcher(), rows)


async def test_the_sums_of_four_hospitals_are_exact(town: StudyTown, question: Asked) -> None:
    study = await town.ask(question.draft)
    last = await town.until(study, "")
    assert (last.stage, last.failure) == ("released", "")
    result = await fetch_result(town.town.alliance, question.researcher, study)
    assert result.totals == question.totals()
    assert result.answer.patients == 240


async def test_a_member_withdraws_and_every_member_ends(town: StudyTown, question: Asked) -> None:
    study = await town.ask(question.draft)
    await withdraw_study(town.town.alliance, town.town.hospitals[MEMBERS[3]], study)
    for member in MEMBERS:
        last = await town.until(study, "", member)
        assert (last.stage, last.ended) == ("withdrawn", True)


@pytest.mark.soak
@pytest.mark.parametrize(
    "stage",
    [
        "keying_commit",
        "keying_reveal",
        "keying_confirm",
        "counting",
        "counts_ready",
        "checking",
        "valuing",
        "values_ready",
        "releasing",
    ],
)
async def test_every_compute_service_killed_in_the_middle_changes_nothing(
    town: StudyTown, question: Asked, stage: str
) -> None:
    study = await town.ask(question.draft)
    killed = False
    last: StudyProgress | None = None
    async with asyncio.timeout(STUDY_SECONDS):
        async for last in watch_study(town.town.alliance, question.researcher, study):
            if last.stage == stage and not killed:
                killed = True
                for member in MEMBERS:
                    os.kill(town.town.running.supervisor.pids[f"{member}/compute"], signal.SIGKILL)
    assert last is not None
    assert killed
    assert (last.stage, last.failure) == ("released", "")
    result = await fetch_result(town.town.alliance, question.researcher, study)
    assert result.totals == question.totals()
