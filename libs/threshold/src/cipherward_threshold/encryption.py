"""Sums of contributions and of ciphertexts, the name of a c1, and SEAL's own encryption."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from cipherward_threshold import domains
from cipherward_threshold.batching import encrypt_slots
from cipherward_threshold.errors import (
    TooFewShares,
    TooManyShares,
    TransparentCiphertext,
    WrongKey,
)
from cipherward_threshold.keys import public_key_polynomials
from cipherward_threshold.messages import Ciphertext, PublicKey
from cipherward_threshold.parameters import Profile
from cipherward_threshold.parameters import profile as profile_named
from cipherward_threshold.proofs.messages import HalfCiphertext
from cipherward_threshold.ring import Ring
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import framed
from cipherward_threshold.wire import written


def encrypt(profile: str, public_key: bytes, slots: Sequence[int]) -> bytes:
    """Encrypt integers with SEAL's encryptor, which gives no proof, so no study decrypts it.

    It is what a plain TenSEAL user has, for comparison and for tests; whoever takes part in a study
    calls `proofs.contributions.encrypt_contribution`.

    Args:
        public_key: from `keys.combine_public_key`; check its digest against the chain's first.
        slots: 1..8188 integers; see `encoding.FixedPoint`, which keeps a sum within range.

    Returns:
        A ciphertext message of 393,254 bytes.

    Raises:
        TooManySlots: no value, or more than a ciphertext carries.
        ValueOutOfRange: a value does not fit the plaintext modulus.
        MalformedMessage, WrongProfile, ResidueOutOfRange: not a public key.

    Cost: noise at most `Profile.fresh_noise_bound(members)`, measured about 2^8 for four.
    """
    ring = profile_ring(profile)
    key = PublicKey.parse(ring.profile, public_key)
    polynomials = encrypt_slots(ring, public_key_polynomials(ring, key), slots)
    return Ciphertext(key.key_id, polynomials).to_bytes(ring.profile)


def sum_contributions(profile: str, contributions: Sequence[bytes]) -> bytes:
    """Return twice the sum of contributions: the only way from them to what is decrypted.

    A contribution carries half its message, and its proof bounds twice its noise; so the sum of
    the messages stands in twice the sum. Deterministic and the same in any order: every guardian
    recomputes it from the committed inputs, whose proofs it has verified, before it gives a share.

    Raises:
        TooFewShares: no contribution.
        TooManyShares: more than the profile's noise analysis covers.
        WrongKey: contributions under different keys.
        TransparentCiphertext: an input, or the sum, has c1 = 0.
        MalformedMessage, WrongProfile, ResidueOutOfRange: an input is no contribution.

    Cost: noise is at most what `proofs.bounds.permitted_noise_bits` says.
    """
    ring = profile_ring(profile)
    _checked_count(ring.profile, len(contributions))
    total = _sum(ring, (HalfCiphertext.parse(ring.profile, one) for one in contributions))
    doubled = Ciphertext(total.key_id, ring.add(total.polynomials, total.polynomials))
    _refuse_transparent(doubled)
    return doubled.to_bytes(ring.profile)


def add_ciphertexts(profile: str, ciphertexts: Sequence[bytes]) -> bytes:
    """Return the sum: deterministic and the same in any order.

    For ciphertexts that everybody has already recomputed from committed inputs, such as a sum and
    the sum of zeros that re-randomises it.

    Raises:
        As `sum_contributions`, for ciphertexts.

    Cost: noise is the sum of the inputs'.
    """
    ring = profile_ring(profile)
    _checked_count(ring.profile, len(ciphertexts))
    total = _sum(ring, (parsed_ciphertext(ring.profile, message) for message in ciphertexts))
    _refuse_transparent(total)
    return total.to_bytes(ring.profile)


def _checked_count(parameters: Profile, count: int) -> None:
    if not count:
        raise TooFewShares("a sum needs at least one ciphertext", have=0, need=1)
    if count > parameters.contributors_max:
        raise TooManyShares(
            "too many ciphertexts in one sum", have=count, most=parameters.contributors_max
        )


def _sum(ring: Ring, terms: Iterator[Ciphertext] | Iterator[HalfCiphertext]) -> Ciphertext:
    """Return the sum of at least one ciphertext; each is read when the ones before are added.

    So the total and one term are in memory, however many there are, and stay in the cache.
    """
    first = next(terms)
    total = first.polynomials
    for term in terms:
        if term.key_id != first.key_id:
            raise WrongKey("the ciphertexts are under different keys")
        total = ring.add(total, term.polynomials)
    return Ciphertext(first.key_id, total)


def c1_digest(profile: str, ciphertext: bytes) -> bytes:
    """Return the 32 bytes that name (key, c1): at most one share of it may ever leave a member.

    Raises:
        TransparentCiphertext: c1 is zero.
        MalformedMessage, WrongProfile, ResidueOutOfRange: not a ciphertext.
    """
    parameters = profile_named(profile)
    return digest_of_c1(parameters, parsed_ciphertext(parameters, ciphertext))


def parsed_ciphertext(parameters: Profile, ciphertext: bytes) -> Ciphertext:
    """Parse a ciphertext strictly and refuse one that encrypts nothing."""
    parsed = Ciphertext.parse(parameters, ciphertext)
    _refuse_transparent(parsed)
    return parsed


def digest_of_c1(parameters: Profile, ciphertext: Ciphertext) -> bytes:
    """Return the digest of key and c1 (not c0: shares depend on c1 alone)."""
    body = written(ciphertext.polynomials[1:], parameters.data_primes)
    parts = framed(domains.CIPHERTEXT_C1, parameters.name.encode(), ciphertext.key_id, body)
    return hashlib.sha256(parts).digest()


def _refuse_transparent(ciphertext: Ciphertext) -> None:
    if not ciphertext.polynomials[1].any():
        raise TransparentCiphertext("c1 is zero: this is no encryption")
