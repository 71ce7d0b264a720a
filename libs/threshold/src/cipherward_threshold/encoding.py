"""Real numbers as the integers of BFV slots: fixed point that a sum cannot wrap.

Needs no ring and no TenSEAL: services use it without loading them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cipherward_threshold.errors import ValueOutOfRange

FRACTION_BITS_MAX = 52  # a double's own; finer steps would be an illusion


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """Numbers in steps of 2^-fraction_bits; 0 bits means integers.

    Raises:
        ValueOutOfRange: fraction_bits is not in 0..52.
    """

    fraction_bits: int

    def __post_init__(self) -> None:
        if not 0 <= self.fraction_bits <= FRACTION_BITS_MAX:
            raise ValueOutOfRange(f"fraction bits are in 0..{FRACTION_BITS_MAX}")

    def encode(self, values: Sequence[float], *, contributors: int, modulus: int) -> list[int]:
        """Return each value in steps, rounded half to even.

        Args:
            values: finite; integers of any size are taken exactly.
            contributors: how many such vectors may be added, at least 1: none of the sums wraps.
            modulus: the profile's `plain_modulus`, odd.

        Raises:
            ValueOutOfRange: a value is not finite, or `contributors` of its size would not fit.
        """
        if contributors < 1:
            raise ValueOutOfRange("at least one contributor is needed", contributors=contributors)
        bound = (modulus - 1) // 2 // contributors
        steps = [self._steps(value) for value in values]
        for place, step in enumerate(steps):
            if abs(step) > bound:
                raise ValueOutOfRange(
                    "a value is too large for a sum of this many contributors",
                    slot=place,
                    contributors=contributors,
                )
        return steps

    def decode(self, slots: Sequence[int]) -> list[float]:
        """Return the numbers nearest to slots of a sum."""
        return [slot / (1 << self.fraction_bits) for slot in slots]

    def _steps(self, value: float) -> int:
        if isinstance(value, int):  # an int is a float to the type checker, and exact here
            return value << self.fraction_bits
        if not math.isfinite(value):
            raise ValueOutOfRange("a value is not a finite number")
        above, below = float(value).as_integer_ratio()  # exact; below is a power of two
        quotient, remainder = divmod(above << self.fraction_bits, below)
        twice = 2 * remainder
        return quotient + (twice > below or (twice == below and quotient % 2 == 1))
