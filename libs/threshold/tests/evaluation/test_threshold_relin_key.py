"""Relinearisation and rotation keys: what each round gives, repeats and refuses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cipherward_threshold import keys
from cipherward_threshold.errors import (
    BadForm,
    DuplicateShare,
    MalformedMessage,
    ResidueOutOfRange,
    TooFewShares,
    WrongCiphertext,
    WrongContext,
    WrongKey,
    WrongProfile,
)
from cipherward_threshold.evaluation.gadget import gadget, secret_polynomial
from cipherward_threshold.evaluation.messages import (
    RelinFirst,
    RelinKey,
    RelinSecond,
    RotationKey,
    RotationShare,
)
from cipherward_threshold.evaluation.relinearisation import (
    combine_relin_key,
    relin_first,
    relin_key_digest,
    relin_second,
)
from cipherward_threshold.evaluation.rotation import (
    combine_rotation_key,
    galois_element,
    galois_permutation,
    rotation_pairs,
    rotation_share,
)
from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import Residues

if TYPE_CHECKING:
    from conftest import ProductAlliance

PROFILE = "product-1"
pytestmark = pytest.mark.slow


def key_level_secret(product: ProductAlliance) -> Residues:
    return product.ring.sum([secret_polynomial(product.ring, one) for one in product.secrets])


def largest_error(ring: Ring, b: Residues, a: Residues, secret: Residues, wanted: Residues) -> int:
    """Return the largest coefficient of b + a s - wanted over all components, lifted."""
    error = ring.intt(ring.subtract(ring.add(b, ring.multiply(a, secret)), wanted))
    primes = np.array(ring.profile.key_primes, dtype=np.int64)[:, None]
    signed = error.astype(np.int64)
    centred = np.where(signed > primes // 2, signed - primes, signed)
    assert (centred == centred[:, :1]).all()  # small: the same integer modulo every prime
    return int(np.abs(centred).max())


def test_the_key_is_one_of_the_squared_joint_secret_with_a_small_error(
    product: ProductAlliance,
) -> None:
    ring = product.ring
    secret = key_level_secret(product)
    value = RelinKey.parse(ring.profile, product.relin_key).value
    levels = len(ring.profile.data_primes)
    square = ring.multiply(secret[None], secret)[0]
    largest = largest_error(ring, value[:levels], value[levels:], secret, gadget(ring, square))
    # |s|_1 <= 3 n times |e0| <= 3 * 21, the same for u - s, and e: 2^22.6 at the very worst
    assert 2**8 < largest < 2 * 3 * ring.profile.degree * 3 * 21 + 63


def test_each_round_gives_the_same_bytes_again(product: ProductAlliance) -> None:
    """A regenerated share with fresh errors would let the errors be averaged away."""
    secret = product.secrets[1]
    again = keys.member_secret(PROFILE, bytes([9, 2]) * 16, b"chain test, data key 1, attempt 1")
    assert relin_first(again) == relin_first(secret) == product.firsts[1]
    shuffled = product.firsts[::-1]
    assert relin_second(again, product.public_key, shuffled) == product.seconds[1]
    assert rotation_share(again, 4) == rotation_share(secret, 4)
    assert rotation_share(again, 4) != rotation_share(secret, 2)


def test_the_key_is_one_in_any_order_of_messages(product: ProductAlliance) -> None:
    key = combine_relin_key(
        PROFILE, product.public_key, product.firsts[::-1], product.seconds[::-1]
    )
    assert relin_key_digest(key) == relin_key_digest(product.relin_key)


def test_a_member_missing_doubled_or_foreign_is_refused(product: ProductAlliance) -> None:
    secret, public_key, firsts = product.secrets[0], product.public_key, product.firsts
    with pytest.raises(TooFewShares):
        relin_second(secret, public_key, [])
    with pytest.raises(WrongKey):
        relin_second(secret, public_key, firsts[:2])
    with pytest.raises(DuplicateShare):
        relin_second(secret, public_key, [*firsts, firsts[0]])
    foreign = keys.member_secret(PROFILE, b"f" * 32, b"another ceremony")
    with pytest.raises(WrongContext):
        relin_second(secret, public_key, [*firsts[:2], relin_first(foreign)])
    stranger = keys.member_secret(PROFILE, b"f" * 32, b"chain test, data key 1, attempt 1")
    with pytest.raises(WrongKey):
        relin_second(secret, public_key, [*firsts[:2], relin_first(stranger)])
    with pytest.raises(WrongKey):
        combine_relin_key(PROFILE, public_key, firsts, product.seconds[1:])
    with pytest.raises(DuplicateShare):
        combine_relin_key(PROFILE, public_key, firsts, [*product.seconds, product.seconds[0]])


def test_an_answer_to_another_first_round_is_refused(product: ProductAlliance) -> None:
    """A second sum of the first round is what would give a member's secret away."""
    profile = product.ring.profile
    changed = RelinFirst.parse(profile, product.firsts[0])
    changed.value[0, :, 0] = 0
    others = [changed.to_bytes(profile), *product.firsts[1:]]
    answer = relin_second(product.secrets[2], product.public_key, others)
    with pytest.raises(WrongCiphertext):
        combine_relin_key(
            PROFILE, product.public_key, product.firsts, [*product.seconds[:2], answer]
        )


