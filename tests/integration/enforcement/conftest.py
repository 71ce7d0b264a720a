"""One running alliance of four hospitals for all these tests: all services, real sockets."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.enforcement.town import RunningTown, Town, connected

HERE = Path(__file__).parent
RUNNING = pytest.StashKey[RunningTown]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the processes, which take seconds to start."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> RunningTown:
    """The alliance, which starts with the first of these tests and stops after the last."""
    folder = next(node for node in request.node.iter_parents() if node.path == HERE)
    if RUNNING not in folder.stash:
        opened = RunningTown(tmp_path_factory.mktemp("enforcement") / "alliance")
        folder.addfinalizer(opened.stop)
        opened.start()
        folder.stash[RUNNING] = opened
    return folder.stash[RUNNING]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(running: RunningTown) -> AsyncGenerator[Town]:
    """The alliance and the people of a module, whom nobody else knows."""
    async with connected(running) as found:
        yield found
