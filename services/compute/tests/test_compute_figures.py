"""What operators see of the studies at a member and of the steps that run."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from cipherward_compute.figures import StepFigures, StudyFigures
from cipherward_compute.schema import SCHEMA
from cipherward_kit.database import Database


def figure(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"cipherward_compute_{name}", labels)


async def test_studies_are_counted_by_the_state_that_they_are_in(tmp_path: Path) -> None:
    async with Database(tmp_path / "compute.db", SCHEMA) as database:

        async def put(study: bytes, state: str) -> None:
            def work(connection: sqlite3.Connection) -> None:
                connection.execute(
                    "INSERT OR REPLACE INTO studies (study, requester, members, lapses, template,"
                    " stage) VALUES (?, x'', x'80', 0, 'study', ?)",
                    (study, state),
                )

            await database.write(work)

        figures = StudyFigures(database)
        await put(b"1", "proposed")
        await put(b"2", "proposed")
        await figures.show()
        assert figure("studies", state="proposed") == 2
        await put(b"1", "released")
        await put(b"2", "released")
        await figures.show()
        assert figure("studies", state="proposed") == 0
        assert figure("studies", state="released") == 2


def test_the_oldest_running_step_shows_since_when_it_runs() -> None:
    clock = iter([100.0, 130.0])
    figures = StepFigures(lambda: next(clock))
    begun = "step_begun_timestamp_seconds"
    with figures.running("counting"):
        with figures.running("counting"):
            assert figure("steps_running", step="counting") == 2
            assert figure(begun, step="counting") == 100
        assert figure("steps_running", step="counting") == 1
    assert figure("steps_running", step="counting") == 0
    assert figure(begun, step="counting") == 0


def test_a_step_that_fails_runs_no_more() -> None:
    figures = StepFigures()
    with pytest.raises(LookupError), figures.running("valuing"):
        raise LookupError
    assert figure("steps_running", step="valuing") == 0
