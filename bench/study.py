"""Studies in a running alliance, every process on this machine: to the researcher's answer.

`study`: four hospitals, the demonstration's patients, moments and a regression of seven variables.
`study-sums`: 1,000,000 patients of five hospitals, means of 20 variables. `study-survival`,
`study-logistic`, `study-cox`: 10,000 patients of four hospitals. Rows are contributed before.

The clock starts when the last hospital has confirmed the study's key, as the researcher sees it,
and stops with the answer: counts and each round encrypted and proven, every proof checked by every
other hospital, released by as many as must, and for iterative models each round's parameters asked
for on the chain. Every decrypted integer is compared with the hospitals' own sums.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Mapping, Sequence

from bench import study_patients
from bench.results import Row, Spread, Target
from bench.stage import whole_alliance
from bench.study_runs import Research
from cipherward_client.alliance.parts import ALL_EMBEDDED
from cipherward_client.alliance.running import new_plan
from cipherward_client.demo.questions import ASKED, DIABETES, regression_study
from cipherward_client.demo.tables import dealt, load_table
from cipherward_studies.spec import Draft
from cipherward_studies.variables import Columns

NAME = "study"
SUMS = ("study-sums",)
FOLLOWED = ("study-survival", "study-logistic", "study-cox")
RUNS = 5
LARGE_RUNS = 3
PATIENTS, FOLLOWED_PATIENTS = 1_000_000, 10_000
FIVE, FOUR = 5, 4

Tables = Callable[[Sequence[str]], Mapping[str, Columns]]


def measure() -> list[Row]:
    """Return the row of the demonstration's study."""

    def tables(members: Sequence[str]) -> Mapping[str, Columns]:
        return dealt(load_table("diabetes"), ASKED, members)

    targets = {NAME: (regression_study(), Target(1.5, at_least=False))}
    return asyncio.run(_measure(FOUR, DIABETES, tables, targets, RUNS))


def measure_sums() -> list[Row]:
    """Return the row of a million patients."""

    def tables(members: Sequence[str]) -> Mapping[str, Columns]:
        return study_patients.measured(PATIENTS, members)

    draft = study_patients.sums()
    targets = {SUMS[0]: (draft, Target(5, at_least=False))}
    return asyncio.run(_measure(FIVE, draft.data_set, tables, targets, LARGE_RUNS))


def measure_followed() -> list[Row]:
    """Return the rows of survival, logistic and Cox regression."""

    def tables(members: Sequence[str]) -> Mapping[str, Columns]:
        return study_patients.followed(FOLLOWED_PATIENTS, members)

    drafts = (study_patients.survival(), study_patients.logistic(), study_patients.cox())
    bounds = (2.0, 10.0, 10.0)
    targets = {
        name: (draft, Target(bound, at_least=False))
        for name, draft, bound in zip(FOLLOWED, drafts, bounds, strict=True)
    }
    return asyncio.run(_measure(FOUR, drafts[0].data_set, tables, targets, LARGE_RUNS))


async def _measure(
    members: int,
    data_set: str,
    tables: Tables,
    studies: Mapping[str, tuple[Draft, Target]],
    runs: int,
) -> list[Row]:
    """Run each study once to warm up, and then `runs` times; return a row for each."""
    async with whole_alliance(plan=new_plan(ALL_EMBEDDED, members)) as stage:
        dealt_out = {data_set: tables(list(stage.hospitals))}
        research = await Research.begin(stage, dealt_out, {data_set: data_set})
        rows: list[Row] = []
        for name, (draft, target) in studies.items():
            permit = await research.permit(draft, runs + 1)
            await research.run(draft, permit)
            times = [(await research.run(draft, permit)).computing for _ in range(runs)]
            spread = Spread.extremes(times, "studies")
            rows.append(Row(name, statistics.median(times), "s", spread, target))
        return rows
