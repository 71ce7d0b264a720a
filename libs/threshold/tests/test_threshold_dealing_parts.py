"""What verified deals are made of: the challenge, and telling small polynomials from others."""

from __future__ import annotations

import numpy as np
import pytest

from cipherward_threshold import domains
from cipherward_threshold.dealing.challenge import WEIGHT, challenge_polynomial
from cipherward_threshold.dealing.polynomials import large
from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import Stream, uniform

CHALLENGE = b"c" * 32


def test_a_challenge_is_sparse_ternary_and_follows_from_its_digest(ring: Ring) -> None:
    level = len(ring.profile.data_primes)
    rho = challenge_polynomial(ring, CHALLENGE)
    coefficients = ring.intt(rho[None])[0]
    prime = ring.profile.data_primes[0]
    ones = coefficients[0] == 1
    minus = coefficients[0] == prime - 1
    assert int((ones | minus).sum()) == WEIGHT
    assert int((coefficients[0] != 0).sum()) == WEIGHT
    assert 10 < int(ones.sum()) < 54
    assert rho.shape == (level, ring.profile.degree)
    assert (challenge_polynomial(ring, CHALLENGE) == rho).all()
    assert (challenge_polynomial(ring, b"d" * 32) != rho).mean() > 0.99


@pytest.mark.parametrize(("size", "seen"), [(1 << 72, False), ((1 << 73) + (1 << 62), True)])
def test_large_polynomials_are_told_from_small_ones_of_either_sign(
    ring: Ring, size: int, seen: bool
) -> None:
    primes = ring.profile.data_primes
    rows = np.zeros((3, len(primes), ring.profile.degree), dtype=np.uint64)
    for row, number in enumerate((0, size, -size)):
        rows[row, :, 9] = [number % prime for prime in primes]
    assert large(ring, ring.ntt(rows), 1 << 13) == ({1, 2} if seen else set())


def test_random_polynomials_are_large(ring: Ring) -> None:
    profile = ring.profile
    stream = Stream(domains.DEAL_CHALLENGE, b"s" * 32)
    rows = np.stack([uniform(stream, profile.data_primes, profile.degree) for _ in range(2)])
    assert large(ring, rows, 1 << 13) == {0, 1}
