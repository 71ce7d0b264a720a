"""What a log line may hold, and what it never does."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from cipherward_kit.logging import configure_logging


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    configure_logging("test")

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    yield lines
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def crash(key: str, cause: type[Exception] = RuntimeError) -> None:
    local = key
    raise cause(local)


def test_a_line_is_json_with_service_level_and_time(logged: Any) -> None:
    structlog.get_logger().info("block_proven", height=7)
    (line,) = logged()
    assert (line["service"], line["level"], line["event"]) == ("test", "info", "block_proven")
    assert line["height"] == 7
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("cause", [RuntimeError, KeyError, ValueError])
def test_a_crash_is_logged_without_any_value(logged: Any, cause: type[Exception]) -> None:
    secret = os.urandom(16).hex()  # made at run time, so no source line can quote it
    try:
        try:
            crash(secret, cause)
        except Exception as error:
            raise ExceptionGroup(secret, [error, OSError(2, "No such file")]) from error
    except ExceptionGroup:
        structlog.get_logger().exception("rpc_crashed")
    (line,) = logged()
    assert cause.__name__ in line["exception"]
    assert " crash" in line["exception"]
    assert "caused by" in line["exception"]
    assert secret not in json.dumps(line)


def test_what_the_system_says_is_kept(logged: Any) -> None:
    for cause in (sqlite3.OperationalError("disk is full"), FileNotFoundError(2, "gone", "x.db")):
        try:
            raise cause
        except Exception:
            structlog.get_logger().exception("write_failed")
    first, second = logged()
    assert first["exception"].endswith("OperationalError: disk is full")
    assert "x.db" in second["exception"]


def test_an_exception_given_as_a_value_is_logged_too(logged: Any) -> None:
    structlog.get_logger().error("late", exc_info=ValueError("4711"))
    structlog.get_logger().error("none", exc_info=True)
    late, none = logged()
    assert late["exception"] == "ValueError"
    assert "exception" not in none


@pytest.mark.parametrize(
    "field",
    ["key", "record_key", "secret", "token", "payload", "pseudonym", "passphrase", "Api-Key"],
)
def test_a_forbidden_field_is_refused_at_any_depth(logged: Any, field: str) -> None:
    structlog.get_logger().info("event", **{field: "value-4711"}, other={field: "value-4711"})
    (line,) = logged()
    assert line[field] == "[refused]"
    assert line["other"][field] == "[refused]"
    assert "4711" not in json.dumps(line)


def test_bytes_are_refused_and_harmless_names_kept(logged: Any) -> None:
    structlog.get_logger().info("event", digest=b"\x01\x02", keyboard="yes", tokens_per_second=3)
    (line,) = logged()
    assert line["digest"] == "[refused]"
    assert (line["keyboard"], line["tokens_per_second"]) == ("yes", 3)
