"""BLS12-381 G1: strict octets, hashing, and products.

The arithmetic is py-arkworks-bls12381's. What this module adds are the checks that the library
leaves out (lengths, the identity, lists of one length, reduction of numbers), so nothing else of
this package parses a point or a scalar. The library is not constant time: the time of a
multiplication depends on the scalar's length, hence `blinded_product`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from py_arkworks_bls12381 import G1Point, Scalar

from cipherward_threshold.group import domains
from cipherward_threshold.group.encoding import Field, frame
from cipherward_threshold.group.errors import LengthsDiffer, OctetsRejected

__all__ = ["G1Point", "Scalar"]

POINT_BYTES: Final = 48  # compressed
SCALAR_BYTES: Final = 32
WIDE_BYTES: Final = 48  # reduced modulo the order, these are uniform up to 2^-128 (RFC 9380, 5.1)
_SHA256_BLOCK = 64

G: Final = G1Point()
IDENTITY: Final = G1Point.identity()
ZERO: Final = Scalar(0)
ONE: Final = Scalar(1)


def hash_to_scalar(tag: bytes, *fields: Field) -> Scalar:
    """Return a scalar that is uniform for whoever does not know the fields."""
    return Scalar.from_be_bytes_mod_order(_expand(frame(*fields), tag))


def _expand(message: bytes, tag: bytes) -> bytes:
    """expand_message_xmd with SHA-256 to WIDE_BYTES, which takes two blocks (RFC 9380, 5.3.1)."""
    suffix = tag + bytes([len(tag)])
    size = WIDE_BYTES.to_bytes(2, "big")
    first = hashlib.sha256(bytes(_SHA256_BLOCK) + message + size + b"\0" + suffix).digest()
    one = hashlib.sha256(first + b"\1" + suffix).digest()
    mixed = bytes(a ^ b for a, b in zip(first, one, strict=True))
    two = hashlib.sha256(mixed + b"\2" + suffix).digest()
    return (one + two)[:WIDE_BYTES]


@lru_cache(maxsize=16)  # one for ceremonies and one for each purpose
def independent_point(name: str) -> G1Point:
    """Return a point whose logarithm to G nobody knows (RFC 9380, hash to curve)."""
    return G1Point.hash_to_curve(name.encode(), domains.GENERATOR)


def random_scalar() -> Scalar:
    """Return a uniform scalar from the system's source."""
    return Scalar.from_be_bytes_mod_order(secrets.token_bytes(WIDE_BYTES))


def hedged_nonce(secret: Scalar, *statement: Field) -> Scalar:
    """Return a secret random scalar for a proof of `statement` with `secret`, see `mixed_nonce`."""
    return mixed_nonce(secrets.token_bytes(32), secret, *statement)


def mixed_nonce(fresh: bytes, secret: Scalar, *statement: Field) -> Scalar:
    """Return a scalar that is random where `fresh` is, and stays secret and another one for each
    statement where `fresh` repeats itself (a restored machine image, a broken generator).

    `statement` must hold everything that the proof's challenge depends on besides the nonce: one
    nonce under two challenges gives the secret away.
    """
    return hash_to_scalar(domains.HEDGED_NONCE, fresh, secret.to_be_bytes(), *statement)


def msm(points: Sequence[G1Point], scalars: Sequence[Scalar]) -> G1Point:
    """Return the sum of scalars[i] * points[i].

    Raises:
        LengthsDiffer: the library would drop the tail of the longer list without a word, and with
            it a part of what a proof must show.
    """
    if len(points) != len(scalars):
        raise LengthsDiffer("points and scalars differ in number")
    return G1Point.multiexp_unchecked(list(points), list(scalars))


def blinded_product(point: G1Point, secret: Scalar) -> G1Point:
    """Return secret * point as (secret - k) point + k point with a fresh k.

    The time of a multiplication tells about its scalar, and here the scalar is kept for long (a
    key share) or every bit of it counts (a proof's nonce) while a stranger chooses the point and
    the moment. Each part by itself is a uniform scalar, new each time.
    """
    mask = random_scalar()
    return msm([point, point], [secret - mask, mask])


def octets(*items: G1Point | Scalar) -> bytes:
    """Return points compressed and scalars in 32 bytes, one after the other."""
    return b"".join(
        item.to_be_bytes() if isinstance(item, Scalar) else item.to_compressed_bytes()
        for item in items
    )


def read_point(data: bytes) -> G1Point:
    """Return a point of the subgroup other than the identity, from its canonical 48 bytes.

    Raises:
        OctetsRejected: they are not that.
    """
    if len(data) != POINT_BYTES:
        raise OctetsRejected("a point has 48 bytes")
    try:
        point = G1Point.from_compressed_bytes(data)
    except (ValueError, TypeError):
        raise OctetsRejected("octets are no point") from None
    if point == IDENTITY:
        raise OctetsRejected("a point is the identity")
    return point


def read_scalar(data: bytes) -> Scalar:
    """Return a scalar from its 32 bytes, below the group's order.

    Raises:
        OctetsRejected: they are not that.
    """
    if len(data) != SCALAR_BYTES:
        raise OctetsRejected("a scalar has 32 bytes")
    try:
        return Scalar.from_be_bytes(data)
    except (ValueError, TypeError):
        raise OctetsRejected("octets are no scalar") from None


def read_points(data: bytes, count: int) -> tuple[G1Point, ...]:
    """Return exactly `count` points, or raise `OctetsRejected`."""
    if len(data) != count * POINT_BYTES:
        raise OctetsRejected("another number of points")
    return tuple(read_point(part) for part in _cut(data, POINT_BYTES))


def recall_points(data: bytes) -> tuple[G1Point, ...]:
    """Return points that `read_points` has accepted before; they are not checked again."""
    return tuple(G1Point.from_compressed_bytes_unchecked(p) for p in _cut(data, POINT_BYTES))


def read_scalars(data: bytes, count: int) -> tuple[Scalar, ...]:
    """Return exactly `count` scalars, or raise `OctetsRejected`."""
    if len(data) != count * SCALAR_BYTES:
        raise OctetsRejected("another number of scalars")
    return tuple(read_scalar(part) for part in _cut(data, SCALAR_BYTES))


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]