def test_two_answers_to_two_first_rounds_give_the_secret_so_only_one_is_ever_made(
    product: ProductAlliance,
) -> None:
    """The attack that commitments to round one, and one answer for ever, stop."""
    ring, profile, shift = product.ring, product.ring.profile, 40
    changed = RelinFirst.parse(profile, product.firsts[0])
    changed.value[0] = ring.add(
        changed.value[0], np.full(changed.value.shape[1:], 1 << shift, dtype=np.uint64)
    )
    victim = product.secrets[2]
    others = [changed.to_bytes(profile), *product.firsts[1:]]
    answers = [
        RelinSecond.parse(profile, message).value[:1]
        for message in (product.seconds[2], relin_second(victim, product.public_key, others))
    ]
    prime = profile.key_primes[0]
    difference = ring.intt(ring.subtract(answers[1], answers[0]))[0, 0].astype(np.int64)
    centred = difference - np.int64(prime) * (difference > prime // 2)
    recovered = np.rint(centred / 2.0**shift).astype(np.int64)
    assert (recovered == victim.coefficients()[0][0]).all()


@pytest.mark.parametrize("step", [0, 1, -5])
def test_a_rotation_key_switches_the_turned_secret_to_the_joint_one(
    product: ProductAlliance, step: int
) -> None:
    ring, profile = product.ring, product.ring.profile
    shares = [rotation_share(secret, step) for secret in product.secrets]
    combined = combine_rotation_key(PROFILE, product.public_key, shares[::-1])
    key = RotationKey.parse(profile, combined)
    assert key.element == galois_element(profile, step)
    secret = key_level_secret(product)
    turned = secret[:, galois_permutation(profile.degree, key.element)]
    pairs = rotation_pairs(ring, key)
    largest = largest_error(ring, pairs[:, 0], pairs[:, 1], secret, gadget(ring, turned))
    assert 10 < largest <= 3 * 21


@pytest.mark.parametrize("element", [3, 2 * 16384 - 1])
def test_the_permutation_is_the_automorphism(product_ring: Ring, element: int) -> None:
    degree = product_ring.profile.degree
    values = np.random.default_rng(1).integers(-9, 10, (1, degree))
    places = np.arange(degree) * element % (2 * degree)
    expected = np.zeros((1, degree), dtype=np.int64)
    expected[0, places % degree] = np.where(places < degree, 1, -1) * values[0]
    turned = product_ring.ntt(product_ring.from_signed(values, 1 + 6))[
        :, :, galois_permutation(degree, element)
    ]
    assert (turned == product_ring.ntt(product_ring.from_signed(expected, 1 + 6))).all()


def test_shares_of_two_rotations_do_not_combine(product: ProductAlliance) -> None:
    shares = [rotation_share(secret, 1 + i // 2) for i, secret in enumerate(product.secrets)]
    with pytest.raises(BadForm):
        combine_rotation_key(PROFILE, product.public_key, shares)
    for step in (8192, -8192):
        with pytest.raises(BadForm):
            galois_element(product.ring.profile, step)


def test_messages_have_one_form(product: ProductAlliance) -> None:
    profile = product.ring.profile
    rotation = rotation_share(product.secrets[0], 1)
    rotations = [rotation_share(secret, 1) for secret in product.secrets]
    combined = combine_rotation_key(PROFILE, product.public_key, rotations)
    messages = [
        (RelinFirst.parse, product.firsts[0]),
        (RelinSecond.parse, product.seconds[0]),
        (RelinKey.parse, product.relin_key),
        (RotationShare.parse, rotation),
        (RotationKey.parse, combined),
    ]
    for parse, message in messages:
        assert parse(profile, message).to_bytes(profile) == message
        for wrong in (message[:-1], message + b"\0", b"CWT0" + message[4:]):
            with pytest.raises(MalformedMessage):
                parse(profile, wrong)
        with pytest.raises(WrongProfile):
            parse(profile, message[:5] + b"\1" + message[6:])
        with pytest.raises(ResidueOutOfRange):
            parse(profile, message[:-8] + b"\xff" * 8)
    at = 6 + 2 * 32  # the Galois element follows the two digests
    for element in (0, 1, 4, 2 * 16384 + 1):
        wrong = rotation[:at] + element.to_bytes(4, "little") + rotation[at + 4 :]
        with pytest.raises(MalformedMessage):
            RotationShare.parse(profile, wrong)


def test_a_first_round_is_uniform_and_hides_the_secret(product: ProductAlliance) -> None:
    profile = product.ring.profile
    value = RelinFirst.parse(profile, product.firsts[0]).value
    scaled = value[:, 0] / float(profile.data_primes[0])
    assert abs(scaled.mean() - 0.5) < 8 * math.sqrt(1 / 12 / scaled.size)
    assert abs(scaled.var() - 1 / 12) < 0.005
