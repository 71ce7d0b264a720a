"""One JSON object per line on stdout; never a local variable, a payload or a personal name."""

from __future__ import annotations

import logging
import sqlite3
import sys
import traceback
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, TypeAlias, cast

import structlog

REFUSED = "[refused]"

# A field whose name has one of these words holds, or is easily mistaken for, what no log may hold.
FORBIDDEN_WORDS = frozenset(
    ("key", "secret", "token", "payload", "pseudonym", "passphrase", "password", "plaintext")
)

# The text of these comes from the operating system or SQLite and holds no value of ours; any other
# exception's text may quote one (KeyError quotes its key), so only its type is logged.
SPEAKING_EXCEPTIONS: tuple[type[BaseException], ...] = (OSError, sqlite3.Error)

ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]


def refuse_forbidden_fields(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace the value of every field, at any depth, whose name holds a forbidden word."""
    return {name: _cleaned(name, value) for name, value in event.items()}


def _cleaned(name: str, value: Any) -> Any:
    if not FORBIDDEN_WORDS.isdisjoint(name.lower().replace("-", "_").split("_")):
        return REFUSED
    if isinstance(value, (bytes, bytearray, memoryview)):  # bytes are never a fact for a log
        return REFUSED
    if isinstance(value, dict):
        return {str(k): _cleaned(str(k), v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - any mapping may be logged
    return value


def format_crash(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Turn `exc_info` into places and types, without local variables and without values."""
    error = _exception_of(event.pop("exc_info", None))
    if error is not None:
        event["exception"] = describe_crash(error)
    return event


def _exception_of(given: Any) -> BaseException | None:
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple):
        return cast("ExcInfo", given)[1]
    return sys.exception() if given else None


def describe_crash(error: BaseException) -> str:
    """Return where `error` was raised, innermost last, then its type, causes first."""
    chain: list[str] = []
    current: BaseException | None = error
    while current is not None and len(chain) < 5:  # a longer chain of causes tells nothing more
        places = [
            f"{frame.filename}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(current.__traceback__)
        ]
        text = type(current).__name__
        if isinstance(current, SPEAKING_EXCEPTIONS):
            text += f": {current}"
        chain.append("\n".join([*places, text]))
        if isinstance(current, BaseExceptionGroup):
            chain.extend(describe_crash(e) for e in current.exceptions[:5])  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType, reportUnknownVariableType] - the group's type argument is unknown here
        current = current.__cause__ or (
            None if current.__suppress_context__ else current.__context__
        )
    return "\ncaused by\n".join(chain)


def configure_logging(service: str, *, level: int = logging.INFO) -> None:
    """Install the process-wide structlog configuration. Call once, in `main`."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            format_crash,
            refuse_forbidden_fields,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    structlog.contextvars.bind_contextvars(service=service)
