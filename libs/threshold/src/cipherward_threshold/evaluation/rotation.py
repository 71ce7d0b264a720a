"""Collective keys for rotations of slots, one round of all members per step.

Mouchet et al., PETS 2021, protocol RotKeyGen: -(a s_i + e) + g(s_i(X^element)), added up. No
circuit of the table rotates: a sum over slots is read from the constant coefficient (`circuits`).
The keys are for whoever uses TenSEAL's vectors under a collective key (`tenseal_form`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cipherward_threshold import domains
from cipherward_threshold.errors import BadForm
from cipherward_threshold.evaluation.gadget import (
    check_shares,
    common_polynomials,
    errors,
    gadget,
    secret_polynomial,
)
from cipherward_threshold.evaluation.messages import RotationKey, RotationShare
from cipherward_threshold.keys import MemberSecret, public_key_share_digest
from cipherward_threshold.messages import PublicKey
from cipherward_threshold.parameters import Profile
from cipherward_threshold.ring import Ring
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import Residues

_GENERATOR = 3  # SEAL's: rotating rows by k steps is X -> X^(3^k)


def galois_element(profile: Profile, step: int) -> int:
    """Return the automorphism that rotates rows by `step`; step 0 swaps the two rows.

    Args:
        step: in -n/2 + 1 .. n/2 - 1; positive to the left.

    Raises:
        BadForm: the step is outside.
    """
    half = profile.degree // 2
    if not -half < step < half:
        raise BadForm("a rotation is by less than half the slots", step=step)
    modulus = 2 * profile.degree
    return modulus - 1 if step == 0 else pow(_GENERATOR, step % half, modulus)


def rotation_share(secret: MemberSecret, step: int) -> bytes:
    """Return a member's share of the key for one step: the same bytes every time.

    Raises:
        BadForm: as `galois_element`.

    Cost: about L NTTs and L products at key level; 5.5 MB for product-1.
    """
    ring = profile_ring(secret.profile)
    element = galois_element(ring.profile, step)
    own = secret_polynomial(ring, secret)
    turned = own[:, galois_permutation(ring.profile.degree, element)]
    noise = errors(ring, domains.ROTATION_ERROR, secret, _name(element))
    masked = ring.add(ring.multiply(_common(ring, secret.context_digest, element), own), noise)
    dealer = public_key_share_digest(ring.profile, secret.public_key_share())
    value = ring.subtract(gadget(ring, turned), masked)
    return RotationShare(secret.context_digest, dealer, element, value).to_bytes(ring.profile)


def combine_rotation_key(profile: str, public_key: bytes, shares: Sequence[bytes]) -> bytes:
    """Return the collective key for one step from all members' shares of it, in any order.

    Raises:
        BadForm: shares for different steps.
        TooFewShares, WrongContext, DuplicateShare, WrongKey: see `gadget.check_shares`.
        MalformedMessage, WrongProfile, ResidueOutOfRange: some bytes are not what they should be.
    """
    ring = profile_ring(profile)
    key = PublicKey.parse(ring.profile, public_key)
    read = [RotationShare.parse(ring.profile, share) for share in shares]
    check_shares(ring, key, read)
    if any(share.element != read[0].element for share in read):
        raise BadForm("the shares are for different rotations")
    total = ring.sum([share.value for share in read])
    combined = RotationKey(key.context_digest, key.key_id, read[0].element, total)
    return combined.to_bytes(ring.profile)


def rotation_pairs(ring: Ring, key: RotationKey) -> Residues:
    """Return (b_j, a_j) as [L, 2, primes, n], NTT form: what SEAL's GaloisKeys hold."""
    common = _common(ring, key.context_digest, key.element)
    return np.stack([key.value, common], axis=1)


def galois_permutation(degree: int, element: int) -> NDArray[np.int64]:
    """Return where each value of an NTT-form polynomial comes from under X -> X^element.

    SEAL keeps the values in bit-reversed order of the odd powers of the root.
    """
    width = degree.bit_length() - 1
    places = np.arange(degree, dtype=np.int64)
    powers = _reversed_bits(places + degree, width + 1)  # odd exponents, from 1 to 2n - 1
    return _reversed_bits(((element * powers) >> 1) & (degree - 1), width)


def _reversed_bits(values: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    reversed_values = np.zeros_like(values)
    for bit in range(width):
        reversed_values |= ((values >> bit) & 1) << (width - 1 - bit)
    return reversed_values


def _common(ring: Ring, digest: bytes, element: int) -> Residues:
    return common_polynomials(ring, domains.ROTATION_POLYNOMIAL, digest, _name(element))


def _name(element: int) -> bytes:
    return element.to_bytes(4, "little")
