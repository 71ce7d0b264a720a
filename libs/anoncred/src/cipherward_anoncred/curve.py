"""BLS12-381: scalars, points, hashing to both, and sums of products.

The arithmetic is py-arkworks-bls12381's.  What this module adds are the checks that the library
leaves out (canonical, not zero, not the identity, lists of one length), so nothing else of this
package parses a point or a scalar.  Not constant time.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias

from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

from cipherward_anoncred.errors import LengthMismatch, Malformed
from cipherward_anoncred.octets import i2osp, pack

__all__ = ["GT", "G1Point", "G2Point", "Scalar"]

Rng: TypeAlias = Callable[[int], bytes]
"""`rng(n)` gives n random octets; `secrets.token_bytes` everywhere but in tests."""
Draw: TypeAlias = Callable[[int], list[Scalar]]
"""`draw(n)` gives n random scalars; the drafts' vectors replace it by a mocked one."""
Equation: TypeAlias = tuple[list[G1Point], list[Scalar]]
"""Points and their weights, one list as long as the other."""

ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
COFACTOR = 0x396C8C005555E1568C00AAAB0000AAAB  # of the subgroup of that order in G1's curve
POINT_OCTETS = 48  # G1, compressed
XY_OCTETS = 96  # G1, uncompressed
PUBLIC_KEY_OCTETS = 96  # G2, compressed
SCALAR_OCTETS = 32
WIDE_OCTETS = 48  # reduced modulo ORDER, these are uniform up to 2^-128 (RFC 9380, 5.1)

# P1 of the ciphersuite: hash_to_curve of the draft's seed, under its own tag (draft, 7.2.2)
P1 = G1Point.from_compressed_bytes(
    bytes.fromhex(
        "a8ce256102840821a3e94ea9025e4662b205762f9776b3a766c872b948f1fd22"
        "5e7c59698588e70d11406d161b4e28c9"
    )
)
BP2 = G2Point()
NEGATED_BP2 = -BP2
IDENTITY = G1Point.identity()
_IDENTITY2 = G2Point.identity()
ONE = Scalar(1)
GENERATOR = G1Point()  # the curve's own, which staff's identity keys are multiples of


