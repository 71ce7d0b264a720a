"""Sizes of proofs, what they permit, and that answers look the same whatever is hidden."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cipherward_threshold.errors import ProofAborted
from cipherward_threshold.parameters import profile, profile_names
from cipherward_threshold.proofs import proving
from cipherward_threshold.proofs.bounds import (
    BATCH_MAX,
    Shape,
    Width,
    encryption_shape,
    key_share_shape,
    permitted_noise_bits,
    zero_shape,
)
from cipherward_threshold.proofs.ciphertexts import BatchForm, Content
from cipherward_threshold.proofs.integers import (
    ONE_LIMB_BITS_MAX,
    add_rotated,
    inside,
    mask,
    residues,
    rotatable,
)
from cipherward_threshold.proofs.packing import packed, unpacked
from cipherward_threshold.proofs.relation import Witness
from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import Stream

if TYPE_CHECKING:
    from conftest import Alliance, BigIntegers

PROFILE = "additive-1"
SHAPES = [
    shape
    for name in profile_names()
    for shape in (
        *(encryption_shape(profile(name), batch) for batch in range(1, BATCH_MAX + 1)),
        zero_shape(profile(name), 1),
        zero_shape(profile(name), BATCH_MAX),
        key_share_shape(profile(name)),
    )
]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_sound_and_mostly_accepted(shape: Shape) -> None:
    challenges = math.log2(2 * shape.degree)
    assert shape.repetitions * challenges >= 128
    assert shape.acceptance > 0.7
    assert (1 - shape.acceptance) ** proving.TRIES_MAX < 2**-200
    # An answer, and the sums within, stay far inside of int64 in each limb.
    assert all(width.bits <= ONE_LIMB_BITS_MAX + 40 for width in shape.widths)


@pytest.mark.parametrize("apart", [1, 2, 3, 6, 64, 4711, 8191, 8192, 12288, 16383])
def test_twice_the_inverse_of_a_challenge_difference_is_small(apart: int) -> None:
    """2 / (1 - X^k) is a sum of n / g powers of X, g the power of two in k (Benhamouda et al.,
    ASIACRYPT 2014, lemma 3.1): what the permitted bound, 2n times a mask's, comes from."""
    n = profile(PROFILE).degree
    terms = n // min(apart & -apart, n)
    inverse = np.zeros(n, dtype=np.int64)
    for power in range(terms):
        turns, place = divmod(power * apart, n)
        inverse[place] += -1 if turns % 2 else 1
    assert set(np.unique(inverse)) <= {-1, 0, 1}
    one_turn = np.concatenate([inverse, -inverse, inverse])
    shifted = one_turn[(-apart) % (2 * n) :][:n]
    product = inverse - shifted
    assert product[0] == 2
    assert not product[1:].any()


@pytest.mark.parametrize("name", profile_names())
def test_message_and_noise_together_fit_a_word(name: str) -> None:
    """E = t e0 - r is kept in int64."""
    (_, wide, _) = encryption_shape(profile(name), 1).widths
    assert wide.bound < 2**63


def test_sizes_and_noise_are_those_that_the_profile_was_chosen_for() -> None:
    """n = 8192, t of 58 bits: 10 repetitions; figures computed once by hand from the formulas."""
    row = profile(PROFILE)
    one, eight = encryption_shape(row, 1), encryption_shape(row, BATCH_MAX)
    assert one.repetitions == 10
    assert [width.bits for width in one.widths] == [20, 82, 24]
    assert [width.bits for width in eight.widths] == [23, 85, 27]
    assert eight.response_bytes == 1_413_120
    alone = permitted_noise_bits(row, 1, guardians=1, contributors=1)
    assert alone.secret_part_bits == pytest.approx(47.9, abs=0.05)
    assert alone.secret_part_worst_bits == pytest.approx(52.2, abs=0.05)
    most = permitted_noise_bits(row, BATCH_MAX, guardians=1, contributors=1)
    assert most.secret_part_bits == pytest.approx(50.9, abs=0.05)
    assert most.secret_part_worst_bits == pytest.approx(55.2, abs=0.05)


def test_more_dealers_add_as_a_random_walk_and_contributors_in_full() -> None:
    row = profile(PROFILE)
    base = permitted_noise_bits(row, BATCH_MAX, guardians=1, contributors=1)
    dealers = permitted_noise_bits(row, BATCH_MAX, guardians=16, contributors=1)
    contributors = permitted_noise_bits(row, BATCH_MAX, guardians=1, contributors=16)
    assert dealers.secret_part_bits - base.secret_part_bits == pytest.approx(2, abs=0.01)
    assert contributors.secret_part_bits - base.secret_part_bits == pytest.approx(4, abs=0.01)
    assert dealers.secret_part_worst_bits - base.secret_part_worst_bits == pytest.approx(4)
    for noise in (base, dealers, contributors):
        assert noise.secret_part_bits < noise.secret_part_worst_bits <= noise.whole_bits


def test_a_malicious_dealer_counts_where_it_reads_more_than_its_honest_place_would() -> None:
    """With small batches e_pk' u of a malicious dealer is the larger half of what may leak."""
    row = profile(PROFILE)
    one = permitted_noise_bits(row, 1, guardians=1, contributors=1)
    ten = permitted_noise_bits(row, 1, guardians=10, contributors=1)
    assert ten.secret_part_bits > one.secret_part_bits + math.log2(10) / 2 + 1


