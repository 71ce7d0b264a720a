"""Resharings of a data key among five members: tests begin in the middle of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cipherward_compute.instructions import ReshareStep
from services.compute.tests.members_on_disk import running
from services.compute.tests.resharing.driven import PLANS, STEPS, Plan, Run
from services.compute.tests.resharing.holders import MEMBERS, Alliance, MadeKey


@dataclass(frozen=True)
class Moment:
    """Everything that is on disk before a step, and on the chain."""

    folder: Path
    run: Run


class History:
    """One resharing of each plan, as it stood before every step: tests begin in its middle."""

    def __init__(self, folder: Path, made: MadeKey) -> None:
        self._folder = folder
        self._made = made
        self._moments: dict[tuple[Plan, ReshareStep | None], Moment] = {}

    def before(self, plan: Plan, step: ReshareStep | None) -> Moment:
        """Return how things stood before a step, or before the hand-over (None)."""
        if (plan, step) not in self._moments:
            asyncio.run(self._happen(plan))
        return self._moments[plan, step]

    async def _happen(self, plan: Plan) -> None:
        folder = self._folder / str(len(self._moments))
        folder.mkdir()
        async with running(Alliance, folder, MEMBERS) as alliance:
            alliance.give(self._made)
            run = Run(alliance, self._made, plan)
            for step in (*STEPS, None):
                kept = self._folder / f"{folder.name}-{step}"
                await alliance.keep(kept)
                self._moments[plan, step] = Moment(kept, run.copied(alliance))
                if step is not None:
                    await run.step(step)


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return History(tmp_path_factory.mktemp("resharings"), MadeKey.make())


@pytest.fixture
async def alliance(tmp_path: Path) -> AsyncGenerator[Alliance]:
    async with running(Alliance, tmp_path, MEMBERS) as made:
        yield made


@dataclass
class Beginning:
    """Begins a test in the middle of a resharing."""

    alliance: Alliance
    history: History

    async def __call__(self, plan: str, step: ReshareStep | None) -> Run:
        """Bring everybody to where a step begins, or the hand-over (None)."""
        found = await asyncio.to_thread(self.history.before, PLANS[plan], step)
        await self.alliance.begin_with(found.folder)
        return found.run.copied(self.alliance)


@pytest.fixture
def before(alliance: Alliance, history: History) -> Beginning:
    return Beginning(alliance, history)
