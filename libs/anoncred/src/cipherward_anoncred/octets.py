"""Integers and lists of fields as octets, in one way only."""

from __future__ import annotations

from cipherward_anoncred.errors import Malformed

_LENGTH_OCTETS = 4  # a field of up to 4 GiB: never the limit


def i2osp(number: int, size: int = 8) -> bytes:
    """RFC 8017's I2OSP; 8 octets is what the BBS drafts use for every count and length."""
    return number.to_bytes(size, "big")


def pack(*fields: bytes) -> bytes:
    """Each field after its length, so that no two lists of fields share an encoding."""
    return b"".join(i2osp(len(field), _LENGTH_OCTETS) + field for field in fields)


def unpack(data: bytes) -> list[bytes]:
    """The fields of `pack`.

    Raises:
        Malformed: a length points past the end, or stands cut off at the end.
    """
    fields: list[bytes] = []
    at = 0
    while at < len(data):
        start = at + _LENGTH_OCTETS
        end = start + int.from_bytes(data[at:start], "big")
        if start > len(data) or end > len(data):
            raise Malformed("fields: length past the end")
        fields.append(data[start:end])
        at = end
    return fields


def unpack_tagged(tag: bytes, data: bytes, *, count: int) -> list[bytes]:
    """The `count` fields after `tag`.

    Raises:
        Malformed: another tag, or another number of fields.
    """
    fields = unpack(data)
    if not fields or fields[0] != tag:
        raise Malformed("fields: another kind or version")
    if len(fields) != count + 1:
        raise Malformed("fields: another number of them")
    return fields[1:]
