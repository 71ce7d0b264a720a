"""Which validated Cedar expressions never fail: all but arithmetic and extension types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

_TOTAL = frozenset({"Var", "Value", ".", "like", "is", "in", "has", "isEmpty", "Set", "Record"})
_TOTAL_ON_TYPES = frozenset({"==", "!=", "contains", "containsAll", "containsAny", "!", "&&", "||"})


def is_total(value: object) -> bool:
    """Say whether an expression that validates can never fail: no arithmetic, no extension."""
    if isinstance(value, Mapping):
        found = cast("Mapping[str, object]", value)
        return all(_is_operator_total(key) and is_total(inner) for key, inner in found.items())
    if isinstance(value, list):
        items = cast("list[object]", value)
        return all(map(is_total, items))
    return True


_PLAIN = frozenset(
    {"left", "right", "arg", "attr", "pattern", "Literal", "entity_type", "__entity"}
)


def _is_operator_total(name: str) -> bool:
    compares = ("<", "<=", ">", ">=", "if-then-else", "if", "then", "else", "type", "id")
    return name in _TOTAL | _TOTAL_ON_TYPES | _PLAIN or name in compares
