"""What holds in every test of the repository."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from cipherward_kit.memory import keep_freed_memory

# As every service does: what tests compute here is as large, and pages that are given back and
# zeroed again cost a sixth of it.
keep_freed_memory()


def pytest_collection_finish() -> None:
    """Take what was imported out of the collector's way: it is the most, and never garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def nothing_left_open() -> Iterator[None]:
    """A socket, file or loop that a module leaves open is an error of this module.

    Each warns when it is collected, and a warning is an error of whichever test runs then: without
    this it may be one of another folder, minutes later.
    """
    yield
    gc.collect()
