"""The CBOR subset of everything that validators make themselves: one value, one byte string.

Text keys only, integers of 64 bits, byte and text strings, arrays, maps, booleans; no floats, null,
tags or indefinite lengths. Maps are sorted as RFC 8949 4.2.1 (bytewise by encoded key).
Written here, not taken from cbor2, because a general decoder acts on tags (shared references,
regular expressions, dates) before a caller can refuse them; cbor2 is the oracle of the tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias, Union, cast

from cipherward_chain.errors import ChainError

Value: TypeAlias = Union[  # noqa: UP007 - a recursive alias needs the quoted form in 3.11
    bool, int, bytes, str, Sequence["Value"], Mapping[str, "Value"]
]

DEPTH_MAX = 16  # deeper than any document of ours; bounds the recursion on hostile input
INTEGER_MIN, INTEGER_MAX = -(1 << 64), (1 << 64) - 1  # what CBOR holds without a tag

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _SIMPLE = 0, 1, 2, 3, 4, 5, 7
_FALSE, _TRUE = b"\xf4", b"\xf5"
_LAYOUTS_MAX, _LAYOUT_NAMES_MAX = 256, 32  # sets of keys that are remembered, and keys of each
_OCTETS = tuple(bytes((octet,)) for octet in range(256))
# What a first byte says when it is the whole head: its major type and number.
_SHORT_HEADS = tuple((o >> 5, o & 31) if o & 31 < 24 else None for o in range(256))


class NotCanonical(ChainError):
    """A value is outside the subset, or bytes are not the one form of a value."""

    reason = "NOT_CANONICAL"


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return _OCTETS[major << 5 | number]
    for follow, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * size:
            return bytes((major << 5 | follow,)) + number.to_bytes(size, "big")
    raise NotCanonical("an integer is outside 64 bits")


def _text(value: str) -> bytes:
    try:
        octets = value.encode()
    except UnicodeEncodeError:
        raise NotCanonical("a text is not Unicode") from None
    return _head(_TEXT, len(octets)) + octets


def _append(out: list[bytes], value: object, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise NotCanonical(f"a value is nested deeper than {DEPTH_MAX}")
    if isinstance(value, str):
        out.append(_text(value))
    elif isinstance(value, bytes):
        out.append(_head(_BYTES, len(value)))
        out.append(value)
    elif isinstance(value, bool):
        out.append(_TRUE if value else _FALSE)
    elif isinstance(value, int):
        out.append(_head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value))
    elif isinstance(value, (list, tuple)):
        items = cast("Sequence[object]", value)
        out.append(_head(_ARRAY, len(items)))
        for item in items:
            _append(out, item, depth + 1)
    elif isinstance(value, (dict, Mapping)):  # a dict is found out at once, a Mapping is not
        _append_map(out, cast("Mapping[object, object]", value), depth)
    else:
        raise NotCanonical(f"a {type(value).__name__} has no canonical form")


def _append_map(out: list[bytes], value: Mapping[object, object], depth: int) -> None:
    names = tuple(value)
    layout = _layout(names) if len(names) <= _LAYOUT_NAMES_MAX else _laid_out(names)
    out.append(_head(_MAP, len(names)))
    for octets, name in layout:
        out.append(octets)
        _append(out, value[name], depth + 1)


def _laid_out(names: tuple[object, ...]) -> Sequence[tuple[bytes, str]]:
    """Return the keys of a map in the order of their encoded forms, which stand beside them."""
    found: list[tuple[bytes, str]] = []
    for name in names:
        if not isinstance(name, str):
            raise NotCanonical("a key is not text")
        found.append((_text(name), name))
    return sorted(found)


# Most maps that a block writes have one of a few dozen sets of keys.
_layout = lru_cache(_LAYOUTS_MAX)(_laid_out)


def encode(value: Value) -> bytes:
    """Return the one byte string of `value`, or raise `NotCanonical`."""
    out: list[bytes] = []
    _append(out, value, 0)
    return b"".join(out)


class _Reader:
    """One pass over the bytes of one value; every rule of the form is checked on the way."""

    __slots__ = ("_at", "_octets")

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def finished(self) -> bool:
        return self._at == len(self._octets)

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._octets):
            raise NotCanonical("the bytes end early")
        taken = self._octets[self._at : end]
        self._at = end
        return taken

    def _head(self) -> tuple[int, int]:
        at = self._at
        if at == len(self._octets):
            raise NotCanonical("the bytes end early")
        first = self._octets[at]
        self._at = at + 1
        return _SHORT_HEADS[first] or self._long_head(first)

    def _long_head(self, first: int) -> tuple[int, int]:
        major, low = first >> 5, first & 31
        if low > 27:
            raise NotCanonical("a length is indefinite or reserved")
        if major == _SIMPLE:
            raise NotCanonical("floats and simple values are not used")
        size = 1 << (low - 24)
        number = int.from_bytes(self._take(size), "big")
        if number < (
            24 if size == 1 else 1 << 4 * size
        ):  # it would have fitted the next shorter form
            raise NotCanonical("a number is not in its shortest form")
        return major, number

    def _string(self, count: int) -> str:
        try:
            return self._take(count).decode()
        except UnicodeDecodeError:
            raise NotCanonical("a text is not UTF-8") from None

    def value(self, depth: int) -> Value:
        if depth > DEPTH_MAX:
            raise NotCanonical(f"a value is nested deeper than {DEPTH_MAX}")
        major, number = self._head()
        if major == _TEXT:
            return self._string(number)
        if major == _BYTES:
            return self._take(number)
        if major == _UNSIGNED:
            return number
        if major == _NEGATIVE:
            return -1 - number
        if major == _ARRAY:
            self._refuse_longer_than_bytes(number)
            return [self.value(depth + 1) for _ in range(number)]
        if major == _MAP:
            self._refuse_longer_than_bytes(number)
            return self._map(number, depth)
        if major == _SIMPLE and number in (20, 21):
            return number == 21
        raise NotCanonical("tags, null and other simple values are not used")

    def _refuse_longer_than_bytes(self, count: int) -> None:
        if count > len(self._octets) - self._at:  # each item takes at least one byte
            raise NotCanonical("the bytes end early")

    def _map(self, count: int, depth: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        before = b""
        for _ in range(count):
            start = self._at
            major, length = self._head()
            if major != _TEXT:
                raise NotCanonical("a key is not text")
            key = self._string(length)
            encoded = self._octets[start : self._at]
            if encoded <= before:
                raise NotCanonical("keys are not ascending")
            before = encoded
            found[key] = self.value(depth + 1)
        return found


def decode(octets: bytes) -> Value:
    """Return the value whose one byte string is `octets`: maps as dict, arrays as list.

    Raises:
        NotCanonical: `octets` are anything else.
    """
    reader = _Reader(octets)
    value = reader.value(0)
    if not reader.finished():
        raise NotCanonical("bytes follow the value")
    return value


def decode_map(octets: bytes) -> dict[str, Value]:
    """Return the map whose one byte string is `octets`, or raise `NotCanonical`."""
    value = decode(octets)
    if not isinstance(value, dict):
        raise NotCanonical("not a map")
    return value
