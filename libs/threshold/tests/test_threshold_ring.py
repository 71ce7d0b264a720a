"""Ring arithmetic and sampling against Python's integers, through both ways into SEAL."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cipherward_threshold.circuits import circuit
from cipherward_threshold.errors import BadSeed, UnknownProfile
from cipherward_threshold.parameters import CBD_BOUND, profile, profile_names
from cipherward_threshold.ring import Ring
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import (
    FLOODING_LIMB_BITS,
    Residues,
    Stream,
    centred_binomial,
    checked_seed,
    flooding_limbs,
    framed,
    ternary,
    uniform,
)
from cipherward_threshold.sealapi import seal

if TYPE_CHECKING:
    from conftest import BigIntegers

TAG = b"test"
SEED = bytes(range(32))


def random_polynomials(ring: Ring, count: int, primes: int, label: bytes) -> Residues:
    stream = Stream(TAG, SEED, label)
    moduli = ring.profile.key_primes[:primes]
    return np.stack([uniform(stream, moduli, ring.profile.degree) for _ in range(count)])


@pytest.mark.usefixtures("either_transport")
@pytest.mark.parametrize("primes", [3, 4])
def test_products_residue_by_residue_equal_integer_arithmetic(ring: Ring, primes: int) -> None:
    first = random_polynomials(ring, 17, primes, b"first")  # 17: more than one batch for SEAL
    second = random_polynomials(ring, 1, primes, b"second")[0]
    product = ring.multiply(first, second)
    for row, prime in enumerate(ring.profile.key_primes[:primes]):
        expected = first[:, row].astype(object) * second[row].astype(object) % prime
        assert (product[:, row].astype(object) == expected).all()


@pytest.mark.slow
@pytest.mark.usefixtures("either_transport")
def test_products_of_polynomials_equal_integer_convolution(ring: Ring, big: BigIntegers) -> None:
    first = random_polynomials(ring, 1, 3, b"left")
    small = ternary(Stream(TAG, SEED), ring.profile.degree)
    product = ring.intt(ring.multiply(ring.ntt(first), ring.ntt(ring.from_signed(small, 3))[0]))
    modulus = ring.profile.data_modulus
    expected = big.product(big.lift(first[0]), [int(x) for x in small[0]])
    assert big.lift(product[0]) == [big.centred(x, modulus) for x in expected]


@pytest.mark.usefixtures("either_transport")
def test_transforms_undo_each_other_and_take_zero(ring: Ring) -> None:
    values = random_polynomials(ring, 3, 4, b"transform")
    assert (ring.intt(ring.ntt(values)) == values).all()
    assert not ring.ntt(np.zeros_like(values)).any()
    assert not ring.multiply(np.zeros_like(values), values[0]).any()
    assert not ring.multiply(values, np.zeros_like(values[0])).any()


def test_sums_and_differences_stay_below_every_prime(ring: Ring) -> None:
    primes = np.array(ring.profile.key_primes, dtype=np.uint64)[:, None]
    first = random_polynomials(ring, 2, 4, b"sum")
    largest = np.broadcast_to(primes - np.uint64(1), first.shape)
    for left, right in ((first, largest), (largest, largest), (first, np.zeros_like(first))):
        moduli = primes.astype(object)
        total = (left.astype(object) + right.astype(object)) % moduli
        difference = (left.astype(object) - right.astype(object)) % moduli
        assert (ring.add(left, right).astype(object) == total).all()
        assert (ring.subtract(left, right).astype(object) == difference).all()
    assert not ring.add(first, ring.negate(first)).any()


def test_flooding_is_the_integer_that_its_limbs_say(ring: Ring, big: BigIntegers) -> None:
    bits, degree = circuit("sum", ring.profile).flooding_bits, ring.profile.degree
    limbs = flooding_limbs(Stream(TAG, SEED), bits, degree)
    values = [0] * degree
    for limb in limbs:
        values = [(v << FLOODING_LIMB_BITS) + int(x) for v, x in zip(values, limb[0], strict=True)]
    assert big.lift(ring.flooding_coefficients(Stream(TAG, SEED), bits)[0]) == values
    assert all(-(1 << bits) <= value < 1 << bits for value in values)


@pytest.mark.parametrize("bits", [1, 30, 59, 60, 61, 99, 100, 117])
def test_flooding_fills_its_whole_range_evenly(ring: Ring, bits: int) -> None:
    degree = ring.profile.degree
    values = [0.0] * degree
    for limb in flooding_limbs(Stream(TAG, SEED, bytes([bits])), bits, degree):
        values = [
            v * 2.0**FLOODING_LIMB_BITS + float(x) for v, x in zip(values, limb[0], strict=True)
        ]
    scaled = np.array(values) / 2.0**bits
    # Uniform on [-1, 1): mean 0, variance 1/3; eight standard errors of 8192 draws. With one or
    # two bits the grid is coarse, so its own mean, -2^-(bits+1), and its edges are allowed for.
    coarse = 2.0 ** -(bits + 1)
    assert abs(scaled.mean() + coarse) < 8 * math.sqrt(1 / 3 / degree)
    assert -1 <= scaled.min() < -0.49
    assert 0.49 < scaled.max() <= 1


def test_errors_are_centred_binomial_and_secrets_ternary(ring: Ring) -> None:
    degree = ring.profile.degree
    errors = centred_binomial(Stream(TAG, SEED), 8, degree)
    draws = errors.size
    assert errors.shape == (8, degree)
    assert np.abs(errors).max() <= CBD_BOUND
    # variance 10.5; the variance of a sample variance is about 2 * 10.5^2 / draws
    assert abs(errors.var() - 10.5) < 8 * math.sqrt(2 * 10.5**2 / draws)
    assert abs(errors.mean()) < 8 * math.sqrt(10.5 / draws)
    secret = ternary(Stream(TAG, SEED), degree)
    counts = [int((secret == value).sum()) for value in (-1, 0, 1)]
    assert sum(counts) == degree
    assert all(abs(count - degree / 3) < 8 * math.sqrt(degree * 2 / 9) for count in counts)


def test_uniform_residues_are_below_their_primes_and_spread(ring: Ring) -> None:
    primes = ring.profile.key_primes
    values = uniform(Stream(TAG, SEED), primes, ring.profile.degree)
    for row, prime in zip(values, primes, strict=True):
        assert int(row.max()) < prime
        mean = float((row / np.float64(prime)).mean())
        assert abs(mean - 0.5) < 8 * math.sqrt(1 / 12 / ring.profile.degree)


def test_a_stream_is_decided_by_tag_seed_and_every_part_of_its_context() -> None:
    first = Stream(TAG, SEED, b"ab", b"c").read(64)
    assert Stream(TAG, SEED, b"ab", b"c").read(64) == first
    others = [
        Stream(TAG, SEED, b"a", b"bc"),
        Stream(TAG, SEED, b"ab", b"c", b""),
        Stream(TAG, SEED[::-1], b"ab", b"c"),
        Stream(b"tes", b"t" + SEED, b"ab", b"c"),
    ]
    assert first not in [other.read(64) for other in others]
    stream = Stream(TAG, SEED)
    assert stream.read(64) != stream.read(64)


def test_framing_is_injective_where_concatenation_is_not() -> None:
    assert framed(b"a", b"b") != framed(b"ab", b"") != framed(b"", b"ab")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_seed_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(BadSeed):
        checked_seed(bytes(length))


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(UnknownProfile):
        profile_ring("additive-0")


def test_a_profile_has_one_ring_per_process(ring: Ring) -> None:
    assert profile_ring("additive-1") is ring


# log2(QP) for 128 bits and a ternary secret: the Homomorphic Encryption Standard's table (2018), as
# SEAL enforces it, and the stricter guidelines of eprint 2024/463.
STANDARD, STRICTER = {8192: 218, 16384: 438}, {8192: 214, 16384: 430}


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_has_128_bits_by_both_tables_counting_the_special_prime(name: str) -> None:
    row = profile(name)
    size = math.log2(row.data_modulus * row.special_prime)
    bits = sum(prime.bit_length() for prime in row.key_primes)
    assert size <= bits <= STRICTER[row.degree] < STANDARD[row.degree]
    level = seal.SEC_LEVEL_TYPE.TC128
    assert seal.CoeffModulus.MaxBitCount(row.degree, level) == STANDARD[row.degree]


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_keeps_what_its_comments_promise(name: str) -> None:
    row = profile(name)
    assert len(set(row.key_primes)) == len(row.key_primes)
    for prime in (*row.key_primes, row.plain_modulus):
        assert prime % (2 * row.degree) == 1
        assert all(pow(base, prime - 1, prime) == 1 for base in (2, 3, 5, 7, 11))
    larger = row.plain_modulus + 2 * row.degree
    while larger.bit_length() == 58:  # it is the largest such prime
        assert any(pow(base, larger - 1, larger) != 1 for base in (2, 3, 5, 7, 11))
        larger += 2 * row.degree
