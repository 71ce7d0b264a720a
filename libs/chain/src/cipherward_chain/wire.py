"""Bytes with exactly one form: protobuf without a second spelling, length prefixes, times."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, EncodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from cipherward_chain.errors import ChainError

NANOS = 1_000_000_000  # nanoseconds in a second

# What google.protobuf.Timestamp may hold: years 1 to 9999, UTC.
SECONDS_MIN, SECONDS_MAX = -62_135_596_800, 253_402_300_799

M = TypeVar("M", bound=Message)


class NotExact(ChainError):
    """Bytes are not the one serialised form of the message that they should hold."""

    reason = "NOT_EXACT"


def exact_bytes(message: Message) -> bytes:
    """Return the one serialised form of `message`: fields by number, defaults left out."""
    return message.SerializeToString(deterministic=True)


def parse_exact(kind: type[M], raw: bytes) -> M:
    """Parse `raw` as a message of `kind` whose own serialisation is `raw` again.

    Refuses what protobuf tolerates: unknown fields, fields twice or out of order, defaults written
    out, padded varints. So no two byte strings are the same message.

    Raises:
        NotExact: `raw` is anything else.
    """
    try:
        message = kind.FromString(raw)
        message.DiscardUnknownFields()
        again = exact_bytes(message)
    except (DecodeError, EncodeError) as error:
        raise NotExact(f"not a {kind.DESCRIPTOR.name}") from error
    if again != raw:
        raise NotExact(f"not the exact form of a {kind.DESCRIPTOR.name}")
    return message


def length_prefixed(octets: bytes) -> bytes:
    """Return `octets` behind their length as four bytes, big-endian."""
    return len(octets).to_bytes(4, "big") + octets


def varint(number: int) -> bytes:
    """Return a protobuf varint; a negative number as its 64-bit two's complement."""
    rest = number & 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def timestamp_ns(timestamp: Timestamp) -> int:
    """Return Unix nanoseconds.

    Raises:
        NotExact: seconds or nanos are outside what a Timestamp may hold.
    """
    if not SECONDS_MIN <= timestamp.seconds <= SECONDS_MAX or not 0 <= timestamp.nanos < NANOS:
        raise NotExact("a timestamp is out of range")
    return timestamp.seconds * NANOS + timestamp.nanos


def timestamp_of(nanoseconds: int) -> Timestamp:
    """Return the Timestamp of Unix `nanoseconds`."""
    seconds, nanos = divmod(nanoseconds, NANOS)
    return Timestamp(seconds=seconds, nanos=nanos)
