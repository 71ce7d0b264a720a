"""What operators see of a member's studies: in which state they are, and which steps run."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from cipherward_compute import metrics
from cipherward_kit.database import Database

# Between two counts, each of which reads the table of studies once: some thousands of rows.
STUDIES_SECONDS: Final = 15.0


class StudyFigures:
    """Counts the studies by state; `run` it beside the server."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._shown: set[str] = set()

    async def show(self) -> None:
        """Show how many studies are in each state; a state without one, and seen before, has 0."""

        def work(connection: sqlite3.Connection) -> dict[str, int]:
            return dict(connection.execute("SELECT stage, count(*) FROM studies GROUP BY stage"))

        found = await self._database.read(work)
        self._shown |= set(found)
        for state in self._shown:
            metrics.STUDIES.labels(state).set(found.get(state, 0))

    async def run(self) -> None:
        """Show it again and again, for ever."""
        while True:
            await self.show()
            await asyncio.sleep(STUDIES_SECONDS)


class StepFigures:
    """Follows the steps that are being carried out. Used on the event loop only."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Show none; `clock` says the Unix time in seconds."""
        self._clock = clock
        self._begun: dict[str, list[float]] = {}  # by step, oldest first

    @contextmanager
    def running(self, step: str) -> Generator[None]:
        """Show a step as running while the context is open."""
        begun = self._begun.setdefault(step, [])
        own = self._clock()
        begun.append(own)
        self._show(step)
        try:
            yield
        finally:
            begun.remove(own)
            self._show(step)

    def _show(self, step: str) -> None:
        begun = self._begun[step]
        metrics.STEPS_RUNNING.labels(step).set(len(begun))
        metrics.STEP_BEGUN.labels(step).set(min(begun, default=0))
