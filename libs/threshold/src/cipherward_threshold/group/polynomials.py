"""Polynomials over the scalar field, by their coefficients or by their values at 1, 2, 3, ..."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cipherward_threshold.group.curve import ONE, ZERO, Scalar
from cipherward_threshold.group.errors import IndexesRejected


def evaluate(coefficients: Sequence[Scalar], at: int) -> Scalar:
    """Return the value at `at` of the polynomial with these coefficients, the free term first."""
    place, total = Scalar(at), ZERO
    for coefficient in reversed(coefficients):
        total = total * place + coefficient
    return total


def powers(at: int, count: int) -> list[Scalar]:
    """Return at^0, at^1, ... at^(count - 1)."""
    place, found = Scalar(at), [ONE]
    for _ in range(count - 1):
        found.append(found[-1] * place)
    return found


def lagrange_at_zero(indexes: Sequence[int]) -> list[Scalar]:
    """Return the factors that make the value at 0 of the values at `indexes`.

    Raises:
        IndexesRejected: they are not distinct, none is given, or one is below 1 (0 is the secret's
            own place).
    """
    if not indexes or len(set(indexes)) != len(indexes) or min(indexes) < 1:
        raise IndexesRejected("share indexes are distinct numbers from 1")
    found = list[Scalar]()
    for mine in indexes:
        above, below = ONE, ONE
        for other in indexes:
            if other != mine:
                above = above * Scalar(other)
                below = below * (Scalar(other) - Scalar(mine))
        found.append(above / below)
    return found


def interpolate(values: Mapping[int, Scalar]) -> list[Scalar]:
    """Return the coefficients of the polynomial of degree below len(values) through the values."""
    total = [ZERO] * len(values)
    for mine, value in values.items():
        basis, below = [ONE], ONE
        for other in values:
            if other != mine:
                shifted, scaled = [ZERO, *basis], [c * Scalar(other) for c in basis] + [ZERO]
                basis = [a - b for a, b in zip(shifted, scaled, strict=True)]
                below = below * (Scalar(mine) - Scalar(other))
        factor = value / below
        total = [t + b * factor for t, b in zip(total, basis, strict=True)]
    return total
