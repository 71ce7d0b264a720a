"""Sealed values: they open in their own place, and stored ones open for ever."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cipherward_chain.sealing import (
    OVERHEAD_BYTES,
    PUBLIC_KEY_BYTES,
    SECRET_BYTES,
    OpeningRejected,
    SealInfo,
    SealingKey,
    SealingKeyRefused,
    check_sealing_key,
    release_place,
    seal,
    share_place,
)

INFO = SealInfo("test-chain", bytes(16), "custodian", b"hospital-b")
GOLDEN = Path(__file__).with_name("sealed_values.json")


@pytest.fixture(scope="module")
def key() -> SealingKey:
    return SealingKey.generate()


def test_what_is_sealed_opens_with_the_stored_key(key: SealingKey) -> None:
    sealed = seal(b"secret", key.public_key, INFO)
    assert len(sealed) == len(b"secret") + OVERHEAD_BYTES
    assert SealingKey(key.secret_bytes()).open(sealed, INFO) == b"secret"
    assert seal(b"secret", key.public_key, INFO) != sealed


def test_a_stored_key_has_one_public_key(key: SealingKey) -> None:
    assert len(key.secret_bytes()) == SECRET_BYTES
    assert len(key.public_key) == PUBLIC_KEY_BYTES
    assert SealingKey(key.secret_bytes()).public_key == key.public_key
    check_sealing_key(key.public_key)


def test_values_sealed_by_an_earlier_release_still_open() -> None:
    """Made once and kept: an update of the library that changes the suite's bytes is found here."""
    cases = json.loads(GOLDEN.read_text())
    assert len(cases) == 3
    for case in cases:
        opened = SealingKey(bytes.fromhex(case["secret"])).open(
            bytes.fromhex(case["sealed"]),
            SealInfo(
                case["chain_id"],
                bytes.fromhex(case["subject"]),
                case["slot"],
                bytes.fromhex(case["recipient"]),
            ),
        )
        assert opened.hex() == case["plaintext"]


def test_the_info_binds_tag_suite_and_every_part_with_its_length() -> None:
    octets = SealInfo("c", b"\1\2", "s", b"r").octets()
    assert octets == (
        b"cipherward/sealed/v1\0" + b"\0\1" + b"\0\0\0\1c" + b"\0\0\0\2\1\2" + b"\0\0\0\1s\0\0\0\1r"
    )


@pytest.mark.parametrize(
    "info",
    [
        replace(INFO, chain_id="other-chain"),
        replace(INFO, subject=bytes(15) + b"\1"),
        replace(INFO, slot="reader"),
        replace(INFO, recipient=b"hospital-c"),
        replace(INFO, slot="custodia", recipient=b"nhospital-b"),
    ],
)
def test_a_sealed_value_opens_in_no_other_place(key: SealingKey, info: SealInfo) -> None:
    with pytest.raises(OpeningRejected):
        key.open(seal(b"secret", key.public_key, INFO), info)


def test_a_sealed_value_opens_with_no_other_key(key: SealingKey) -> None:
    with pytest.raises(OpeningRejected):
        SealingKey.generate().open(seal(b"secret", key.public_key, INFO), INFO)


def test_a_sealed_value_with_a_flipped_bit_or_cut_off_does_not_open(key: SealingKey) -> None:
    sealed = seal(b"secret", key.public_key, INFO)
    for at in range(0, len(sealed), 37):
        flipped = bytearray(sealed)
        flipped[at] ^= 1
        with pytest.raises(OpeningRejected):
            key.open(bytes(flipped), INFO)
    for cut in (b"", sealed[:-1], sealed[:40], sealed + b"\0"):
        with pytest.raises(OpeningRejected):
            key.open(cut, INFO)


def test_keys_that_are_none_are_refused(key: SealingKey) -> None:
    small_order = key.public_key[:-32] + bytes(32)
    not_reduced = b"\xff" * 1_184 + key.public_key[-32:]
    for public_key in (b"", key.public_key[:-1], small_order, not_reduced):
        with pytest.raises(SealingKeyRefused):
            check_sealing_key(public_key)
    with pytest.raises(SealingKeyRefused):
        SealingKey(bytes(SECRET_BYTES - 1))


def test_a_private_key_does_not_print_itself(key: SealingKey) -> None:
    assert repr(key) == "SealingKey()"


def test_a_share_opens_in_the_place_of_its_guardian_and_order_only(key: SealingKey) -> None:
    record, reader = bytes(16), b"k" * 32
    place = share_place("test-chain", record, (7, 1), "hospital-b", reader)
    assert place == SealInfo("test-chain", record, "share/7/1/hospital-b", reader)
    sealed = seal(b"share", key.public_key, place)
    assert key.open(sealed, place) == b"share"
    for other in (
        share_place("test-chain", record, (7, 1), "hospital-c", reader),
        share_place("test-chain", record, (8, 1), "hospital-b", reader),
        share_place("test-chain", b"r" * 16, (7, 1), "hospital-b", reader),
        share_place("test-chain", record, (7, 1), "hospital-b", b"l" * 32),
        release_place("test-chain", record, (7, 1), reader),
    ):
        with pytest.raises(OpeningRejected):
            key.open(sealed, other)
