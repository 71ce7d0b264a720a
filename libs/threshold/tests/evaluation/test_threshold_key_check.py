"""The test decryption of a new evaluation key: what passes, what does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cipherward_threshold import decryption, noise
from cipherward_threshold.circuits import circuit
from cipherward_threshold.decryption import leading_coefficients
from cipherward_threshold.encryption import sum_contributions
from cipherward_threshold.errors import BadForm, EvaluationKeyRejected, UnknownCircuit, WrongCircuit
from cipherward_threshold.evaluation.gadget import errors
from cipherward_threshold.evaluation.key_check import (
    CHECK_BATCHES,
    CHECK_CIRCUIT,
    check_key,
    dummy_products,
    dummy_values,
)
from cipherward_threshold.evaluation.messages import RelinKey
from cipherward_threshold.messages import DecryptionShare
from cipherward_threshold.parameters import profile
from cipherward_threshold.proofs.contributions import encrypt_contribution, verify_contribution
from cipherward_threshold.sampling import Residues

if TYPE_CHECKING:
    from conftest import ProductAlliance

PROFILE = "product-1"
MEMBERS = (b"first", b"second", b"third")
CEREMONY = b"data key 1, attempt 1"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sums(product: ProductAlliance) -> list[bytes]:
    """What the members commit to and show: one proven batch each."""
    given: list[Sequence[bytes]] = []
    for member in MEMBERS:
        batches = dummy_values(CEREMONY, member)
        one = encrypt_contribution(PROFILE, product.public_key, batches, context=member)
        given.append(one.ciphertexts)
    return [
        sum_contributions(PROFILE, [rows[batch] for rows in given])
        for batch in range(CHECK_BATCHES)
    ]


def opened(product: ProductAlliance, products: Sequence[bytes]) -> list[list[bytes]]:
    return [product.shares(one, CHECK_CIRCUIT) for one in products]


def test_an_honest_key_passes_with_the_noise_of_the_floods(
    product: ProductAlliance, sums: list[bytes]
) -> None:
    products = dummy_products(PROFILE, product.relin_key, sums)
    shares = opened(product, products)
    bits = check_key(PROFILE, products, shares, context=CEREMONY, members=MEMBERS)
    flooding = circuit(CHECK_CIRCUIT, profile(PROFILE)).flooding_bits
    assert flooding - 6 < bits < flooding + 1  # the largest of four sums of two floods
    reordered = MEMBERS[::-1]
    assert check_key(PROFILE, products, shares, context=CEREMONY, members=reordered) == bits


def test_dummies_come_in_one_proven_batch(product: ProductAlliance) -> None:
    batches = dummy_values(CEREMONY, MEMBERS[0])
    assert len(batches) == CHECK_BATCHES == 2 * noise.TEST_PRODUCTS
    made = encrypt_contribution(PROFILE, product.public_key, batches, context=b"c")
    verify_contribution(PROFILE, product.public_key, made.ciphertexts, made.proof, context=b"c")
    assert dummy_values(CEREMONY, MEMBERS[1]) != batches != dummy_values(b"other", MEMBERS[0])


def with_error(product: ProductAlliance, error: int) -> bytes:
    """Return the alliance's key with `error` X^7 added to one component: a member's lie."""
    ring = product.ring
    key = RelinKey.parse(ring.profile, product.relin_key)
    wrong: Residues = np.zeros((1, len(ring.profile.key_primes), ring.profile.degree), np.uint64)
    wrong[0, :, 7] = [error % prime for prime in ring.profile.key_primes]
    value = key.value.copy()
    value[2] = ring.add(value[2], ring.ntt(wrong)[0])
    return replace(key, value=value).to_bytes(ring.profile)


@pytest.mark.parametrize("size", ["2^230", "2^280", "PQ/2"])
def test_a_key_whose_error_would_reach_through_the_flooding_is_refused(
    product: ProductAlliance, sums: list[bytes], size: str
) -> None:
    """An error of 2^b makes noise of about 2^b: digits are below 2^60, and so is what divides.

    PQ / 2 shows in an odd digit alone, as Q / 2; a multiple of it by the secret would give away the
    secret's parities. One coefficient would miss it every second time: 64 of them do not.
    """
    parameters = profile(PROFILE)
    half = parameters.special_prime * parameters.data_modulus // 2
    error = {"2^230": 1 << 230, "2^280": 1 << 280, "PQ/2": half}[size]
    products = dummy_products(PROFILE, with_error(product, error), sums)
    with pytest.raises(EvaluationKeyRejected):
        check_key(PROFILE, products, opened(product, products), context=CEREMONY, members=MEMBERS)


def test_an_error_that_the_test_lets_pass_is_hidden_by_the_flooding_of_every_circuit(
    product: ProductAlliance, sums: list[bytes]
) -> None:
    products = dummy_products(PROFILE, with_error(product, 1 << 190), sums)
    check_key(PROFILE, products, opened(product, products), context=CEREMONY, members=MEMBERS)
    parameters = profile(PROFILE)
    flooding = circuit(CHECK_CIRCUIT, parameters).flooding_bits
    bound = noise.relinearisation_bits(parameters, flooding)
    for one in products:
        assert product.phases.noise_bits(one) < bound
    for name in ("product-sum", "flags", "masked-linear"):
        assert circuit(name, parameters).noise_bits >= bound


def test_an_error_makes_noise_of_its_size_times_a_uniform_digit(
    product: ProductAlliance, sums: list[bytes]
) -> None:
    """What the argument for a random test rests on: linear in the error, with uniform digits."""
    bits = 150  # far above the product's own noise, which is below 2^95
    products = dummy_products(PROFILE, with_error(product, 1 << bits), sums)
    parts = [
        leading_coefficients(product.ring, product.phases.phase(one), 1)[0][1] / 2.0**bits
        for one in products
    ]
    # X^7 turns the constant coefficient of the digits into that of X^(n-7), negated: -digit / P.
    assert all(-1 < part < 0 for part in parts)
    assert max(parts) - min(parts) > 0.05  # four uniform ones closer together: one in 2,000
    doubled = dummy_products(PROFILE, with_error(product, 2 << bits), sums)
    for one, part in zip(doubled, parts, strict=True):
        ((_, residual),) = leading_coefficients(product.ring, product.phases.phase(one), 1)
        assert abs(residual / 2.0**bits - 2 * part) < 2.0**-40


def test_other_dummies_or_shares_of_another_circuit_are_refused(
    product: ProductAlliance, sums: list[bytes]
) -> None:
    products = dummy_products(PROFILE, product.relin_key, sums)
    shares = opened(product, products)
    for context, members in ((CEREMONY, MEMBERS[:2]), (b"another", MEMBERS)):
        with pytest.raises(EvaluationKeyRejected):
            check_key(PROFILE, products, shares, context=context, members=members)
    swapped = [shares[0], shares[1], shares[2], product.shares(products[3], "product-sum")]
    with pytest.raises(WrongCircuit):
        check_key(PROFILE, products, swapped, context=CEREMONY, members=MEMBERS)
    for count in (3, 5):
        with pytest.raises(BadForm):
            check_key(
                PROFILE,
                (products * 2)[:count],
                (shares * 2)[:count],
                context=CEREMONY,
                members=MEMBERS,
            )
    with pytest.raises(BadForm):
        dummy_products(PROFILE, product.relin_key, sums[:-1])


def test_a_share_that_adds_to_the_value_or_the_noise_is_refused(
    product: ProductAlliance, sums: list[bytes]
) -> None:
    parameters = profile(PROFILE)
    products = dummy_products(PROFILE, product.relin_key, sums)
    shares = opened(product, products)
    for added in (parameters.data_modulus // parameters.plain_modulus, 1 << 215):
        lie = DecryptionShare.parse(parameters, shares[1][0])
        for row, prime in enumerate(parameters.data_primes):
            lie.value[0, row, 0] = (int(lie.value[0, row, 0]) + added) % prime
        wrong = [shares[0], [lie.to_bytes(parameters), shares[1][1]], *shares[2:]]
        with pytest.raises(EvaluationKeyRejected):
            check_key(PROFILE, products, wrong, context=CEREMONY, members=MEMBERS)


def test_a_test_opens_no_slots_and_sixteen_coefficients_only(
    product: ProductAlliance, sums: list[bytes]
) -> None:
    (first, *_) = dummy_products(PROFILE, product.relin_key, sums)
    shares = product.shares(first, CHECK_CIRCUIT)
    with pytest.raises(UnknownCircuit):
        decryption.combine(PROFILE, first, shares, 1, circuit=CHECK_CIRCUIT)
    row = circuit(CHECK_CIRCUIT, profile(PROFILE))
    phase = decryption.combined_phase(product.ring, first, shares, row)
    found = leading_coefficients(product.ring, phase, 1000)
    passing = [row.passes(residual) for _, residual in found]
    assert all(passing[: noise.TEST_COEFFICIENTS])
    assert not any(passing[noise.TEST_COEFFICIENTS :])


def test_errors_of_two_members_are_independent(product: ProductAlliance) -> None:
    ring = product.ring
    tag = b"cipherward/threshold/v1/relinearisation-error-first"
    first, second = (errors(ring, tag, one, b"h0") for one in product.secrets[:2])
    assert (first != second).mean() > 0.99
