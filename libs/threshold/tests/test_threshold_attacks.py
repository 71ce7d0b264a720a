"""Attacks that the scheme must stop, and those that only its caller's rules stop: shown to work."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cipherward_threshold import decryption, encryption, keys
from cipherward_threshold.batching import rounded_slots
from cipherward_threshold.errors import ProofRejected, ResultIsNoise
from cipherward_threshold.messages import (
    Ciphertext,
    DecryptionShare,
    KeyShare,
    PublicKey,
    PublicKeyShare,
)
from cipherward_threshold.proofs.contributions import verify_contribution
from cipherward_threshold.proofs.messages import HalfCiphertext
from cipherward_threshold.ring import Ring
from cipherward_threshold.shamir import lagrange

if TYPE_CHECKING:
    from conftest import Alliance, BigIntegers

PROFILE = "additive-1"


def test_two_shares_forced_together_are_uniform_noise(ring: Ring, alliance: Alliance) -> None:
    """Two members rewrite their headers to claim a set of two."""
    profile = ring.profile
    ciphertext = alliance.encrypt([1, 2, 3])
    honest = [
        DecryptionShare.parse(profile, alliance.share(point, ciphertext, (1, 2, 3)))
        for point in (1, 2)
    ]
    forged = [replace(share, online=(1, 2)) for share in honest]
    with pytest.raises(ResultIsNoise):
        decryption.combine(
            PROFILE, ciphertext, [one.to_bytes(profile) for one in forged], 3, circuit="sum"
        )
    c0 = Ciphertext.parse(profile, ciphertext).polynomials[:1]
    slots = rounded_slots(ring, ring.sum([c0, *(share.value for share in forged)]))
    assert slots[:3] != [1, 2, 3]
    bins = np.array(
        [(slot % profile.plain_modulus) * 256 // profile.plain_modulus for slot in slots]
    )
    expected = profile.degree / 256
    chi_squared = float((((np.bincount(bins, minlength=256) - expected) ** 2) / expected).sum())
    assert abs(chi_squared - 255) < 8 * math.sqrt(2 * 255)  # 255 degrees of freedom


def test_two_key_shares_weighted_for_two_are_no_secret(
    ring: Ring, big: BigIntegers, alliance: Alliance
) -> None:
    """Interpolating over two points a polynomial of degree two gives a uniform value."""
    terms = [
        ring.multiply(
            KeyShare.parse(ring.profile, alliance.key_shares[point]).value,
            ring.constant(lagrange(ring.profile.data_primes, (1, 2), point)),
        )
        for point in (1, 2)
    ]
    guess = big.lift(ring.intt(ring.sum(terms))[0])
    scaled = np.array([x / ring.profile.data_modulus for x in guess])  # uniform on (-1/2, 1/2]
    assert abs(scaled.mean()) < 8 * math.sqrt(1 / 12 / len(guess))
    assert abs(scaled.var() - 1 / 12) < 0.01


def test_one_key_share_is_uniform(ring: Ring, big: BigIntegers, alliance: Alliance) -> None:
    value = KeyShare.parse(ring.profile, alliance.key_shares[4]).value
    scaled = np.array([x / ring.profile.data_modulus for x in big.lift(ring.intt(value)[0])])
    assert abs(scaled.mean()) < 8 * math.sqrt(1 / 12 / scaled.size)
    assert abs(scaled.var() - 1 / 12) < 0.01


def test_asking_again_averages_no_flooding_away(ring: Ring, alliance: Alliance) -> None:
    """Twenty answers to one question are one answer, and its flooding is not another one's."""
    ciphertext = alliance.encrypt([9])
    answers = {alliance.share(1, ciphertext, (1, 2, 3)) for _ in range(20)}
    assert len(answers) == 1
    other = alliance.encrypt([9])
    first, second = (
        DecryptionShare.parse(ring.profile, alliance.share(1, one, (1, 2, 3))).value
        for one in (ciphertext, other)
    )
    assert (first != second).mean() > 0.99


def test_a_public_key_share_asked_for_many_times_has_one_error(alliance: Alliance) -> None:
    """Some 1,500 shares with fresh errors would give the member's secret exactly."""
    assert len({alliance.secrets[0].public_key_share() for _ in range(20)}) == 1


def test_a_cancelling_key_share_cannot_have_been_committed_to(
    ring: Ring, alliance: Alliance
) -> None:
    """The rogue key works where shares are combined unseen; the commitments refuse it (and so does
    its proof: see the proofs of public-key shares)."""
    profile = ring.profile
    context = b"chain test, study 1, attempt 1"
    honest = [PublicKeyShare.parse(profile, share) for share in alliance.public_key_shares[:3]]
    mine = keys.member_secret(PROFILE, b"m" * 32, context).public_key_share()
    own = PublicKeyShare.parse(profile, mine)
    rogue = replace(own, b=ring.subtract(own.b, ring.sum([share.b for share in honest])))
    message = rogue.to_bytes(profile)
    combined = keys.combine_public_key(PROFILE, context, [*alliance.public_key_shares[:3], message])
    assert (PublicKey.parse(profile, combined).b == own.b).all()  # the rogue's alone
    committed = keys.share_commitment(PROFILE, mine, sender=b"rogue")
    assert keys.share_commitment(PROFILE, message, sender=b"rogue") != committed


@pytest.mark.slow
def test_a_chosen_c1_gives_the_key_and_its_proof_is_refused(
    ring: Ring, big: BigIntegers, alliance: Alliance
) -> None:
    """One contributor adds 2^117 to its c1; the sum stays exact and its noise holds the key.

    Every guardian verifies every proof before it gives a share, so the sum below is never made.
    What it would give, flooding or not, is why.
    """
    profile = ring.profile
    context = b"contribution"
    made = [alliance.contribute([1, 2, 3], context=context) for _ in range(3)]
    inputs = [one.ciphertexts[0] for one in made]
    crafted = HalfCiphertext.parse(profile, inputs[2])
    shift = np.zeros((3, profile.degree), dtype=np.uint64)
    shift[:, 0] = [(1 << 117) % prime for prime in profile.data_primes]
    crafted.polynomials[1] = ring.add(crafted.polynomials[1], shift)
    attacked = crafted.to_bytes(profile)
    with pytest.raises(ProofRejected):
        verify_contribution(
            PROFILE, alliance.public_key, [attacked], made[2].proof, context=context
        )

    honest = encryption.sum_contributions(PROFILE, inputs)
    total = encryption.sum_contributions(PROFILE, [*inputs[:2], attacked])
    assert encryption.c1_digest(PROFILE, total) != encryption.c1_digest(PROFILE, honest)
    shares = [alliance.share(point, total, (1, 2, 3)) for point in (1, 2, 3)]
    assert decryption.combine(PROFILE, total, shares, 3, circuit="sum") == [3, 6, 9]
    parts = [DecryptionShare.parse(profile, share).value for share in shares]
    c0 = Ciphertext.parse(profile, total).polynomials[:1]
    phase = big.lift(ring.sum([c0, *parts])[0])
    modulus, t = profile.data_modulus, profile.plain_modulus
    noise = [
        x - (2 * modulus * ((2 * t * x + modulus) // (2 * modulus)) + t) // (2 * t) for x in phase
    ]
    recovered = [round(x / 2**118) for x in noise]
    agreeing = sum(a == b for a, b in zip(recovered, alliance.joint_secret, strict=True))
    # Two thirds at once (three floods blur the rest by one); the best guess has 19 of 81.
    assert agreeing > 0.6 * profile.degree
