"""The fast form of an entry is the canonical one, whatever its values are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cipherward_chain.canonical import NotCanonical, Value, encode
from cipherward_contract.shapes import NAMES_MAX, Shape

NAMES = ("uses", "a", "terms", "created", "z", "longer_than_the_others_by_far")
SCALARS = st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.text() | st.binary(max_size=300)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(VALUES, min_size=len(NAMES), max_size=len(NAMES)))
def test_a_shape_gives_the_canonical_bytes(values: list[Value]) -> None:
    expected = encode(dict(zip(NAMES, values, strict=True)))
    assert Shape(*NAMES).encode(*values) == expected


def test_true_and_one_keep_their_own_forms() -> None:
    shape = Shape("flag")
    for value in (1, True, 0, False, "1"):
        assert shape.encode(value) == encode({"flag": value})


def test_lengths_around_a_longer_head_are_right() -> None:
    for length in (0, 23, 24, 255, 256, 65_535, 65_536):
        assert Shape("raw").encode(bytes(length)) == encode({"raw": bytes(length)})


def test_what_has_no_canonical_form_is_refused() -> None:
    with pytest.raises(NotCanonical):
        Shape("number").encode(2**64)
    for names in (["twice", "twice"], [str(number) for number in range(NAMES_MAX + 1)]):
        with pytest.raises(ValueError, match="a shape has"):
            Shape(*names)
