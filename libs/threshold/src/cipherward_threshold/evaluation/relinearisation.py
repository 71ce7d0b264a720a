"""The collective relinearisation key, in two rounds of all members of a ceremony.

Mouchet et al., PETS 2021, protocol RelinKeyGen: with u_i ternary and fresh,

    round one   h0 = g(s_i) - u_i a + e    h1 = s_i a + e
    round two   s_i H0 + (u_i - s_i) H1 + e,  H the sums of round one
    key         (sum of round two, H1): -(H1 s + E) + g(s^2)

What the caller must see to: all digests of a round are committed before one message of it is shown
(whoever chose H after the others could read their secrets from round two), and a member answers one
sum of round one only, ever. E is not proven small: the ceremony's test decryption bounds it
(`key_check`), because E enters a product linearly in digits that nobody chooses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from cipherward_threshold import domains
from cipherward_threshold.errors import WrongCiphertext
from cipherward_threshold.evaluation.gadget import (
    check_shares,
    common_polynomials,
    errors,
    gadget,
    secret_polynomial,
)
from cipherward_threshold.evaluation.messages import RelinFirst, RelinKey, RelinSecond
from cipherward_threshold.keys import MemberSecret, public_key_share_digest
from cipherward_threshold.messages import PublicKey
from cipherward_threshold.ring import Ring
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import Residues, Stream, ternary
from cipherward_threshold.wire import written


def relin_first(secret: MemberSecret) -> bytes:
    """Return a member's message of round one: the same bytes every time.

    One share per secret and common polynomial: a second one with fresh errors would let the errors
    be averaged away.

    Cost: about 4 L NTTs and 2 L products at key level; 11 MB for product-1.
    """
    ring = profile_ring(secret.profile)
    common = _common(ring, secret.context_digest)
    own = secret_polynomial(ring, secret)
    masked = ring.multiply(common, _ephemeral(ring, secret))
    h0 = ring.add(
        ring.subtract(gadget(ring, own), masked),
        errors(ring, domains.RELIN_FIRST_ERROR, secret, b"h0"),
    )
    h1 = ring.add(
        ring.multiply(common, own), errors(ring, domains.RELIN_FIRST_ERROR, secret, b"h1")
    )
    message = RelinFirst(secret.context_digest, _dealer(ring, secret), np.concatenate([h0, h1]))
    return message.to_bytes(ring.profile)


def relin_second(secret: MemberSecret, public_key: bytes, firsts: Sequence[bytes]) -> bytes:
    """Return a member's message of round two: the same bytes for the same first round.

    Answer one set of first messages only, the one whose digests were committed: the difference of
    two answers gives the secret.

    Args:
        public_key: the collective key, whose dealers must all be in the first round.
        firsts: every member's message of round one, in any order, its own included.

    Raises:
        TooFewShares, WrongContext, DuplicateShare, WrongKey: see `gadget.check_shares`.
        MalformedMessage, WrongProfile, ResidueOutOfRange: some bytes are not what they should be.

    Cost: about L NTTs and 2 L products at key level; 5.5 MB for product-1.
    """
    ring = profile_ring(secret.profile)
    digest, (h0, h1) = _first_sums(ring, PublicKey.parse(ring.profile, public_key), firsts)
    own = secret_polynomial(ring, secret)
    rest = ring.subtract(_ephemeral(ring, secret), own)
    products = ring.add(ring.multiply(h0, own), ring.multiply(h1, rest))
    value = ring.add(products, errors(ring, domains.RELIN_SECOND_ERROR, secret, digest))
    message = RelinSecond(secret.context_digest, _dealer(ring, secret), digest, value)
    return message.to_bytes(ring.profile)


def combine_relin_key(
    profile: str, public_key: bytes, firsts: Sequence[bytes], seconds: Sequence[bytes]
) -> bytes:
    """Return the collective relinearisation key from all messages of both rounds, in any order.

    Raises:
        TooFewShares, WrongContext, DuplicateShare, WrongKey: see `gadget.check_shares`.
        WrongCiphertext: a second message answers another first round.
        MalformedMessage, WrongProfile, ResidueOutOfRange: some bytes are not what they should be.
    """
    ring = profile_ring(profile)
    key = PublicKey.parse(ring.profile, public_key)
    digest, (_, h1) = _first_sums(ring, key, firsts)
    read = [RelinSecond.parse(ring.profile, second) for second in seconds]
    check_shares(ring, key, read)
    if any(second.firsts_digest != digest for second in read):
        raise WrongCiphertext("a second message answers another first round")
    b = ring.sum([second.value for second in read])
    return RelinKey(key.key_id, np.concatenate([b, h1])).to_bytes(ring.profile)


def relin_key_digest(relin_key: bytes) -> bytes:
    """Return the SHA-256 of a relinearisation key, as the chain names it."""
    return hashlib.sha256(relin_key).digest()


def _first_sums(
    ring: Ring, public_key: PublicKey, firsts: Sequence[bytes]
) -> tuple[bytes, Residues]:
    """Return the digest of H and H itself as [2, L, primes, n]."""
    read = [RelinFirst.parse(ring.profile, first) for first in firsts]
    check_shares(ring, public_key, read)
    total = ring.sum([first.value for first in read])
    body = written(total, ring.profile.key_primes)
    levels = len(ring.profile.data_primes)
    return hashlib.sha256(body).digest(), total.reshape(2, levels, *total.shape[1:])


def _common(ring: Ring, digest: bytes) -> Residues:
    return common_polynomials(ring, domains.RELIN_POLYNOMIAL, digest)


def _ephemeral(ring: Ring, secret: MemberSecret) -> Residues:
    """Return u_i, ternary and of this ceremony only, as [primes, n], NTT form."""
    stream = Stream(domains.RELIN_EPHEMERAL, secret.evaluation_seed())
    values = ternary(stream, ring.profile.degree)
    return ring.ntt(ring.from_signed(values, len(ring.profile.key_primes)))[0]


def _dealer(ring: Ring, secret: MemberSecret) -> bytes:
    return public_key_share_digest(ring.profile, secret.public_key_share())
