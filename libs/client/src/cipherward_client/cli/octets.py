"""Ids, keys and names that people type as hexadecimal digits."""

from __future__ import annotations

from collections.abc import Callable


def parse_octets(text: str, length: int, malformed: Callable[[str], Exception]) -> bytes:
    """Return the bytes that `text` names.

    Raises:
        malformed(text): these are not 2 x `length` hexadecimal digits.
    """
    try:
        found = bytes.fromhex(text)
    except ValueError:
        raise malformed(text) from None
    if len(found) != length:
        raise malformed(text)
    return found
