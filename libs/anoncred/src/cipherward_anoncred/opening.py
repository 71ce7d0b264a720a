"""Verifiable encryption: a member of staff's identity key, to the key that the members share.

With the holder's secret k, the members' opening key Y and a fresh rho, the opening is E1 = rho * G
and E2 = rho * Y + k * G: an ElGamal ciphertext of the identity key k * G, under which the issuer
has registered the holder.  The presentation's proof shows that this k is the signed one.

An ElGamal pair alone is malleable: nobody opens one but out of a presentation that was verified,
whose challenge covers it.

Source: Camenisch and Shoup, "Practical verifiable encryption and decryption of discrete logarithms"
(2003), for the notion; the ciphertext here is ElGamal's, since the identity key is a point.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from cipherward_anoncred.curve import (
    GENERATOR,
    POINT_OCTETS,
    Equation,
    G1Point,
    Scalar,
    affine,
    msm,
    read_point,
    serialize,
)
from cipherward_anoncred.errors import Malformed

OPENING_OCTETS = 2 * POINT_OCTETS
EQUATIONS = 2
_KEYS_KEPT = 64  # epochs of the opening key that a process meets: a handful


@lru_cache(maxsize=_KEYS_KEPT)
def read_opening_key(octets: bytes) -> G1Point:
    """The members' opening key, one object for each.

    Raises:
        Malformed: not a point of the group, or the identity.
    """
    return affine(read_point(octets))


@dataclass(frozen=True, slots=True)
class Encryption:
    """The prover's side: the opening's octets, its first messages, and (nonce, witness) of rho."""

    octets: bytes
    firsts: tuple[G1Point, G1Point]
    pair: tuple[Scalar, Scalar] = field(repr=False)

    @staticmethod
    def make(key: G1Point, secret: tuple[Scalar, Scalar], rho: tuple[Scalar, Scalar]) -> Encryption:
        """Encrypt to `key`.

        Args:
            secret: nonce and witness of the holder's secret, those of the signature's proof.
            rho: nonce and witness, fresh.
        """
        (secret_nonce, k), (rho_nonce, r) = secret, rho
        return Encryption(
            octets=serialize([GENERATOR * r, msm([key, GENERATOR], [r, k])]),
            firsts=(GENERATOR * rho_nonce, msm([key, GENERATOR], [rho_nonce, secret_nonce])),
            pair=rho,
        )


def equations(
    key: G1Point, opening: bytes, rho_hat: Scalar, secret_hat: Scalar, challenge: Scalar
) -> tuple[Equation, Equation]:
    """The first messages as the verifier rebuilds them; `secret_hat` is the signature proof's.

    Raises:
        Malformed: `opening` is not two points of the group.
    """
    if len(opening) != OPENING_OCTETS:
        raise Malformed("opening: another length")
    e1, e2 = read_point(opening[:POINT_OCTETS]), read_point(opening[POINT_OCTETS:])
    return (
        ([GENERATOR, e1], [rho_hat, -challenge]),
        ([key, GENERATOR, e2], [rho_hat, secret_hat, -challenge]),
    )
