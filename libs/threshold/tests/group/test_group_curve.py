"""Strict octets, products, nonces and polynomials of shared keys."""

from __future__ import annotations

import secrets
from itertools import combinations

import pytest

from cipherward_anoncred.curve import ORDER, expand_message
from cipherward_threshold.group.curve import (
    IDENTITY,
    ZERO,
    G,
    Scalar,
    blinded_product,
    hash_to_scalar,
    independent_point,
    mixed_nonce,
    msm,
    octets,
    random_scalar,
    read_point,
    read_points,
    read_scalar,
    read_scalars,
    recall_points,
)
from cipherward_threshold.group.encoding import frame
from cipherward_threshold.group.errors import IndexesRejected, LengthsDiffer, OctetsRejected
from cipherward_threshold.group.polynomials import (
    evaluate,
    interpolate,
    lagrange_at_zero,
    powers,
)

FIELD_PRIME = int(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f624"
    "1eabfffeb153ffffb9feffffffffaaab",
    16,
)


def test_a_point_is_read_as_it_was_written() -> None:
    point = G * random_scalar()
    assert read_point(octets(point)) == point
    assert read_points(octets(point, G), 2) == recall_points(octets(point, G)) == (point, G)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        octets(G)[:-1],
        octets(G) + b"\0",
        octets(IDENTITY),
        bytes([octets(G)[0] & 0x7F]) + octets(G)[1:],  # the flag of a compressed point
        bytes([0xE0]) + bytes(47),  # the identity with a sign
        (FIELD_PRIME | 1 << 383).to_bytes(48, "big"),  # x = p, which is 0 not reduced
        (4 | 1 << 383).to_bytes(48, "big"),  # on the curve, outside the subgroup
        (1 | 1 << 383).to_bytes(48, "big"),  # not on the curve
        bytes(48),
    ],
)
def test_octets_that_are_no_point_are_refused(bad: bytes) -> None:
    with pytest.raises(OctetsRejected):
        read_point(bad)


@pytest.mark.parametrize(
    "bad", [b"", bytes(31), bytes(33), ORDER.to_bytes(32, "big"), b"\xff" * 32]
)
def test_octets_that_are_no_scalar_are_refused(bad: bytes) -> None:
    with pytest.raises(OctetsRejected):
        read_scalar(bad)


def test_the_greatest_scalar_is_read() -> None:
    assert read_scalar((ORDER - 1).to_bytes(32, "big")) == -Scalar(1)


def test_another_number_of_points_or_scalars_is_refused() -> None:
    for count in (1, 3):
        with pytest.raises(OctetsRejected):
            read_points(octets(G, G), count)
        with pytest.raises(OctetsRejected):
            read_scalars(bytes(64), count)


def test_a_product_of_lists_that_differ_in_length_is_refused() -> None:
    for points, scalars in (([G, G], [ZERO]), ([G], [ZERO, ZERO])):
        with pytest.raises(LengthsDiffer):
            msm(points, scalars)


def test_a_blinded_product_is_the_product() -> None:
    point, secret = G * random_scalar(), random_scalar()
    assert blinded_product(point, secret) == point * secret
    assert blinded_product(point, ZERO) == IDENTITY


def test_a_hash_to_a_scalar_expands_as_rfc_9380_says() -> None:
    tag, fields = b"a tag", (b"octets", "text", 7)
    wide = expand_message(frame(*fields), tag, 48)  # held against the RFC's vectors there
    assert int(hash_to_scalar(tag, *fields)) == int.from_bytes(wide, "big") % ORDER


def test_fields_of_another_cut_or_type_hash_to_something_else() -> None:
    lists = [(b"ab",), (b"a", b"b"), ("ab",), (0x6162,), (b"", b"ab"), (b"ab", b"")]
    assert len({frame(*fields) for fields in lists}) == len(lists)


def test_independent_points_differ_by_name() -> None:
    assert independent_point("one") != independent_point("other") != G


def test_a_nonce_differs_by_chance_secret_and_statement() -> None:
    secret = random_scalar()
    same = mixed_nonce(bytes(32), secret, b"statement")
    assert mixed_nonce(bytes(32), secret, b"statement") == same
    assert mixed_nonce(secrets.token_bytes(32), secret, b"statement") != same
    assert mixed_nonce(bytes(32), random_scalar(), b"statement") != same
    assert mixed_nonce(bytes(32), secret, b"another") != same


def test_any_values_that_are_enough_give_the_polynomial_back() -> None:
    coefficients = [random_scalar() for _ in range(3)]
    values = {at: evaluate(coefficients, at) for at in range(1, 6)}
    for chosen in combinations(values, 3):
        assert interpolate({at: values[at] for at in chosen}) == coefficients
        factors = lagrange_at_zero(chosen)
        total = ZERO
        for at, factor in zip(chosen, factors, strict=True):
            total = total + factor * values[at]
        assert total == coefficients[0]


def test_powers_begin_with_one() -> None:
    assert powers(3, 4) == [Scalar(n) for n in (1, 3, 9, 27)]


@pytest.mark.parametrize("indexes", [(), (0, 1), (1, 1), (-1, 2)])
def test_indexes_that_are_no_places_of_shares_are_refused(indexes: tuple[int, ...]) -> None:
    with pytest.raises(IndexesRejected):
        lagrange_at_zero(indexes)
