"""Typed reading of a decoded canonical map: every field is taken once, and nothing may be left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, cast

from cipherward_chain.canonical import NotCanonical, Value

T = TypeVar("T")


class Fields:
    """The fields of one map, each taken by name and type.

    Raises from every method:
        NotCanonical: the field is absent, has another type, or is out of its bounds.
    """

    __slots__ = ("_rest",)

    def __init__(self, value: Value) -> None:
        if not isinstance(value, Mapping):
            raise NotCanonical("not a map")
        self._rest: dict[str, object] = dict(value)

    def _take(self, name: str, kind: type[T]) -> T:
        if name not in self._rest:
            raise NotCanonical(f"no field {name}")
        value = self._rest.pop(name)
        # a bool is an int to Python, and to nobody else
        if not isinstance(value, kind) or (type(value) is bool) != (kind is bool):
            raise NotCanonical(f"field {name} is not {kind.__name__}")
        return value

    def text(self, name: str) -> str:
        """Return a text."""
        return self._take(name, str)

    def flag(self, name: str) -> bool:
        """Return a boolean."""
        return self._take(name, bool)

    def integer(self, name: str, *, minimum: int = 0) -> int:
        """Return an integer of at least `minimum`."""
        value = self._take(name, int)
        if value < minimum:
            raise NotCanonical(f"field {name} is below {minimum}")
        return value

    def octets(self, name: str, *, length: int | None = None) -> bytes:
        """Return bytes, of exactly `length` if that is given."""
        value = self._take(name, bytes)
        if length is not None and len(value) != length:
            raise NotCanonical(f"field {name} has not {length} bytes")
        return value

    def items(self, name: str) -> list[Value]:
        """Return an array."""
        return cast("list[Value]", self._take(name, list))

    def texts(self, name: str) -> tuple[str, ...]:
        """Return an array of texts."""
        found: list[str] = []
        for item in self.items(name):
            if not isinstance(item, str):
                raise NotCanonical(f"field {name} holds more than texts")
            found.append(item)
        return tuple(found)

    def mapping(self, name: str) -> dict[str, Value]:
        """Return a map."""
        return cast("dict[str, Value]", self._take(name, dict))

    def has(self, name: str) -> bool:
        """Say whether a field is there and not yet taken."""
        return name in self._rest

    def end(self) -> None:
        """Refuse fields that nobody took."""
        if self._rest:
            raise NotCanonical(f"unknown field {sorted(self._rest)[0]}")
