"""Every item of a document that is not of its form, each found by itself.

`parse_template` stops at the first; here every item is parsed inside a document that has nothing
else, so that one fault hides no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from cipherward_chain.canonical import Value, encode
from cipherward_contract.analysis.findings import Finding
from cipherward_contract.templates.document import TemplateMalformed
from cipherward_contract.templates.parsing import parse_template

# A template that says nothing: what every document has at least.
_EMPTY: Final[Mapping[str, Value]] = {
    "name": "nothing",
    "version": 1,
    "object": "",
    "parties": {},
    "terms": {},
    "states": [],
    "initial": "nothing",
    "finals": [],
    "timers": [],
    "transitions": {},
    "policies": "",
}


def form_findings(document: Mapping[str, Value]) -> list[Finding]:
    """Return a finding for each key that is missing or unknown, and each item out of form."""
    found = [
        Finding("missing", f"{key}: the key is missing") for key in _EMPTY if key not in document
    ]
    for key, value in document.items():
        found += _items(key, value)
    return found


def _items(key: str, value: Value) -> Iterator[Finding]:
    if isinstance(value, Mapping) and isinstance(_EMPTY.get(key), Mapping):
        for name, item in value.items():
            yield from _fault(key, {name: item}, (key, name))
    elif isinstance(value, list) and (key == "timers" or key not in _EMPTY):
        for index, item in enumerate(value):
            yield from _fault(key, [item], (key, str(index)))
    else:
        yield from _fault(key, value, (key,))


def _fault(key: str, value: Value, place: tuple[str, ...]) -> Iterator[Finding]:
    try:
        parse_template(encode({**_EMPTY, key: value}))
    except TemplateMalformed as error:
        rule = "unknown" if str(error) == f"unknown field {key}" else "form"
        yield Finding(rule, f"{'.'.join(place)}: {error}", place)
