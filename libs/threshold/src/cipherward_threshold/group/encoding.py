"""Fields as octets in one way only, for hashing: different lists of fields never look alike."""

from __future__ import annotations

import hashlib
from typing import TypeAlias

Field: TypeAlias = bytes | str | int
"""What a hash takes: octets, text, or a number in 0..2^64-1; the three are told apart."""

_LENGTH_BYTES, _NUMBER_BYTES = 4, 8  # fields up to 4 GiB, heights and epochs: never the limit


def frame(*fields: Field) -> bytes:
    """Return every field behind a letter for its type and its length."""
    return b"".join(_framed(field) for field in fields)


def digest(tag: bytes, *fields: Field) -> bytes:
    """Return the SHA-256 of the framed fields under a tag of `domains`."""
    return hashlib.sha256(frame(tag, *fields)).digest()


def _framed(field: Field) -> bytes:
    if isinstance(field, int):
        kind, octets = b"i", field.to_bytes(_NUMBER_BYTES, "big")
    elif isinstance(field, str):
        kind, octets = b"s", field.encode()
    else:
        kind, octets = b"b", field
    return kind + len(octets).to_bytes(_LENGTH_BYTES, "big") + octets
