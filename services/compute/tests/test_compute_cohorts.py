"""Cohorts that nearly repeat another: refused before anything is encrypted, by a named state."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cipherward_compute import cohorts as module
from cipherward_compute.cohorts import Cohort, Cohorts, cohort_settled
from cipherward_compute.failures import CohortsFull, CohortTooClose
from cipherward_compute.schema import SCHEMA
from cipherward_compute.vault import Vault, VaultCorrupt
from cipherward_kit.database import Database

if TYPE_CHECKING:
    from conftest import MakeSpec, Rows, StudyRun

MINIMUM = 20
DONE, FAILED = 1, 2


class Clock:
    """Unix seconds that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
async def database(tmp_path: Path) -> AsyncGenerator[Database]:
    async with Database(tmp_path / "compute.db", SCHEMA) as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory(database: Database, clock: Clock) -> Cohorts:
    return Cohorts(database, Vault(b"k" * 32), clock)


def cohort(*ranges: tuple[int, int], minimum: int = MINIMUM, name: str = "cohort-1") -> Cohort:
    """Return the patients start..stop-1 of each range."""
    patients = np.concatenate([np.arange(*one, dtype=np.uint64) for one in ranges])
    return Cohort(name, minimum, patients * np.uint64(0x9E3779B97F4A7C15) % np.uint64(2**61 - 1))


async def admitted(memory: Cohorts, one: Cohort, study: bytes = b"") -> bytes:
    study = study or secrets.token_bytes(16)
    ordered = replace(one, patients=np.sort(one.patients))
    await memory.admit(study, ordered)
    return study


async def ended(database: Database, study: bytes, *, released: bool) -> None:
    def work(connection: Any) -> None:
        if released:
            connection.execute(
                "INSERT INTO releases VALUES (?, 0, ?, x'', x'80')",
                (secrets.randbelow(1 << 40), study),
            )
        cohort_settled(study)(connection)

    await database.write(work)


async def test_the_same_cohort_and_one_that_differs_enough_are_admitted(
    memory: Cohorts, database: Database
) -> None:
    for one in (
        cohort((0, 100)),
        cohort((0, 100)),
        cohort((0, 80)),  # without 20
        cohort((10, 110)),  # without 10, with 10 others
        cohort((0, 99), name="cohort-2"),
    ):
        await ended(database, await admitted(memory, one), released=True)


@pytest.mark.parametrize(
    "close",
    [
        ((0, 99),),
        ((0, 101),),
        ((0, 81),),
        ((1, 101),),
        ((0, 50), (59, 110)),
    ],
)
@pytest.mark.parametrize("released", [True, False])
async def test_one_that_differs_by_a_few_is_refused_while_the_other_runs_and_ever_after(
    memory: Cohorts, database: Database, close: Sequence[tuple[int, int]], released: bool
) -> None:
    study = await admitted(memory, cohort((0, 100)))
    if released:
        await ended(database, study, released=True)
    with pytest.raises(CohortTooClose):
        await admitted(memory, cohort(*close))


async def test_a_study_that_ended_without_a_release_is_forgotten(
    memory: Cohorts, database: Database
) -> None:
    await ended(database, await admitted(memory, cohort((0, 100))), released=False)
    await admitted(memory, cohort((0, 99)))


async def test_what_another_study_over_the_same_cohort_released_stays(
    memory: Cohorts, database: Database
) -> None:
    first, second = [await admitted(memory, cohort((0, 100))) for _ in range(2)]
    await ended(database, first, released=True)
    await ended(database, second, released=False)
    with pytest.raises(CohortTooClose):
        await admitted(memory, cohort((0, 99)))


async def test_the_larger_minimum_of_two_studies_decides(
    memory: Cohorts, database: Database
) -> None:
    study = await admitted(memory, cohort((0, 100), minimum=50))
    await ended(database, study, released=True)
    with pytest.raises(CohortTooClose):
        await admitted(memory, cohort((0, 70), minimum=20))
    await admitted(memory, cohort((0, 70), minimum=20, name="cohort-2"))
    with pytest.raises(CohortTooClose):
        await admitted(memory, cohort((0, 100), minimum=50, name="cohort-2"))


async def test_a_step_that_is_taken_again_is_not_compared_with_itself(memory: Cohorts) -> None:
    study = await admitted(memory, cohort((0, 100)))
    await admitted(memory, cohort((0, 99)), study)  # the rows have changed since the crash
    with pytest.raises(CohortTooClose):
        await admitted(memory, cohort((0, 100)))


async def test_memory_is_bounded_and_a_full_one_takes_known_cohorts_only(
    memory: Cohorts, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COHORTS_MAX", 2)
    for one in (cohort((0, 100)), cohort((200, 300)), cohort((0, 100))):
        await ended(database, await admitted(memory, one), released=True)
        clock.seconds += 1
    with pytest.raises(CohortsFull):
        await admitted(memory, cohort((400, 500)))
    await admitted(memory, cohort((400, 500), name="cohort-2"))
    await admitted(memory, cohort((200, 300)))


async def test_a_cohort_is_forgotten_when_nobody_asks_about_it_for_years(
    memory: Cohorts, database: Database, clock: Clock
) -> None:
    await ended(database, await admitted(memory, cohort((0, 100))), released=True)
    clock.seconds += module.KEPT_SECONDS
    with pytest.raises(CohortTooClose):
        await admitted(memory, cohort((0, 99)))
    clock.seconds += 1
    await admitted(memory, cohort((0, 99)))


async def test_what_is_remembered_is_sealed_and_bound_to_its_place(
    memory: Cohorts, database: Database
) -> None:
    for one in (cohort((0, 100)), cohort((300, 400))):
        await ended(database, await admitted(memory, one), released=True)
    octets = np.sort(cohort((0, 100)).patients).tobytes()

    def swap(connection: Any) -> list[bytes]:
        found = [sealed for (sealed,) in connection.execute("SELECT sealed FROM cohorts")]
        connection.execute("UPDATE cohorts SET sealed = ? WHERE number = 1", (found[1],))
        return found

    for sealed in await database.write(swap):
        assert not [at for at in range(0, 800, 8) if octets[at : at + 8] in sealed]
    with pytest.raises(VaultCorrupt):
        await admitted(memory, cohort((0, 99)))


@pytest.mark.slow
@pytest.mark.begins("released")
async def test_a_study_over_nearly_the_same_patients_fails_before_it_encrypts(
    study: StudyRun, another: StudyRun, rows: Mapping[str, Rows], a_spec: MakeSpec
) -> None:
    digest = await study.to_result()
    await study.totals(digest)
    await study.done(study.retire("released"))
    oldest = float(np.nanmax(rows["hospital-c"][:, 0]))
    at = {m: int((rows[m][:, 0] >= oldest).sum()) for m in rows}
    close = replace(
        another, spec=a_spec(cohort=[{"variable": "age", "op": "<", "values": [oldest]}])
    )
    await close.put_spec()
    await close.ceremony()
    reports = await close.reports(close.start_order("counts", "commit"))
    for member, report in reports.items():
        refused = 0 < at[member] < MINIMUM
        assert report.outcome == (FAILED if refused else DONE)
    assert at["hospital-c"] == 1
    seen = await close.seen_at("hospital-c")
    assert seen.failure_reason == "COHORT_TOO_CLOSE"
    same = replace(close, spec=study.spec, study=secrets.token_bytes(16))
    digest = await same.to_result()
    assert same.finish(await same.totals(digest)).patients == 119
