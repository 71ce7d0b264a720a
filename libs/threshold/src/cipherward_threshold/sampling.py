"""Deterministic sampling: every secret value follows from a 32-byte seed and its context.

A crash, a restart or a restored backup recomputes the same bytes, so a party never gives two
different noisy answers to one question. Operating-system randomness is used for seeds only, and
by the caller. SHAKE-256 is the generator: `H(lengths and parts, counter)`, one call a block.

Not constant time: numpy and rejection loops depend on the values. See the README.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cipherward_threshold.errors import BadSeed
from cipherward_threshold.parameters import CBD_BOUND

Residues = NDArray[np.uint64]  # [..., primes, n], each below its prime
Signed = NDArray[np.int64]  # [k, n], small integers

SEED_BYTES = 32
LIMB_BITS = 40  # of integers wider than a word: one limb leaves int64 room for sums
FLOODING_LIMB_BITS = 58  # drawn, never summed: below every data prime, so nothing is reduced
TOP_LIMB_BITS_MAX = 60  # the most significant limb must stay a small signed word
SPARE_WORDS = 64  # drawn above n, so that the rare rejection seldom costs a second block


def framed(*parts: bytes) -> bytes:
    """Return the parts, each behind its length (8 bytes little endian): injective."""
    return b"".join(len(part).to_bytes(8, "little") + part for part in parts)


def checked_seed(seed: bytes) -> bytes:
    """Return `seed`, or raise `BadSeed` unless it has 32 bytes."""
    if len(seed) != SEED_BYTES:
        raise BadSeed(f"a secret seed has {SEED_BYTES} bytes", have=len(seed), need=SEED_BYTES)
    return seed


class Stream:
    """A pseudo-random stream that depends on a tag, a seed and a context, and nothing else.

    Args:
        tag: one of `domains`.
        seed: 32 secret bytes, or a public digest for public polynomials.
        context: whatever the values must depend on; each part is length-prefixed.
    """

    __slots__ = ("_block", "_root")

    def __init__(self, tag: bytes, seed: bytes, *context: bytes) -> None:
        self._root = hashlib.shake_256(framed(tag, seed, *context))
        self._block = 0

    def read(self, count: int) -> bytes:
        """Return the next block, `count` bytes long."""
        block = self._root.copy()
        block.update(self._block.to_bytes(8, "little"))
        self._block += 1
        return block.digest(count)

    def words(self, count: int) -> NDArray[np.uint64]:
        """Return `count` uniform 64-bit words."""
        return np.frombuffer(self.read(8 * count), dtype="<u8").astype(np.uint64, copy=False)


def uniform(stream: Stream, primes: Sequence[int], degree: int) -> Residues:
    """Return one polynomial [primes, n], uniform modulo every prime (rejection, no bias)."""
    out = np.empty((len(primes), degree), dtype=np.uint64)
    for row, prime in enumerate(primes):
        mask = np.uint64((1 << prime.bit_length()) - 1)
        accepted = np.empty(0, dtype=np.uint64)
        while accepted.size < degree:
            words = stream.words(degree + SPARE_WORDS) & mask
            accepted = np.concatenate([accepted, words[words < np.uint64(prime)]])
        out[row] = accepted[:degree]
    return out


def centred_binomial(stream: Stream, count: int, degree: int) -> Signed:
    """Return errors [count, n]: the difference of two sums of 21 bits, sigma 3.24, as SEAL's."""
    words = stream.words(count * degree).reshape(count, degree)
    mask = np.uint64((1 << CBD_BOUND) - 1)
    first = np.bitwise_count(words & mask).astype(np.int64)
    second = np.bitwise_count((words >> np.uint64(CBD_BOUND)) & mask).astype(np.int64)
    return first - second


def ternary(stream: Stream, degree: int) -> Signed:
    """Return one polynomial [1, n] with coefficients uniform on {-1, 0, 1}."""
    accepted = np.empty(0, dtype=np.uint8)
    while accepted.size < degree:
        pairs = np.frombuffer(stream.read(2 * degree), dtype=np.uint8) & np.uint8(3)
        accepted = np.concatenate([accepted, pairs[pairs < 3]])
    return (accepted[:degree].astype(np.int64) - 1).reshape(1, degree)


def flooding_limbs(stream: Stream, bits: int, degree: int) -> list[Signed]:
    """Return limbs, most significant first, of integers uniform on [-2^bits, 2^bits).

    The integer is the Horner sum of the limbs in 2^FLOODING_LIMB_BITS: exactly uniform, no
    rounding. The first limb [1, n] is signed, the others are on [0, 2^FLOODING_LIMB_BITS).

    Args:
        bits: at least 1.
    """
    width = bits + 1
    low = 0 if width <= TOP_LIMB_BITS_MAX else -(-(width - TOP_LIMB_BITS_MAX) // FLOODING_LIMB_BITS)
    top = width - FLOODING_LIMB_BITS * low
    limbs = [_bits(stream, top, degree) - np.int64(1 << (top - 1))]
    limbs.extend(_bits(stream, FLOODING_LIMB_BITS, degree) for _ in range(low))
    return limbs


def _bits(stream: Stream, width: int, degree: int) -> Signed:
    words = stream.words(degree) & np.uint64((1 << width) - 1)
    return words.astype(np.int64).reshape(1, degree)
