"""Polynomials with integer coefficients that may be wider than a word: masks, witnesses, answers.

A value is one or two limbs: arrays [k, n] of int64, the most significant first and signed, a lower
one in [0, 2^LIMB_BITS). Everything here is exact; nothing is reduced modulo anything until
`residues` maps a value into the ring.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from cipherward_threshold.proofs.bounds import Shape, Width
from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import LIMB_BITS, Residues, Signed, Stream

Limbs = tuple[Signed, ...]
Coefficients = TypeVar("Coefficients", Signed, Residues)

# Up to here a mask, and a batch's sum on top of it, are far from the ends of int64.
ONE_LIMB_BITS_MAX = 58
_LOW_MASK = np.int64((1 << LIMB_BITS) - 1)


def limb_bits(width: Width) -> tuple[int, ...]:
    """Return how many bits each limb of a mask takes, the sign included in the first."""
    bits = width.bits + 1
    return (bits,) if width.bits <= ONE_LIMB_BITS_MAX else (bits - LIMB_BITS, LIMB_BITS)


def mask(stream: Stream, width: Width, shape: Shape) -> Limbs:
    """Return `shape.repetitions` polynomials, uniform on [-2^bits, 2^bits) a coefficient."""
    first, *others = (
        _uniform_bits(stream, bits, shape.repetitions, shape.degree) for bits in limb_bits(width)
    )
    return (first - np.int64(1 << (limb_bits(width)[0] - 1)), *others)


def _uniform_bits(stream: Stream, bits: int, count: int, degree: int) -> Signed:
    """Return [count, degree] integers uniform on [0, 2^bits)."""
    width = (bits + 7) // 8
    octets = np.zeros((count * degree, 8), dtype=np.uint8)
    drawn = np.frombuffer(stream.read(count * degree * width), dtype=np.uint8)
    octets[:, :width] = drawn.reshape(-1, width)
    words = octets.view("<u8")[:, 0] & np.uint64((1 << bits) - 1)
    return words.astype(np.int64).reshape(count, degree)


def rotatable(polynomials: Signed, width: Width) -> Limbs:
    """Return polynomials [k, n] so that `add_rotated` finds every X^j a as one slice: [k, 3n].

    X^n = -1, so a, -a, a is one and a half periods of the sequence of coefficients.
    """
    period = np.concatenate([polynomials, -polynomials, polynomials], axis=-1)
    if len(limb_bits(width)) == 1:
        return (period,)
    return (period >> LIMB_BITS, period & _LOW_MASK)


def rotation(polynomials: Coefficients, exponent: int, degree: int) -> Coefficients:
    """Return X^exponent a as a view, a given as `rotatable` returns it; exponent in 0..2n - 1."""
    start = (-exponent) % (2 * degree)
    return polynomials[..., start : start + degree]


def add_rotated(masks: Limbs, witness: Limbs, exponents: Sequence[Sequence[int]]) -> Limbs:
    """Return mask_k + sum over l of X^exponents[k][l] witness_l, lower limbs carried out.

    Args:
        masks: as `mask` returns them; changed in place.
        witness: as `rotatable` returns it, one polynomial per ciphertext.
    """
    degree = masks[0].shape[-1]
    for masked, hidden in zip(masks, witness, strict=True):
        for repetition, row in enumerate(exponents):
            for polynomial, exponent in zip(hidden, row, strict=True):
                masked[repetition] += rotation(polynomial, exponent, degree)
    if len(masks) == 1:
        return masks
    high, low = masks
    return (high + (low >> LIMB_BITS), low & _LOW_MASK)


def inside(values: Limbs, width: Width) -> bool:
    """Return whether every coefficient is at least `width.low` and below `width.high`."""
    if len(values) == 1:
        return bool(values[0].min() >= width.low and values[0].max() < width.high)
    high, low = values
    floor, ceiling = (np.int64(edge >> LIMB_BITS) for edge in (width.low, width.high))
    floor_low, ceiling_low = (np.int64(edge) & _LOW_MASK for edge in _low_words(width))
    above = (high > floor) | ((high == floor) & (low >= floor_low))
    below = (high < ceiling) | ((high == ceiling) & (low < ceiling_low))
    return bool((above & below).all())


def _low_words(width: Width) -> tuple[int, int]:
    mask = (1 << LIMB_BITS) - 1
    return width.low & mask, width.high & mask


def residues(ring: Ring, values: Limbs, primes: int) -> Residues:
    """Return the values modulo the first `primes` primes: [k, primes, n]."""
    total = ring.from_signed(values[0], primes)
    if len(values) == 1:
        return total
    moduli = ring.profile.key_primes[:primes]
    shift = ring.constant([(1 << LIMB_BITS) % prime for prime in moduli])
    return ring.add(ring.multiply(total, shift), ring.from_signed(values[1], primes))
