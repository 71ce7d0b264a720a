"""What SEAL's key switching wants of a key, and the public polynomials of collective ones.

SEAL switches c * s' to s with one component per data prime: (-(a_j s + e_j) + g_j(s'), a_j), where
g_j(s') is P s' modulo prime j and zero modulo all others; P is the special prime. The product with
the digits of c, c modulo prime j, is divided by P at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from cipherward_threshold import shamir
from cipherward_threshold.errors import (
    DuplicateShare,
    TooFewShares,
    WrongContext,
    WrongKey,
)
from cipherward_threshold.keys import MemberSecret
from cipherward_threshold.messages import PublicKey
from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import Residues, Stream, centred_binomial, uniform


class Share(Protocol):
    """What every member's message of these ceremonies names."""

    @property
    def context_digest(self) -> bytes: ...
    @property
    def dealer(self) -> bytes: ...


def gadget(ring: Ring, secret: Residues) -> Residues:
    """Return g_j(secret) as [L, primes, n]; secret [primes, n], NTT form."""
    profile = ring.profile
    data = profile.data_primes
    special = ring.constant([profile.special_prime % prime for prime in data])
    scaled = ring.multiply(secret[None, : len(data)], special)[0]
    terms = np.zeros((len(data), *secret.shape), dtype=np.uint64)
    for row in range(len(terms)):
        terms[row, row] = scaled[row]
    return terms


def common_polynomials(ring: Ring, tag: bytes, digest: bytes, *context: bytes) -> Residues:
    """Return the public a_j of a ceremony as [L, primes, n], NTT form; nobody chooses them."""
    profile = ring.profile
    stream = Stream(tag, digest, profile.name.encode(), *context)
    count = len(profile.data_primes)
    return np.stack([uniform(stream, profile.key_primes, profile.degree) for _ in range(count)])


def errors(ring: Ring, tag: bytes, secret: MemberSecret, *context: bytes) -> Residues:
    """Return a member's fresh errors e_j as [L, primes, n], NTT form; same context, same errors."""
    profile = ring.profile
    stream = Stream(tag, secret.evaluation_seed(), *context)
    values = centred_binomial(stream, len(profile.data_primes), profile.degree)
    return ring.ntt(ring.from_signed(values, len(profile.key_primes)))


def secret_polynomial(ring: Ring, secret: MemberSecret) -> Residues:
    """Return a member's s_i as [primes, n], NTT form, at key level."""
    values, _ = secret.coefficients()
    return ring.ntt(ring.from_signed(values, len(ring.profile.key_primes)))[0]


def check_shares(ring: Ring, public_key: PublicKey, shares: Sequence[Share]) -> None:
    """Refuse messages that are not one of each dealer of the collective key.

    Raises:
        TooFewShares: none.
        WrongContext: a message of another ceremony.
        DuplicateShare: two of one dealer.
        WrongKey: the dealers are not those of the key.
    """
    if not shares:
        raise TooFewShares("a key needs at least one share", have=0, need=1)
    if any(share.context_digest != public_key.context_digest for share in shares):
        raise WrongContext("a share belongs to another ceremony")
    dealers = [share.dealer for share in shares]
    if len(set(dealers)) != len(dealers):
        raise DuplicateShare("a dealer appears twice")
    if shamir.key_id(ring.profile, dealers) != public_key.key_id:
        raise WrongKey("the shares are not those of all dealers of the key")
