"""Bytes that cross a process or a member's border: strict frames and whole-byte residues.

A frame is `MAGIC | kind u8 | profile u8 | fields | polynomials`, of exactly one length for its
kind (and point count); a reader refuses anything else. A residue takes the whole bytes that its
prime needs (60 bits: 8, 30 bits: 4), little endian, prime by prime; one at or above its prime is
refused, so every value has exactly one form.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from itertools import pairwise

import numpy as np

from cipherward_threshold.errors import (
    BadSharing,
    MalformedMessage,
    ResidueOutOfRange,
    WrongProfile,
)
from cipherward_threshold.parameters import Profile
from cipherward_threshold.sampling import Residues

MAGIC = b"CWT1"  # the last character is the form's version
DIGEST_BYTES = 32
POINT_MAX = 255  # a point is one byte; alliances are far smaller, and every prime is larger


class Kind(IntEnum):
    """What a frame holds; the numbers are fixed."""

    PUBLIC_KEY_SHARE = 1
    PUBLIC_KEY = 2
    DEAL = 3
    KEY_SHARE = 4
    CIPHERTEXT = 5
    DECRYPTION_SHARE = 6
    REQUESTER_KEY = 7
    SWITCH_SHARE = 8
    SWITCHED = 9
    CONTRIBUTION = 10
    PROOF = 11
    KEY_SHARE_PROOF = 12
    MASK_SHARE = 13
    DEAL_CHECK = 14
    RELIN_FIRST = 15
    RELIN_SECOND = 16
    RELIN_KEY = 17
    ROTATION_SHARE = 18
    ROTATION_KEY = 19
    RESHARE_DEAL = 20


def frame(kind: Kind, profile: Profile, *fields: bytes) -> bytes:
    """Return a whole frame."""
    return MAGIC + bytes((kind, profile.number)) + b"".join(fields)


def point_set(points: Sequence[int]) -> bytes:
    """Return a count byte and the points, ascending.

    Raises:
        BadSharing: no point, a repeated one, or one outside 1..255 (zero is the secret's place).
    """
    ordered = sorted(points)
    distinct = len(set(ordered)) == len(ordered)
    if not ordered or not distinct or ordered[0] < 1 or ordered[-1] > POINT_MAX:
        raise BadSharing(f"points must be distinct and in 1..{POINT_MAX}")
    return bytes((len(ordered), *ordered))


def residue_bytes(prime: int) -> int:
    """Return the whole bytes that a residue modulo `prime` takes."""
    return (prime.bit_length() + 7) // 8


def written(polynomials: Residues, primes: Sequence[int]) -> bytes:
    """Return [k, len(primes), n] in wire form."""
    raw = np.ascontiguousarray(polynomials, dtype="<u8").view(np.uint8)
    octets = raw.reshape(*polynomials.shape, 8)
    return b"".join(
        octets[:, row, :, : residue_bytes(prime)].tobytes() for row, prime in enumerate(primes)
    )


class Reader:
    """Reads one frame strictly, field by field; `end` must be the last call.

    Raises:
        MalformedMessage: the bytes are no frame of `kind`.
        WrongProfile: they name another profile.
    """

    __slots__ = ("_message", "_offset", "_profile")

    def __init__(self, message: bytes, kind: Kind, profile: Profile) -> None:
        self._message = message
        self._offset = 0
        self._profile = profile
        if self.take(len(MAGIC)) != MAGIC:
            raise MalformedMessage("these bytes are no message of the threshold scheme")
        if self.byte() != kind:
            raise MalformedMessage("the message is of another kind", expected=kind.name)
        if self.byte() != profile.number:
            raise WrongProfile("the message was made under another profile", expected=profile.name)

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes, or raise `MalformedMessage` if they are not there."""
        part = self._message[self._offset : self._offset + count]
        if len(part) != count:
            raise MalformedMessage("the message is too short")
        self._offset += count
        return part

    def byte(self) -> int:
        """Return the next byte as a number."""
        return self.take(1)[0]

    def digest(self) -> bytes:
        """Return the next 32 bytes."""
        return self.take(DIGEST_BYTES)

    def points(self) -> tuple[int, ...]:
        """Return a point set as `point_set` writes it, or raise `MalformedMessage`."""
        points = tuple(self.take(self.byte()))
        if not points or points[0] < 1 or any(a >= b for a, b in pairwise(points)):
            raise MalformedMessage("a point set must be ascending, distinct and without zero")
        return points

    def point_of(self, points: tuple[int, ...]) -> int:
        """Return the message's own point, or raise `MalformedMessage` if it is not in `points`."""
        point = self.byte()
        if point not in points:
            raise MalformedMessage("a message's point must be one of its point set")
        return point

    def polynomials(self, count: int, primes: Sequence[int]) -> Residues:
        """Return the next `count` polynomials as [count, len(primes), n].

        Raises:
            MalformedMessage: too few bytes.
            ResidueOutOfRange: a residue is not below its prime.
        """
        degree = self._profile.degree
        octets = np.zeros((count, len(primes), degree, 8), dtype=np.uint8)
        for row, prime in enumerate(primes):
            width = residue_bytes(prime)
            part = np.frombuffer(self.take(count * degree * width), dtype=np.uint8)
            octets[:, row, :, :width] = part.reshape(count, degree, width)
        values = octets.view("<u8")[..., 0].astype(np.uint64, copy=False)
        if (values >= np.array(primes, dtype=np.uint64)[:, None]).any():
            raise ResidueOutOfRange("a residue is not below its prime")
        return values

    def end(self) -> None:
        """Refuse trailing bytes."""
        if self._offset != len(self._message):
            raise MalformedMessage("the message is too long")
