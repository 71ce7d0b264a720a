"""One running alliance of four hospitals for all these tests, one of which lies when it is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.studies.town import StudyHome, StudyTown, in_town

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the processes, which take seconds to start."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Generator[StudyHome]:
    """The alliance, which starts with the first of these tests."""
    opened = StudyHome(tmp_path_factory.mktemp("studies") / "alliance")
    try:
        opened.start()
        yield opened
    finally:
        opened.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(home: StudyHome) -> AsyncGenerator[StudyTown]:
    """The alliance as everybody in it, and what was asked of it in this module."""
    async with in_town(home) as found:
        yield found
