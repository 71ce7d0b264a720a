"""What must hold of the installed SEAL before a ring is used, checked each time one is built."""

from __future__ import annotations

import numpy as np

from cipherward_threshold.errors import SelfTestFailed
from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import Residues
from cipherward_threshold.transport import ByteTransport, ViewTransport, view

_PATTERN_STEP = 0x9E3779B97F4A7C15  # odd, so that neighbouring words differ in all their bytes


def selftest(ring: Ring) -> None:
    """Check layouts and arithmetic, and give the ring the fastest transport that is right.

    Raises:
        SelfTestFailed: SEAL's serialised form or its arithmetic is not what this library knows.
            A failing zero-copy view is no error: the ring then works through bytes.
    """
    ring.transport = ByteTransport(ring.form)
    _check_layout(ring)
    _check_arithmetic(ring)
    if view_holds(ring):
        ring.transport = ViewTransport(ring.form)
        _check_arithmetic(ring)


def view_holds(ring: Ring) -> bool:
    """Return whether SEAL's memory is where the zero-copy view expects it."""
    pattern = _pattern(ring, 2)
    ciphertext = ring.form.ciphertext(pattern, ring.parms_id(pattern.shape[1]), ntt=True)
    try:
        inside = view(ciphertext)
    except SelfTestFailed:
        return False
    if not np.array_equal(inside, pattern):
        return False
    changed = inside[::-1].copy()
    inside[:] = changed
    return np.array_equal(ByteTransport(ring.form).read(ciphertext), changed)


def _check_layout(ring: Ring) -> None:
    """A pattern written in our layout must be what SEAL reads, and what SEAL writes back."""
    pattern = _pattern(ring, 2)
    ciphertext = ring.form.ciphertext(pattern, ring.parms_id(pattern.shape[1]), ntt=True)
    middle = pattern.size // 2 + 1
    read_by_seal = ciphertext[middle] == int(pattern.flat[middle])
    if not read_by_seal or not np.array_equal(ring.transport.read(ciphertext), pattern):
        raise SelfTestFailed("SEAL reads another ciphertext than was written")


def _check_arithmetic(ring: Ring) -> None:
    """X^(n-1) times X must be -1: transforms, product, and X^n = -1 in one sum."""
    degree, primes = ring.profile.degree, len(ring.profile.key_primes)
    monomials = np.zeros((2, degree), dtype=np.int64)
    monomials[0, degree - 1] = monomials[1, 1] = 1
    first, second = ring.ntt(ring.from_signed(monomials, primes))
    product = ring.intt(ring.multiply(first[None], second))
    expected = np.zeros((1, degree), dtype=np.int64)
    expected[0, 0] = -1
    if not np.array_equal(product, ring.from_signed(expected, primes)):
        raise SelfTestFailed("SEAL's transforms do not multiply polynomials")


def _pattern(ring: Ring, count: int) -> Residues:
    """Return valid residues, all different, at key level."""
    primes = np.array(ring.profile.key_primes, dtype=np.uint64)[:, None]
    size = count * len(primes) * ring.profile.degree
    words = np.arange(1, size + 1, dtype=np.uint64) * np.uint64(_PATTERN_STEP)
    return words.reshape(count, len(primes), ring.profile.degree) % primes
