"""What a test says first when it needs a real server."""

from __future__ import annotations

import os

import pytest

from tests.servers.pins import ServerName, missing

# Where it is set, as in CI, a server that is missing is a failure.
REQUIRED = "CIPHERWARD_REQUIRE_SERVERS"


def required() -> bool:
    """Return whether servers must be there."""
    return os.environ.get(REQUIRED, "") not in ("", "0")


def need(name: ServerName) -> None:
    """Skip the test, saying what is missing, unless the server can run here.

    With CIPHERWARD_REQUIRE_SERVERS=1 it fails instead: a skip would hide it.
    """
    sentence = missing(name)
    if sentence is None:
        return
    if required():
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)
