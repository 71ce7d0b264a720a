"""The one Ed25519 rule."""

from __future__ import annotations

import pytest
from nacl import bindings

from cipherward_chain.signatures import (
    PRIME,
    SMALL_ORDER_Y,
    KeyRefused,
    SignatureRejected,
    SigningKey,
    check_public_key,
    verify_signature,
)

# RFC 8032, 7.1, test 3.
SEED = bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
PUBLIC = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
MESSAGE = bytes.fromhex("af82")
SIGNATURE = bytes.fromhex(
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)
ORDER = (1 << 252) + 27742317777372353535851937790883648493  # of the group, RFC 8032 5.1


def test_the_vector_of_rfc_8032_is_made_and_verified() -> None:
    key = SigningKey(SEED)
    assert key.public_key == PUBLIC
    assert key.sign(MESSAGE) == SIGNATURE
    check_public_key(PUBLIC)
    verify_signature(PUBLIC, MESSAGE, SIGNATURE)


def square_root(square: int) -> int | None:
    """A root in the field, or None; RFC 8032 5.1.3."""
    root = pow(square, (PRIME + 3) // 8, PRIME)
    if root * root % PRIME != square:
        root = root * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
    return root if root * root % PRIME == square else None


def small_order_points() -> set[int]:
    """The y of every point of order 1, 2, 4 or 8.

    A point of order 8 doubles to one with y = 0, so x^2 = -y^2, and the curve
    -x^2 + y^2 = 1 + d x^2 y^2 gives d y^4 + 2 y^2 - 1 = 0.
    """
    d = -121665 * pow(121666, -1, PRIME) % PRIME
    found = {0, 1, PRIME - 1}
    root = square_root((1 + d) % PRIME)
    assert root is not None
    for discriminant in (root, -root):
        y = square_root((discriminant - 1) * pow(d, -1, PRIME) % PRIME)
        if y is not None:
            found |= {y, PRIME - y}
    return found


def test_the_list_of_small_order_points_is_that_of_the_curve() -> None:
    assert small_order_points() == SMALL_ORDER_Y


@pytest.mark.parametrize("y", sorted(SMALL_ORDER_Y))
@pytest.mark.parametrize("sign", [0, 1])
def test_a_key_of_small_order_is_refused(y: int, sign: int) -> None:
    key = (y | sign << 255).to_bytes(32, "little")
    with pytest.raises(KeyRefused, match="small order"):
        check_public_key(key)
    with pytest.raises(KeyRefused, match="small order"):
        verify_signature(key, MESSAGE, bytes(64))


@pytest.mark.parametrize("y", [PRIME, PRIME + 1, PRIME + 2, (1 << 255) - 1])
def test_a_key_in_a_second_form_is_refused(y: int) -> None:
    with pytest.raises(KeyRefused, match="canonical"):
        verify_signature(y.to_bytes(32, "little"), MESSAGE, SIGNATURE)


def test_a_key_off_the_curve_is_refused() -> None:
    with pytest.raises(KeyRefused, match="group"):
        check_public_key((2).to_bytes(32, "little"))


def test_a_key_with_a_part_of_small_order_is_not_accepted() -> None:
    order_two = (PRIME - 1).to_bytes(32, "little")
    mixed = bindings.crypto_core_ed25519_add(PUBLIC, order_two)
    with pytest.raises(KeyRefused, match="group"):
        check_public_key(mixed)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_and_seeds_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(KeyRefused, match="32 bytes"):
        verify_signature((PUBLIC + b"\0")[:length], MESSAGE, SIGNATURE)
    with pytest.raises(KeyRefused):
        SigningKey(bytes(length))


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_of_another_length_is_rejected(length: int) -> None:
    with pytest.raises(SignatureRejected):
        verify_signature(PUBLIC, MESSAGE, (SIGNATURE + b"\0")[:length])


def test_a_byte_of_the_message_does_not_move_into_the_signature() -> None:
    with pytest.raises(SignatureRejected):
        verify_signature(PUBLIC, MESSAGE[1:], SIGNATURE + MESSAGE[:1])
    with pytest.raises(SignatureRejected):
        verify_signature(PUBLIC, SIGNATURE[-1:] + MESSAGE, SIGNATURE[:-1])


@pytest.mark.parametrize("bit", range(0, 512, 7))
def test_a_signature_with_a_flipped_bit_is_rejected(bit: int) -> None:
    flipped = bytearray(SIGNATURE)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureRejected):
        verify_signature(PUBLIC, MESSAGE, bytes(flipped))


def test_a_second_signature_made_from_the_first_is_rejected() -> None:
    s = int.from_bytes(SIGNATURE[32:], "little") + ORDER
    with pytest.raises(SignatureRejected):
        verify_signature(PUBLIC, MESSAGE, SIGNATURE[:32] + s.to_bytes(32, "little"))


def test_a_signature_over_other_octets_is_rejected() -> None:
    with pytest.raises(SignatureRejected):
        verify_signature(PUBLIC, MESSAGE + b"\0", SIGNATURE)


def test_a_private_key_does_not_print_itself() -> None:
    assert SEED.hex() not in repr(SigningKey(SEED))
