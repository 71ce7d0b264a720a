"""Strict reading of a JSON document: no member twice, no unknown member, every type checked."""

from __future__ import annotations

import json
from typing import TypeVar, cast

from cipherward_chain.errors import ChainError

T = TypeVar("T")


class JsonMalformed(ChainError):
    """A document is not the JSON that it should be; the text says where."""

    reason = "JSON_MALFORMED"


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonMalformed("a member is there twice")
    return found


def _refuse_constant(name: str) -> object:
    raise JsonMalformed(f"{name} is not JSON")


class JsonFields:
    """The members of one JSON object, each taken once by name and type; `where` is its path.

    Raises from every method:
        JsonMalformed: the member is absent, has another type, or is out of its bounds.
    """

    __slots__ = ("_rest", "where")

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise JsonMalformed(f"{where} is not an object")
        self._rest = dict(cast("dict[str, object]", value))
        self.where = where

    @classmethod
    def parse(cls, raw: bytes, where: str) -> JsonFields:
        """Return the members of the document `raw`."""
        try:
            value: object = json.loads(
                raw, object_pairs_hook=_once, parse_constant=_refuse_constant
            )
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise JsonMalformed(f"{where} is not JSON") from error
        return cls(value, where)

    def _take(self, name: str, kind: type[T]) -> T:
        if name not in self._rest:
            raise JsonMalformed(f"{self.where}.{name} is missing")
        value = self._rest.pop(name)
        # a bool is an int to Python, and to nobody else
        if not isinstance(value, kind) or (type(value) is bool) != (kind is bool):
            raise JsonMalformed(f"{self.where}.{name} is not {kind.__name__}")
        return value

    def text(self, name: str) -> str:
        """Return a text."""
        return self._take(name, str)

    def integer(self, name: str, *, minimum: int, maximum: int = (1 << 53) - 1) -> int:
        """Return a number between the bounds."""
        return self._bounded(name, self._take(name, int), minimum, maximum)

    def integer_text(self, name: str, *, minimum: int) -> int:
        """Return a number that stands as a text, as CometBFT writes 64-bit integers."""
        text = self._take(name, str)
        try:
            value = int(text)
        except ValueError:
            raise JsonMalformed(f"{self.where}.{name} is not a number") from None
        if str(value) != text:
            raise JsonMalformed(f"{self.where}.{name} is not in its shortest form")
        return self._bounded(name, value, minimum, (1 << 63) - 1)

    def _bounded(self, name: str, value: int, minimum: int, maximum: int) -> int:
        if not minimum <= value <= maximum:
            raise JsonMalformed(f"{self.where}.{name} is not between {minimum} and {maximum}")
        return value

    def hexadecimal(self, name: str, *, length: int | None = None) -> bytes:
        """Return bytes that stand as lower-case hexadecimal, of exactly `length` if given."""
        text = self._take(name, str)
        try:
            octets = bytes.fromhex(text)
        except ValueError:
            raise JsonMalformed(f"{self.where}.{name} is not hexadecimal") from None
        if octets.hex() != text or (length is not None and len(octets) != length):
            raise JsonMalformed(f"{self.where}.{name} is not {length} bytes of lower-case hex")
        return octets

    def texts(self, name: str) -> tuple[str, ...]:
        """Return an array of texts."""
        found: list[str] = []
        for item in self.items(name):
            if not isinstance(item, str):
                raise JsonMalformed(f"{self.where}.{name} holds more than texts")
            found.append(item)
        return tuple(found)

    def items(self, name: str) -> list[object]:
        """Return an array."""
        return cast("list[object]", self._take(name, list))

    def object(self, name: str) -> JsonFields:
        """Return the members of an object."""
        return JsonFields(cast("object", self._take(name, dict)), f"{self.where}.{name}")

    def objects(self, name: str) -> list[JsonFields]:
        """Return the members of each object of an array."""
        return [
            JsonFields(item, f"{self.where}.{name}[{i}]") for i, item in enumerate(self.items(name))
        ]

    def names(self) -> tuple[str, ...]:
        """Return the names of the members not yet taken."""
        return tuple(self._rest)

    def has(self, name: str) -> bool:
        """Say whether a member is there and not yet taken."""
        return name in self._rest

    def end(self) -> None:
        """Refuse members that nobody took."""
        if self._rest:
            raise JsonMalformed(f"{self.where} has an unknown member {sorted(self._rest)[0]}")
