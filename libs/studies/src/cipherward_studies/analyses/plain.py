"""Results as plain JSON values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, cast

from cipherward_studies.analysis import Result


def plain(result: Result) -> dict[str, Any]:
    """Return a result, and every dataclass in it, as dicts and lists of JSON values."""
    return {name: _plain(value) for name, value in asdict(cast("Any", result)).items()}


def _plain(value: object) -> object:
    if isinstance(value, dict):
        entries = cast("dict[str, object]", value)
        return {name: _plain(entry) for name, entry in entries.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in cast("tuple[object, ...]", value)]
    return value
