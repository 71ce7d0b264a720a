"""Encryption under the collective key, sums of ciphertexts, and the name of a c1."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

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
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import framed
from cipherward_threshold.wire import written


def encrypt(profile: str, public_key: bytes, slots: Sequence[int]) -> bytes:
    """Encrypt integers under a collective public key, with fresh randomness every time.

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


def sum_ciphertexts(profile: str, ciphertexts: Sequence[bytes]) -> bytes:
    """Return the sum: deterministic and the same in any order, so that every guardian recomputes
    it from the committed inputs and compares bytes before it gives a share.

    Raises:
        TooFewShares: no ciphertext.
        TooManyShares: more than the profile's noise analysis covers.
        WrongKey: ciphertexts under different keys.
        TransparentCiphertext: an input, or the sum, has c1 = 0.
        MalformedMessage, WrongProfile, ResidueOutOfRange: an input is no ciphertext.

    Cost: noise is the sum of the inputs'.
    """
    ring = profile_ring(profile)
    if not ciphertexts:
        raise TooFewShares("a sum needs at least one ciphertext", have=0, need=1)
    if len(ciphertexts) > ring.profile.contributors_max:
        raise TooManyShares(
            "too many ciphertexts in one sum",
            have=len(ciphertexts),
            most=ring.profile.contributors_max,
        )
    parsed = [parsed_ciphertext(ring.profile, ciphertext) for ciphertext in ciphertexts]
    if any(one.key_id != parsed[0].key_id for one in parsed):
        raise WrongKey("the ciphertexts are under different keys")
    total = Ciphertext(parsed[0].key_id, ring.sum([one.polynomials for one in parsed]))
    _refuse_transparent(total)
    return total.to_bytes(ring.profile)


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
