"""What is known of a shared polynomial from its values at the receivers' points."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import Residues
from cipherward_threshold.shamir import lagrange


def misfits(ring: Ring, values: Mapping[int, Residues], threshold: int) -> set[int]:
    """Return the rows whose values lie on no polynomial of degree below `threshold`.

    Args:
        values: [rows, 3, n] by point, NTT form, at least `threshold` points.
    """
    points = sorted(values)
    first = points[:threshold]
    wrong: set[int] = set()
    for point in points[threshold:]:
        expected = value_at(ring, {known: values[known] for known in first}, point)
        differ = (expected != values[point]).any(axis=(1, 2))
        wrong.update(np.flatnonzero(differ).tolist())
    return wrong


def value_at(ring: Ring, values: Mapping[int, Residues], at: int) -> Residues:
    """Return the value at `at` of the polynomials of least degree through `values`."""
    points = sorted(values)
    primes = ring.profile.data_primes
    return ring.sum(
        [
            ring.multiply(values[point], ring.constant(lagrange(primes, points, point, at=at)))
            for point in points
        ]
    )


def large(ring: Ring, polynomials: Residues, quotient_max: int) -> set[int]:
    """Return the rows that have a coefficient of size q * quotient_max or more, q the first prime.

    A number x is x_0 + q k with x_0 its residue modulo q. The integer k follows modulo every other
    prime; that all of them give the same small k is what makes x small.

    Args:
        polynomials: [rows, 3, n], NTT form, at least two primes.
        quotient_max: a power of two below 2^50, far below the primes.
    """
    primes = ring.profile.data_primes
    coefficients = ring.intt(polynomials)
    lowest = coefficients[:, :1] % np.array(primes, dtype=np.uint64)[:, None]
    inverse = ring.constant([0, *(pow(primes[0], -1, prime) for prime in primes[1:])])
    quotients = ring.multiply(ring.subtract(coefficients, lowest), inverse)[:, 1:]
    moduli = np.array(primes[1:], dtype=np.uint64)[:, None]
    centred = np.where(quotients > moduli // np.uint64(2), quotients - moduli, quotients).astype(
        np.int64
    )
    outside = (centred < -quotient_max) | (centred >= quotient_max)
    unequal = centred != centred[:, :1]
    return set(np.flatnonzero((outside | unequal).any(axis=(1, 2))).tolist())
