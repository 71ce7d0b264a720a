"""A study as a researcher writes it: a YAML or JSON file.

data_set: cohort-1
variables:
  - {name: bmi, low: 5, high: 100, unit: kg/m2}
  - {name: progression, low: 0, high: 1000}
outcome: progression
statistics: [count, mean, variance, linear_regression]
minimum: 10
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from cipherward_client.cli.faults import SpecMalformed
from cipherward_client.sdk.studies import StudyRequest, StudyVariable

KEYS = {"data_set", "variables", "statistics"}
OPTIONAL_KEYS = {"outcome", "minimum", "members", "approvals", "step_seconds", "fraction_bits"}
VARIABLE_KEYS = {"name", "low", "high"}
VARIABLE_OPTIONAL_KEYS = {"unit"}


def read_spec(path: Path) -> StudyRequest:
    """Return the study that a file asks for; numbers stay the decimals that were written.

    Raises:
        OSError: the file cannot be read.
        SpecMalformed: it is out of form; the text names the entry.
    """
    text = path.read_text(encoding="utf-8")
    try:
        if path.suffix == ".json":
            document: object = json.loads(text, parse_int=str, parse_float=str)
        else:  # BaseLoader makes texts only: 1.10 stays 1.10, and nothing is executed
            document = yaml.load(text, Loader=yaml.BaseLoader)
    except (ValueError, yaml.YAMLError) as error:
        raise SpecMalformed(f"{path}: {_one_line(error)}") from error
    return parse_spec(document)


def parse_spec(document: object) -> StudyRequest:
    """Return the study of a parsed document whose scalars are texts.

    Raises:
        SpecMalformed: an entry is missing, unknown or of another kind.
    """
    top = _mapping(document, "the study", KEYS, OPTIONAL_KEYS)
    return StudyRequest(
        data_set=_text(top, "data_set"),
        variables=tuple(map(_variable, _list(top, "variables"))),
        statistics=_texts(top, "statistics"),
        outcome=_text(top, "outcome", ""),
        members=_texts(top, "members"),
        **{
            name: _integer(top, name)
            for name in ("minimum", "approvals", "step_seconds", "fraction_bits")
            if name in top
        },
    )


def _variable(item: object) -> StudyVariable:
    found = _mapping(item, "a variable", VARIABLE_KEYS, VARIABLE_OPTIONAL_KEYS)
    low, high = _text(found, "low"), _text(found, "high")
    return StudyVariable(_text(found, "name"), low, high, _text(found, "unit", ""))


def _mapping(value: object, what: str, needed: set[str], optional: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise SpecMalformed(f"{what} is not a list of named entries")
    found = cast("dict[str, Any]", value)
    missing, unknown = needed - set(found), set(found) - needed - optional
    if missing or unknown:
        fault = f"lacks {sorted(missing)[0]}" if missing else f"has an unknown entry {min(unknown)}"
        raise SpecMalformed(f"{what} {fault}")
    return found


def _list(found: Mapping[str, Any], name: str) -> list[object]:
    value = found.get(name, [])
    if not isinstance(value, list):
        raise SpecMalformed(f"{name} is not a list")
    return cast("list[object]", value)


def _texts(found: Mapping[str, Any], name: str) -> tuple[str, ...]:
    items = _list(found, name)
    if not all(isinstance(item, str) for item in items):
        raise SpecMalformed(f"{name} is not a list of words")
    return tuple(cast("list[str]", items))


def _text(found: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = found.get(name, default)
    if not isinstance(value, str):
        raise SpecMalformed(f"{name} is neither a word nor a number")
    return value


def _integer(found: Mapping[str, Any], name: str) -> int:
    text = _text(found, name)
    if not (text.isascii() and text.isdigit() and len(text) < 10):  # a count or seconds
        raise SpecMalformed(f"{name} is not a whole number")
    return int(text)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
