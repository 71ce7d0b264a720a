"""The alliance that faults are made in, shared by the cells of a module."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.soak.fault_oracle import Oracle, under_acts
from tests.soak.fault_scene import RECOVERY_SECONDS, Scene, fault_scene, room_for

SEED = 20_261_123


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def oracle(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Oracle]:
    """Four running hospitals under load, and the memory of what they acknowledged.

    One task owns all that is open: the fixture's beginning and end are different ones.
    """
    ready: asyncio.Future[Oracle] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def hold() -> None:
        try:
            async with fault_scene(tmp_path_factory.mktemp("faults")) as scene:
                with room_for(scene.folder.member(scene.members[-1])):
                    await started(scene)
                    async with under_acts(scene, SEED) as made:
                        ready.set_result(made)
                        await done.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    task = asyncio.create_task(hold())
    try:
        yield await ready
    finally:
        done.set()
        async with asyncio.timeout(RECOVERY_SECONDS):
            await task


async def started(scene: Scene) -> None:
    """Start everything: the chain's two services first, which all others wait for."""
    await scene.bring_up(*scene.members)
