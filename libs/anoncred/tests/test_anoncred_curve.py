"""Points, scalars and fields: what is read, what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cipherward_anoncred.curve import (
    COFACTOR,
    IDENTITY,
    ORDER,
    P1,
    G1Point,
    Scalar,
    clear_cofactor,
    expand_message,
    hash_to_point,
    hedged_scalars,
    msm,
    read_point,
    read_points_and_scalars,
    read_public_key,
    read_scalar,
    read_xy_on_curve,
)
from cipherward_anoncred.errors import LengthMismatch, Malformed
from cipherward_anoncred.octets import i2osp, pack, unpack, unpack_tagged

FIELD = int(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf"
    "6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab",
    16,
)
COMPRESSED = 0b100 << 381
INFINITY = 0b110 << 381


def outside_the_subgroup() -> list[G1Point]:
    """Points of the curve with small x that are not in the subgroup."""
    found: list[G1Point] = []
    for x in range(60):
        try:
            point = G1Point.from_compressed_bytes_unchecked(i2osp(x | COMPRESSED, 48))
        except ValueError:
            continue
        if not point.is_in_subgroup():
            found.append(point)
    return found


def test_sums_of_lists_of_different_length_are_refused() -> None:
    with pytest.raises(LengthMismatch):
        msm([P1, P1], [Scalar(1), Scalar(2), Scalar(3)])
    with pytest.raises(LengthMismatch):
        msm([P1, P1], [Scalar(1)])


@given(st.lists(st.integers(min_value=0, max_value=ORDER - 1), max_size=5))
def test_a_sum_of_products_is_the_sum_of_the_products(numbers: list[int]) -> None:
    points = [hash_to_point(i2osp(i), b"test") for i in range(len(numbers))]
    scalars = [Scalar(number) for number in numbers]
    total = IDENTITY
    for point, scalar in zip(points, scalars, strict=True):
        total = total + point * scalar
    assert msm(points, scalars) == total


def test_only_canonical_points_of_the_subgroup_are_read() -> None:
    good = P1.to_compressed_bytes()
    assert read_point(good) == P1
    bad = {
        "not marked compressed": bytes([good[0] & 0x7F]) + good[1:],
        "marked infinite": bytes([good[0] | 0x40]) + good[1:],
        "identity": i2osp(INFINITY, 48),
        "identity with a sign": i2osp(INFINITY | 1 << 381, 48),
        "identity with a tail": i2osp(INFINITY | 1, 48),
        "empty": b"",
        "short": good[:-1],
        "long": good + b"\0",
        "x is the field's order": i2osp(FIELD | COMPRESSED, 48),
        "x is above the field's order": i2osp(FIELD + 1 | COMPRESSED, 48),
    }
    for what, octets in bad.items():
        with pytest.raises(Malformed):
            pytest.fail(f"{what}: read {read_point(octets)}")


def test_points_outside_the_subgroup_are_refused() -> None:
    strangers = outside_the_subgroup()
    assert len(strangers) > 10
    for point in strangers:
        with pytest.raises(Malformed):
            read_point(point.to_compressed_bytes())
        # as a first message such a point is read: its part outside vanishes later
        assert read_xy_on_curve(point.to_xy_bytes_be()) == point
        assert clear_cofactor(point).is_in_subgroup()


def test_first_messages_are_on_the_curve_and_not_the_identity() -> None:
    good = P1.to_xy_bytes_be()
    assert read_xy_on_curve(good) == P1
    for octets in (bytes(96), good[:-1], good + b"\0", good[:-1] + bytes([good[-1] ^ 1]), b""):
        with pytest.raises(Malformed):
            read_xy_on_curve(octets)


def test_clearing_the_cofactor_multiplies_by_it() -> None:
    assert clear_cofactor(P1) == P1 * Scalar(COFACTOR)


@pytest.mark.parametrize("number", [0, ORDER, ORDER + 1, 2**256 - 1])
def test_scalars_that_are_zero_or_not_canonical_are_refused(number: int) -> None:
    with pytest.raises(Malformed):
        read_scalar(i2osp(number, 32))


@pytest.mark.parametrize("octets", [b"", bytes(31), b"\1" * 31, b"\1" * 33])
def test_scalars_of_another_length_are_refused(octets: bytes) -> None:
    with pytest.raises(Malformed):
        read_scalar(octets)


@pytest.mark.parametrize("octets", [b"", bytes(96), bytes([0xC0]) + bytes(95), b"\xff" * 96])
def test_bad_public_keys_are_refused(octets: bytes) -> None:
    with pytest.raises(Malformed):
        read_public_key(octets)


def test_points_then_scalars_have_no_rest() -> None:
    octets = P1.to_compressed_bytes() + i2osp(5, 32)
    assert read_points_and_scalars(octets, points=1) == ([P1], [Scalar(5)])
    for bad in (octets[:-1], octets + b"\0", octets[:47]):
        with pytest.raises(Malformed):
            read_points_and_scalars(bad, points=1)


def test_expansions_past_the_rfcs_limits_are_refused() -> None:
    with pytest.raises(Malformed):
        expand_message(b"", b"tag", 255 * 32 + 1)
    with pytest.raises(Malformed):
        expand_message(b"", b"t" * 256, 32)


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_fields_come_back(fields: list[bytes]) -> None:
    assert unpack(pack(*fields)) == fields


@given(st.binary(max_size=60))
def test_octets_are_fields_in_one_way_or_none(octets: bytes) -> None:
    try:
        fields = unpack(octets)
    except Malformed:
        return
    assert pack(*fields) == octets


def test_fields_of_another_kind_or_number_are_refused() -> None:
    octets = pack(b"kind", b"one", b"two")
    assert unpack_tagged(b"kind", octets, count=2) == [b"one", b"two"]
    for tag, data, count in (
        (b"other", octets, 2),
        (b"kind", octets, 1),
        (b"kind", octets + b"\0", 2),
        (b"kind", b"", 0),
    ):
        with pytest.raises(Malformed):
            unpack_tagged(tag, data, count=count)


def test_hedged_scalars_differ_by_each_of_their_inputs() -> None:
    def broken(count: int) -> bytes:
        return bytes(count)

    def other(count: int) -> bytes:
        return b"\1" * count

    def first(tag: bytes, rng: Callable[[int], bytes], secret: bytes, context: bytes) -> bytes:
        drawn = hedged_scalars(2, tag=tag, rng=rng, secret=secret, context=context)
        assert drawn[0] != drawn[1]
        return drawn[0].to_be_bytes()

    seen = {
        first(b"t", broken, b"s", b"c"),
        first(b"u", broken, b"s", b"c"),
        first(b"t", other, b"s", b"c"),
        first(b"t", broken, b"z", b"c"),
        first(b"t", broken, b"s", b"d"),
        first(b"t", broken, b"sc", b""),
    }
    assert len(seen) == 6
    assert first(b"t", broken, b"s", b"c") in seen
