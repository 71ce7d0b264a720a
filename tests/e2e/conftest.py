"""One running alliance for the tests that only use it, and for the one that kills it first."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.dev_process import Home
from tests.integration.production import options, production_parts


@pytest.fixture(
    scope="session", params=["embedded", pytest.param("production", marks=pytest.mark.servers)]
)
def home(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Home]:
    """Run an alliance on each set of parts."""
    with ExitStack() as stack:
        chosen: list[str] = []
        if request.param == "production":
            servers = tmp_path_factory.mktemp("servers")
            chosen = options(stack.enter_context(production_parts(servers)))
        running = Home(tmp_path_factory.mktemp("dev") / "alliance", *chosen)
        stack.callback(running.end)
        yield running
        running.stop()


@pytest.fixture
def alliance(home: Home) -> Path:
    """The folder of the running alliance."""
    return home.data
