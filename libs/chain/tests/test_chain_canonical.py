"""The CBOR subset: one value, one byte string."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cipherward_chain.canonical import (
    DEPTH_MAX,
    INTEGER_MAX,
    INTEGER_MIN,
    NotCanonical,
    Value,
    decode,
    decode_map,
    encode,
)
from cipherward_chain.fields import Fields

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
LEAVES = st.booleans() | st.integers(INTEGER_MIN, INTEGER_MAX) | st.binary(max_size=300) | TEXTS
VALUES: st.SearchStrategy[Value] = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=30),
    max_leaves=30,
)


@given(VALUES)
def test_a_value_comes_back_from_its_bytes(value: Value) -> None:
    assert decode(encode(value)) == value


@given(VALUES)
def test_the_bytes_are_those_of_cbor2_in_canonical_mode(value: Value) -> None:
    assert encode(value) == cbor2.dumps(value, canonical=True)


@given(st.binary(max_size=40))
def test_whatever_decodes_encodes_to_the_same_bytes(octets: bytes) -> None:
    try:
        value = decode(octets)
    except NotCanonical:
        return
    assert encode(value) == octets


@given(VALUES, st.data())
def test_a_changed_byte_is_another_value_or_none(value: Value, data: st.DataObject) -> None:
    octets = bytearray(encode(value))
    at = data.draw(st.integers(0, len(octets) - 1))
    octets[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        other = decode(bytes(octets))
    except NotCanonical:
        return
    assert encode(other) == bytes(octets) != encode(value)


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        ("", "nothing"),
        ("1800", "0 in two bytes"),
        ("190001", "1 in three bytes"),
        ("1a0000ffff", "65,535 in five bytes"),
        ("1b00000000ffffffff", "32 bits in nine bytes"),
        ("5800", "a length in two bytes"),
        ("0000", "bytes after the value"),
        ("f6", "null"),
        ("f7", "undefined"),
        ("f0", "another simple value"),
        ("f97e00", "a half float"),
        ("fb3ff0000000000000", "a float"),
        ("f818", "a simple value in two bytes"),
        ("c249010000000000000000", "a bignum"),
        ("d81c81d81d00", "an array that holds itself"),
        ("9fff", "an indefinite array"),
        ("5f4100ff", "indefinite bytes"),
        ("bfff", "an indefinite map"),
        ("ff", "a break"),
        ("a10000", "a key that is a number"),
        ("a2616200616100", "keys that descend"),
        ("a2616100616101", "a key twice"),
        ("a262616100616200", "a longer key first"),
        ("61ff", "text that is not UTF-8"),
        ("63eda080", "a surrogate"),
        ("8200", "an array that ends early"),
        ("9b7fffffffffffffff", "an array longer than memory"),
        ("bb7fffffffffffffff", "a map longer than memory"),
        ("5b7fffffffffffffff", "bytes longer than memory"),
        ("1c", "a reserved length"),
        ("1c" + "ff" * 16, "an integer of 128 bits"),
        ("18", "a head that ends early"),
        ("81" * (DEPTH_MAX + 1) + "00", "too deep"),
        ("81" * 10_000 + "00", "far too deep"),
    ],
)
def test_bytes_that_are_not_the_one_form_are_refused(octets: str, why: str) -> None:
    with pytest.raises(NotCanonical):
        decode(bytes.fromhex(octets))


@pytest.mark.parametrize(
    "value",
    [None, 1.5, {1: 2}, {"a": None}, 1 << 64, -(1 << 64) - 1, bytearray(1), {1}, "\ud800", [[1.0]]],
)
def test_what_is_outside_the_subset_has_no_bytes(value: object) -> None:
    with pytest.raises(NotCanonical):
        encode(value)  # pyright: ignore[reportArgumentType] - what the type forbids is the point


def test_a_cycle_has_no_bytes() -> None:
    ring: list[Value] = []
    ring.append(ring)
    with pytest.raises(NotCanonical):
        encode(ring)


def test_a_list_is_not_a_map() -> None:
    with pytest.raises(NotCanonical):
        decode_map(encode([1]))


def test_fields_are_taken_by_type_and_once() -> None:
    fields = Fields({"n": 3, "f": True, "b": b"ab", "t": "x", "l": ["y"], "m": {"k": 1}})
    assert fields.has("n")
    assert fields.integer("n", minimum=3) == 3
    assert not fields.has("n")
    assert fields.flag("f") is True
    assert fields.octets("b", length=2) == b"ab"
    assert fields.text("t") == "x"
    assert fields.texts("l") == ("y",)
    assert fields.mapping("m") == {"k": 1}
    fields.end()
    with pytest.raises(NotCanonical, match="no field n"):
        fields.integer("n")


@pytest.mark.parametrize("name", ["integer", "text", "octets", "items", "mapping"])
def test_a_flag_is_no_other_type(name: str) -> None:
    with pytest.raises(NotCanonical):
        getattr(Fields({"x": True}), name)("x")


def test_a_number_is_not_a_flag() -> None:
    with pytest.raises(NotCanonical):
        Fields({"x": 1}).flag("x")


def test_bounds_and_leftovers_are_refused() -> None:
    with pytest.raises(NotCanonical, match="below 1"):
        Fields({"x": 0}).integer("x", minimum=1)
    with pytest.raises(NotCanonical, match="32 bytes"):
        Fields({"x": b""}).octets("x", length=32)
    with pytest.raises(NotCanonical, match="more than texts"):
        Fields({"x": [1]}).texts("x")
    with pytest.raises(NotCanonical, match="unknown field x"):
        Fields({"x": 0}).end()
    with pytest.raises(NotCanonical, match="not a map"):
        Fields([])
