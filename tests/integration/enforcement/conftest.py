"""One running alliance of four hospitals for each module: all services, real sockets."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.enforcement.town import Town, open_town


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the processes, which take seconds to start."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Town]:
    """The alliance and its people."""
    async with open_town(tmp_path_factory.mktemp("enforcement") / "alliance") as opened:
        yield opened