def expand_message(message: bytes, dst: bytes, size: int) -> bytes:
    """expand_message_xmd with SHA-256 (RFC 9380, 5.3.1).

    Raises:
        Malformed: `size` above 8160 or `dst` above 255 octets, the RFC's limits.
    """
    blocks = -(-size // 32)
    if blocks > 255 or len(dst) > 255:
        raise Malformed("expand_message: too long")
    dst_prime = dst + bytes([len(dst)])
    first = hashlib.sha256(bytes(64) + message + i2osp(size, 2) + b"\0" + dst_prime).digest()
    block = hashlib.sha256(first + b"\1" + dst_prime).digest()
    out = [block]
    for i in range(2, blocks + 1):
        mixed = bytes(x ^ y for x, y in zip(first, block, strict=True))
        block = hashlib.sha256(mixed + bytes([i]) + dst_prime).digest()
        out.append(block)
    return b"".join(out)[:size]


def hash_to_scalar(message: bytes, dst: bytes) -> Scalar:
    """hash_to_scalar of the BBS draft, section 4.1."""
    return Scalar.from_be_bytes_mod_order(expand_message(message, dst, WIDE_OCTETS))


def hash_to_point(message: bytes, dst: bytes) -> G1Point:
    """hash_to_curve of RFC 9380, suite BLS12381G1_XMD:SHA-256_SSWU_RO_."""
    return affine(G1Point.hash_to_curve(message, dst))


def affine(point: G1Point) -> G1Point:
    """The same point with its inner coordinates made affine: additions to it are faster.

    For points that are kept; `point` is trusted to be in the subgroup.
    """
    return G1Point.from_compressed_bytes_unchecked(point.to_compressed_bytes())


def random_scalars(count: int) -> list[Scalar]:
    """Uniform scalars from the system's source."""
    return [Scalar.from_be_bytes_mod_order(secrets.token_bytes(WIDE_OCTETS)) for _ in range(count)]


def hedged_scalars(
    count: int, *, tag: bytes, rng: Rng, secret: bytes, context: bytes
) -> list[Scalar]:
    """Random scalars that stay secret and distinct per context when `rng` fails.

    SHAKE-256 over 32 octets of `rng`, the secret and all that the scalars are used for: with a good
    source they are uniform; with a source that repeats itself (a restored VM image, a broken
    generator) another context still gives other scalars.  A proof's `context` must hold its whole
    public statement: one first message under two challenges gives the secret away.
    """
    wide = hashlib.shake_256(pack(tag, rng(32), secret, context)).digest(WIDE_OCTETS * count)
    return [
        Scalar.from_be_bytes_mod_order(wide[at : at + WIDE_OCTETS])
        for at in range(0, len(wide), WIDE_OCTETS)
    ]


def serialize(items: Iterable[G1Point | Scalar | int | bytes]) -> bytes:
    """The drafts' serialize: points compressed, scalars in 32 octets, integers in 8."""
    return b"".join(_octets(item) for item in items)


def _octets(item: G1Point | Scalar | int | bytes) -> bytes:
    if isinstance(item, bytes):
        return item
    if isinstance(item, int):
        return i2osp(item)
    return item.to_be_bytes() if isinstance(item, Scalar) else item.to_compressed_bytes()


def xy_octets(points: Iterable[G1Point]) -> bytes:
    """Points uncompressed, 96 octets each."""
    return b"".join(point.to_xy_bytes_be() for point in points)


def msm(points: Sequence[G1Point], scalars: Sequence[Scalar]) -> G1Point:
    """The sum of scalars[i] * points[i].

    Raises:
        LengthMismatch: the lists differ in length; the library would drop the tail of the longer
            one without a word, and with it a part of what a proof must show.
    """
    if len(points) != len(scalars):
        raise LengthMismatch(f"{len(points)} points, {len(scalars)} scalars")
    return G1Point.multiexp_unchecked(list(points), list(scalars))


def read_point(data: bytes) -> G1Point:
    """A compressed point: canonical, on the curve, in the subgroup, not the identity.

    Raises:
        Malformed: it is not all of that.
    """
    try:
        point = G1Point.from_compressed_bytes(data)
    except (ValueError, TypeError):
        raise Malformed("not a point") from None
    if point == IDENTITY:
        raise Malformed("point is the identity")
    return point


def read_xy_on_curve(data: bytes) -> G1Point:
    """An uncompressed point, on the curve but perhaps outside the subgroup, not the identity.

    For first messages of proofs only: their equations are checked up to the cofactor.

    Raises:
        Malformed: it is not that.
    """
    try:
        point = G1Point.from_xy_bytes_unchecked_be(data)
    except (ValueError, TypeError):
        raise Malformed("not a point") from None
    if point == IDENTITY:
        raise Malformed("point is the identity")
    return point


def read_scalar(data: bytes) -> Scalar:
    """A scalar in 32 octets, 1..ORDER-1.

    Raises:
        Malformed: another length, zero, or not below ORDER.
    """
    try:
        scalar = Scalar.from_be_bytes(data)
    except (ValueError, TypeError):
        raise Malformed("not a scalar") from None
    if scalar.is_zero():
        raise Malformed("scalar is zero")
    return scalar


def read_points_and_scalars(data: bytes, *, points: int) -> tuple[list[G1Point], list[Scalar]]:
    """`points` compressed points, then scalars to the end.

    Raises:
        Malformed: a length that does not fit, or a bad point or scalar.
    """
    cut = points * POINT_OCTETS
    if len(data) < cut or (len(data) - cut) % SCALAR_OCTETS:
        raise Malformed("another length")
    return (
        [read_point(data[at : at + POINT_OCTETS]) for at in range(0, cut, POINT_OCTETS)],
        [read_scalar(data[at : at + SCALAR_OCTETS]) for at in range(cut, len(data), SCALAR_OCTETS)],
    )


@lru_cache(maxsize=256)  # issuers that one process meets; a decoding costs 0.2 ms
def read_public_key(data: bytes) -> G2Point:
    """An issuer's public key: a point of G2's subgroup, not the identity.

    Raises:
        Malformed: it is not that.
    """
    try:
        point = G2Point.from_compressed_bytes(data)
    except (ValueError, TypeError):
        raise Malformed("not a public key") from None
    if point == _IDENTITY2:
        raise Malformed("public key is the identity")
    return point


def clear_cofactor(point: G1Point) -> G1Point:
    """COFACTOR * point, by additions: right for every point of the curve, in the subgroup or
    not."""
    total = point
    for bit in f"{COFACTOR:b}"[1:]:
        total = total + total
        if bit == "1":
            total = total + point
    return total
