"""Two running alliances of four hospitals: one of them has a member that lies when it is told, the
other one has a data key.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.studies.column_town import ColumnTown, column_town
from tests.integration.studies.town import StudyHome, StudyTown, in_town

HERE = Path(__file__).parent
# To make a data key takes longer than to use it. It is scored with before it goes to other holders,
# which ends it.
KEY_MODULES = ("test_risk_scores.py", "test_key_resharing.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the processes, which take seconds to start; KEY_MODULES come last."""
    mine = [place for place, item in enumerate(items) if HERE in item.path.parents]
    for place in mine:
        items[place].add_marker(pytest.mark.slow)
    ordered = sorted((items[place] for place in mine), key=_when)
    for place, item in zip(mine, ordered, strict=True):
        items[place] = item


def _when(item: pytest.Item) -> int:
    name = item.path.name
    return KEY_MODULES.index(name) + 1 if name in KEY_MODULES else 0


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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def key_town(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[ColumnTown]:
    """The alliance with a data key, for KEY_MODULES in their order."""
    async with column_town(tmp_path_factory.mktemp("data-key") / "alliance") as found:
        yield found