@pytest.mark.parametrize("bits", [20, 27, 58, 59, 85])
def test_masks_are_uniform_and_packing_is_exact(ring: Ring, big: BigIntegers, bits: int) -> None:
    width = Width(1 << 5, bits)
    shape = Shape(ring.profile.degree, 8, 1, width, ())
    values = mask(Stream(b"sizes", bytes(32)), width, shape)
    octets = packed(values, width)
    assert len(octets) == shape.response_bytes
    (again,) = unpacked(octets, shape)
    assert all(np.array_equal(x, y) for x, y in zip(values, again, strict=True))
    whole = [int(x) for x in values[0].ravel()]
    if len(values) == 2:
        whole = [(x << 40) + int(low) for x, low in zip(whole, values[1].ravel(), strict=True)]
    assert all(-(1 << bits) <= x < 1 << bits for x in whole)
    scaled = np.array([x / 2**bits for x in whole])
    assert abs(scaled.mean()) < 6 * math.sqrt(1 / 3 / scaled.size)
    assert abs((scaled**2).mean() - 1 / 3) < 0.01
    lifted = big.lift(residues(ring, values, len(ring.profile.data_primes))[0])
    assert lifted == whole[: ring.profile.degree]


@pytest.mark.parametrize("bits", [27, 85])
def test_the_edges_of_the_accepted_range_are_exact(ring: Ring, bits: int) -> None:
    width = Width(21, bits)
    shape = Shape(ring.profile.degree, 8, 1, width, ())

    def accepted(value: int) -> bool:
        limbs = (value,) if bits <= ONE_LIMB_BITS_MAX else (value >> 40, value & ((1 << 40) - 1))
        arrays = tuple(np.zeros((8, shape.degree), dtype=np.int64) for _ in limbs)
        for array, limb in zip(arrays, limbs, strict=True):
            array[3, 77] = limb
        return inside(arrays, width)

    assert [accepted(width.low + by) for by in (-1, 0, 1)] == [False, True, True]
    assert [accepted(width.high + by) for by in (-2, -1, 0)] == [True, True, False]
    assert not accepted(width.low - (1 << 39))
    assert not accepted(width.high + (1 << 39))


@pytest.mark.parametrize("exponent", [0, 1, 4711, 8191, 8192, 8193, 16383])
def test_a_monomial_times_a_wide_polynomial_is_exact(ring: Ring, exponent: int) -> None:
    n = ring.profile.degree
    width = encryption_shape(ring.profile, 1).errors[0]
    values = np.random.default_rng(1).integers(-(2**62), 2**62, (1, n))
    zeros = tuple(np.zeros((1, n), dtype=np.int64) for _ in range(2))
    high, low = add_rotated(zeros, rotatable(values, width), [[exponent]])
    found = [(int(x) << 40) + int(y) for x, y in zip(high[0], low[0], strict=True)]
    expected = [0] * n
    for place, value in enumerate(values[0].tolist()):
        turns, where = divmod(place + exponent, n)
        expected[where] = -value if turns % 2 else value
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize("sign", [0, 1, -1])
def test_answers_are_uniform_on_the_same_range_whatever_is_hidden(
    ring: Ring, alliance: Alliance, sign: int
) -> None:
    """The largest witness, its opposite and none at all: the published answers look alike."""
    form = BatchForm.of(ring, alliance.public_key, Content.ZEROS, 1)
    shape = form.relation.shape
    ones = sign * np.ones((1, ring.profile.degree), dtype=np.int64)
    witness = Witness(ones, (21 * ones, -21 * ones))
    statement = form.statement(form.encrypted(witness), b"uniform")
    proof = proving.prove(statement, witness, b"u" * 32)
    for values, width in zip(unpacked(proof[32:], shape), shape.widths, strict=True):
        (answers,) = values
        half = 2**width.bits - width.bound
        scaled = answers.ravel() / half
        assert abs(scaled.mean()) < 5 * math.sqrt(1 / 3 / scaled.size)
        # A witness that showed would move the mean by bound / 2^bits, and the ends too.
        assert answers.min() >= width.low
        assert answers.max() < width.high
        counts, _ = np.histogram(scaled, bins=64, range=(-1, 1))
        expected = scaled.size / 64
        assert float(((counts - expected) ** 2 / expected).sum()) < 63 + 6 * math.sqrt(2 * 63)


def test_a_broken_source_of_masks_ends_the_tries(
    ring: Ring, alliance: Alliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masks at the end of their range abort every try: no endless loop, and nothing published."""
    form = BatchForm.of(ring, alliance.public_key, Content.ZEROS, 1)
    ones = np.ones((1, ring.profile.degree), dtype=np.int64)
    witness = Witness(ones, (ones, ones))
    statement = form.statement(form.encrypted(witness), b"broken")

    def stuck(_stream: Stream, width: Width, shape: Shape) -> tuple[np.ndarray]:
        full = (1 << width.bits) - 1
        return (np.full((shape.repetitions, shape.degree), full, dtype=np.int64),)

    monkeypatch.setattr(proving, "mask", stuck)
    monkeypatch.setattr(proving, "TRIES_MAX", 3)
    with pytest.raises(ProofAborted):
        proving.prove(statement, witness, bytes(32))
