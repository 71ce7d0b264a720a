"""Answers as octets: exactly bits + 1 bits a coefficient, one form for every value.

Each limb is written as two planes: the whole bytes of every coefficient, then the remaining top
bits of all of them, little endian. A plane of single bits is whole bytes, because the number of
coefficients is a multiple of 8; so there is no padding that could be anything but what it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cipherward_threshold.proofs.bounds import Shape, Width
from cipherward_threshold.proofs.integers import Limbs, limb_bits
from cipherward_threshold.sampling import Signed


def packed(values: Limbs, width: Width) -> bytes:
    """Return one integer polynomial's answers [repetitions, n]; they lie within the mask's range.

    The signed limb is written with its mask's offset, so that it is not negative.
    """
    bits = limb_bits(width)
    shifted = (values[0] + np.int64(1 << (bits[0] - 1)), *values[1:])
    return b"".join(_planes(limb, count) for limb, count in zip(shifted, bits, strict=True))


def unpacked(octets: bytes, shape: Shape) -> tuple[Limbs, ...]:
    """Return the answers of every width of a shape.

    Args:
        octets: exactly `shape.response_bytes` of them, which the caller has checked.
    """
    parts: list[Limbs] = []
    coefficients = shape.repetitions * shape.degree
    start = 0
    for width in shape.widths:
        bits = limb_bits(width)
        limbs: list[Signed] = []
        for count in bits:
            end = start + coefficients * count // 8
            values = _from_planes(octets[start:end], count, coefficients)
            limbs.append(values.reshape(shape.repetitions, shape.degree))
            start = end
        limbs[0] -= np.int64(1 << (bits[0] - 1))
        parts.append(tuple(limbs))
    return tuple(parts)


def _planes(values: Signed, bits: int) -> bytes:
    octets = values.reshape(-1).astype("<u8").view(np.uint8).reshape(-1, 8)
    whole, rest = divmod(bits, 8)
    plane = np.ascontiguousarray(octets[:, :whole]).tobytes()
    if rest == 0:
        return plane
    tops = np.unpackbits(octets[:, whole, None], axis=1, count=rest, bitorder="little")
    return plane + np.packbits(tops.reshape(-1), bitorder="little").tobytes()


def _from_planes(octets: bytes, bits: int, coefficients: int) -> Signed:
    whole, rest = divmod(bits, 8)
    found: NDArray[np.uint8] = np.zeros((coefficients, 8), dtype=np.uint8)
    raw = np.frombuffer(octets, dtype=np.uint8)
    found[:, :whole] = raw[: coefficients * whole].reshape(coefficients, whole)
    if rest:
        tops = np.unpackbits(raw[coefficients * whole :], bitorder="little")
        found[:, whole, None] = np.packbits(
            tops.reshape(coefficients, rest), axis=1, bitorder="little"
        )
    return found.view("<u8")[:, 0].astype(np.int64)
