"""Circuits that open the constant coefficient alone: right, and nothing else is to be read."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cipherward_threshold import decryption
from cipherward_threshold.batching import plaintext_coefficients
from cipherward_threshold.circuits import circuit
from cipherward_threshold.errors import ResultIsNoise, TooManySlots
from cipherward_threshold.messages import Ciphertext, DecryptionShare, Switched
from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import Residues
from cipherward_threshold.switching import RequesterKey, combine_switched, switch_share

if TYPE_CHECKING:
    from conftest import ProductAlliance

PROFILE, CIRCUIT = "product-1", "product-sum"
REQUESTER = RequesterKey.generate(PROFILE, b"r" * 32)
pytestmark = pytest.mark.slow


def numbers(seed: int, size: int, most: int) -> list[int]:
    drawn = np.random.default_rng(seed).integers(-most, most, size, endpoint=True)
    return [int(x) for x in drawn]


@pytest.mark.parametrize("size", [1, 5, 16380])
def test_n_times_the_constant_coefficient_is_the_sum_of_all_slots(
    product_ring: Ring, size: int
) -> None:
    profile = product_ring.profile
    for seed, most in enumerate((1, 1000, profile.message_bound)):
        slots = numbers(seed, size, most)
        constant = int(plaintext_coefficients(product_ring, slots)[0])
        assert (profile.degree * constant - sum(slots)) % profile.plain_modulus == 0


def test_the_sum_of_products_over_all_slots_is_released_exactly(product: ProductAlliance) -> None:
    first, second = numbers(1, 16380, 30_000), numbers(2, 16380, 30_000)
    made = product.evaluator.multiply(product.encrypt(first), product.encrypt(second))
    expected = sum(x * y for x, y in zip(first, second, strict=True))
    assert product.decrypt(made, CIRCUIT, 1) == [expected]


def switched(product: ProductAlliance, ciphertext: bytes) -> bytes:
    shares = [
        switch_share(
            PROFILE,
            product.key_shares[point],
            ciphertext,
            requester_public_key=REQUESTER.public_key(),
            point=point,
            online=(1, 3),
            seed=bytes([point]) * 32,
            context=b"order",
            circuit=CIRCUIT,
        )
        for point in (1, 3)
    ]
    return combine_switched(PROFILE, ciphertext, shares, circuit=CIRCUIT)


def test_the_requester_alone_reads_the_sum(product: ProductAlliance) -> None:
    made = product.evaluator.multiply(product.encrypt([7, -8, 9]), product.encrypt([2, 3, 4]))
    result = switched(product, made)
    assert REQUESTER.decrypt(result, 1, bound=26) == [14 - 24 + 36]
    with pytest.raises(TooManySlots):
        REQUESTER.decrypt(result, 2)
    stranger = RequesterKey.generate(PROFILE, b"s" * 32)
    profile = product.ring.profile
    parsed = Switched.parse(profile, result)
    claimed = replace(parsed, requester=stranger.fingerprint()).to_bytes(profile)
    with pytest.raises(ResultIsNoise):
        stranger.decrypt(claimed, 1)


def surprise(product: ProductAlliance, polynomial: Residues) -> float:
    """Return how far coefficients 1..n-1 are from uniform modulo Q: (chi^2 - degrees) / deviation.

    The lifted coefficients, in 64 bins: small ones look uniform modulo each prime alone.
    """
    bins, modulus = 64, product.ring.profile.data_modulus
    lifted = product.phases.lifted(polynomial)[1:]
    counts = np.bincount([x * bins // modulus for x in lifted], minlength=bins)
    expected = len(lifted) / bins
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return abs(statistic - (bins - 1)) / math.sqrt(2 * (bins - 1))


@pytest.mark.parametrize("value", [0, 1, 10**6])
def test_every_other_coefficient_is_uniform_whatever_the_plaintext(
    product: ProductAlliance, value: int
) -> None:
    """Seen by whoever holds all shares, and by the requester behind its own key."""
    ring = product.ring
    ones = product.encrypt([1] * 16380)
    made = product.evaluator.multiply(product.encrypt([value] * 8190), ones)
    shares = product.shares(made, CIRCUIT)
    phase = decryption.combined_phase(ring, made, shares, circuit(CIRCUIT, ring.profile))
    assert surprise(product, phase[0]) < 6
    # All but one guardian collude and take their shares off what they see: one mask is enough.
    own = DecryptionShare.parse(ring.profile, shares[0]).value
    assert surprise(product, ring.subtract(phase, own)[0]) < 6
    # The control: a circuit that opens all slots shows them.
    opening = circuit("masked-linear", ring.profile)
    shown = decryption.combined_phase(ring, made, product.shares(made, opening.name), opening)
    if value == 0:
        assert surprise(product, shown[0]) > 1000


def test_two_plaintexts_of_one_sum_look_the_same_to_the_requester(
    product: ProductAlliance,
) -> None:
    ones = product.encrypt([1] * 16380)
    seen: list[Residues] = []
    for slots in ([10, 0, 0, 0], [1, 2, 3, 4]):
        made = product.evaluator.multiply(product.encrypt(slots), ones)
        shares = product.shares(made, CIRCUIT)
        row = circuit(CIRCUIT, product.ring.profile)
        phase = decryption.combined_phase(product.ring, made, shares, row)
        assert decryption.opened(product.ring, phase, row, 1, None) == [10]
        seen.append(phase)
    difference = product.ring.subtract(seen[0], seen[1])
    assert surprise(product, difference[0]) < 6


def test_a_wrong_share_is_noise_and_a_value_beyond_the_plan_is_refused(
    product: ProductAlliance,
) -> None:
    profile = product.ring.profile
    made = product.evaluator.multiply(product.encrypt([100]), product.encrypt([100]))
    shares = product.shares(made, CIRCUIT)
    right = decryption.combine(PROFILE, made, shares, 1, circuit=CIRCUIT, bound=10_000)
    assert right == [10_000]
    with pytest.raises(ResultIsNoise):
        decryption.combine(PROFILE, made, shares, 1, circuit=CIRCUIT, bound=9_999)
    parsed = DecryptionShare.parse(profile, shares[0])
    parsed.value[0, :, 0] = np.array(profile.data_primes, dtype=np.uint64) // np.uint64(3)
    with pytest.raises(ResultIsNoise):
        decryption.combine(PROFILE, made, [parsed.to_bytes(profile), shares[1]], 1, circuit=CIRCUIT)
    with pytest.raises(TooManySlots):
        decryption.combine(PROFILE, made, shares, 2, circuit=CIRCUIT)


def test_a_share_is_the_same_again_and_hides_by_its_own_seed(product: ProductAlliance) -> None:
    profile = product.ring.profile
    ciphertext = product.encrypt([1])
    assert product.share(1, ciphertext, CIRCUIT) == product.share(1, ciphertext, CIRCUIT)
    other = decryption.partial_decryption(
        PROFILE,
        product.key_shares[1],
        ciphertext,
        point=1,
        online=(1, 3),
        seed=b"o" * 32,
        context=b"order",
        circuit=CIRCUIT,
    )
    values = [
        DecryptionShare.parse(profile, one).value
        for one in (product.share(1, ciphertext, CIRCUIT), other)
    ]
    assert (values[0] != values[1]).mean() > 0.99
    assert Ciphertext.parse(profile, ciphertext).polynomials.shape == (2, 6, 16384)
