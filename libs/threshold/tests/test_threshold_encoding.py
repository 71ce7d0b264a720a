"""Fixed point: exact where a double is, and never a sum that wraps."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cipherward_threshold.encoding import FixedPoint
from cipherward_threshold.errors import ValueOutOfRange
from cipherward_threshold.parameters import profile

MODULUS = profile("additive-1").plain_modulus
values = st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=1, max_size=20)


@given(values, st.integers(0, 30))
def test_encoding_rounds_to_the_nearest_step_half_to_even(
    numbers: list[float], fraction_bits: int
) -> None:
    steps = FixedPoint(fraction_bits).encode(numbers, contributors=4, modulus=MODULUS)
    assert steps == [round(Fraction(number) * 2**fraction_bits) for number in numbers]


@given(st.lists(st.integers(-(2**28), 2**28), min_size=1, max_size=20))
def test_decoding_a_sum_of_steps_is_exact(steps: list[int]) -> None:
    code = FixedPoint(24)
    numbers = [step / 2**24 for step in steps]
    encoded = code.encode(numbers, contributors=4, modulus=MODULUS)
    assert encoded == steps
    assert code.decode([4 * step for step in encoded]) == [4 * number for number in numbers]


def test_integers_are_taken_exactly_beyond_what_a_double_holds() -> None:
    large = 2**53 + 1
    assert FixedPoint(0).encode([large], contributors=1, modulus=MODULUS) == [large]


@pytest.mark.parametrize("contributors", [1, 3, 4, 256])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_value_that_cannot_wrap_is_taken_and_the_next_refused(
    contributors: int, sign: int
) -> None:
    most = (MODULUS - 1) // 2 // contributors
    code = FixedPoint(0)
    assert code.encode([sign * most], contributors=contributors, modulus=MODULUS) == [sign * most]
    with pytest.raises(ValueOutOfRange) as refusal:
        code.encode([0, sign * (most + 1)], contributors=contributors, modulus=MODULUS)
    assert refusal.value.metadata == {"slot": "1", "contributors": str(contributors)}


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan, 1e300])
def test_numbers_that_are_not_finite_or_far_too_large_are_refused(number: float) -> None:
    with pytest.raises(ValueOutOfRange):
        FixedPoint(24).encode([number], contributors=2, modulus=MODULUS)


@pytest.mark.parametrize("fraction_bits", [-1, 53])
def test_a_step_that_no_double_has_is_refused(fraction_bits: int) -> None:
    with pytest.raises(ValueOutOfRange):
        FixedPoint(fraction_bits)


def test_a_sum_of_no_contributor_is_refused() -> None:
    with pytest.raises(ValueOutOfRange):
        FixedPoint(0).encode([1], contributors=0, modulus=MODULUS)
