"""Parts of a record's key, signed: evidence against their signer, and against nobody else."""

from __future__ import annotations

import pytest

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.domains import release_part_octets
from cipherward_chain.release_parts import (
    CUSTODIAN,
    GUARDIAN,
    ReleasePartRejected,
    check_part,
    parse_part,
    sign_part,
)
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import seed_of
from cipherward_chain.wire import exact_bytes

CHAIN = "test-chain"
KEY = SigningKey(seed_of("hospital-a"))


def part(**changes: object) -> pb.ReleasePart:
    fields: dict[str, object] = {
        "role": GUARDIAN,
        "member_id": "hospital-a",
        "order_digest": bytes(32),
        "anchor_digest": bytes(32),
        "body": bytes(118),
    }
    return pb.ReleasePart(**{**fields, **changes})  # pyright: ignore[reportArgumentType] - the form under test is what is changed


def test_a_signed_part_is_read_and_its_signature_holds() -> None:
    raw = sign_part(CHAIN, part(), KEY)
    found = parse_part(raw)
    check_part(CHAIN, found, KEY.public_key)
    assert (found.role, found.member_id, found.body) == (GUARDIAN, "hospital-a", bytes(118))


@pytest.mark.parametrize(
    "changed",
    [
        {"role": CUSTODIAN},
        {"member_id": "hospital-b"},
        {"order_digest": b"o" * 32},
        {"anchor_digest": b"a" * 32},
        {"body": bytes(117) + b"x"},
    ],
)
def test_a_signature_holds_for_nothing_else(changed: dict[str, object]) -> None:
    signature = parse_part(sign_part(CHAIN, part(), KEY)).signature
    with pytest.raises(ReleasePartRejected):
        check_part(CHAIN, part(**changed, signature=signature), KEY.public_key)


def test_a_signature_is_of_one_chain_and_one_key() -> None:
    found = parse_part(sign_part(CHAIN, part(), KEY))
    with pytest.raises(ReleasePartRejected):
        check_part("other-chain", found, KEY.public_key)
    with pytest.raises(ReleasePartRejected):
        check_part(CHAIN, found, SigningKey(seed_of("hospital-b")).public_key)


@pytest.mark.parametrize(
    "changed",
    [
        {"role": "reader"},
        {"member_id": "Hospital"},
        {"order_digest": bytes(31)},
        {"anchor_digest": b""},
        {"body": bytes(119)},
        {"signature": bytes(63)},
    ],
)
def test_a_part_out_of_form_is_refused(changed: dict[str, object]) -> None:
    signed = pb.ReleasePart.FromString(sign_part(CHAIN, part(), KEY))
    for name, value in changed.items():
        setattr(signed, name, value)
    with pytest.raises(ReleasePartRejected):
        parse_part(exact_bytes(signed))


def test_a_part_has_one_serialised_form() -> None:
    with pytest.raises(ReleasePartRejected):
        parse_part(sign_part(CHAIN, part(), KEY) + b"\x40\x01")


@pytest.mark.parametrize("body", [b"", bytes(32), bytes(117)])
def test_a_body_of_a_wrong_length_is_in_form_so_that_it_can_be_judged(body: bytes) -> None:
    assert parse_part(sign_part(CHAIN, part(body=body), KEY)).body == body


def test_what_is_signed_cannot_be_shifted() -> None:
    about = bytes(32), bytes(32)
    one = release_part_octets("c", ("guardian", "a"), about, b"body")
    assert one != release_part_octets("cg", ("uardian", "a"), about, b"body")
    assert one != release_part_octets("c", ("guardian", "a"), (bytes(31), bytes(33)), b"body")
