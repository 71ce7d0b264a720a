"""A member's signed statement about a patient's choice verifies by itself; nothing else does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cipherward_chain.authorization import MemberSigner, PseudonymSigner
from cipherward_chain.canonical import encode
from cipherward_chain.domains import OPT_OUT_RECEIPT
from cipherward_chain.opt_outs import (
    OptOutReceiptRejected,
    OptOutStatement,
    care_scope,
    sign_statement,
    verify_statement,
)
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import seed_of

SIGNER = MemberSigner("hospital-a", seed_of("a"))
KEY = SigningKey(seed_of("a")).public_key
STATEMENT = OptOutStatement("chain", "hospital-a", "reference", b"r" * 16, "out", 7)


def test_a_statement_is_verified_by_the_members_key_alone() -> None:
    signed = sign_statement(STATEMENT, SIGNER)
    assert verify_statement(STATEMENT.to_bytes(), signed, KEY) == STATEMENT


@pytest.mark.parametrize(
    "other",
    [
        replace(STATEMENT, choice="in"),
        replace(STATEMENT, height=6),
        replace(STATEMENT, subject=b"s" * 16),
        replace(STATEMENT, chain_id="other"),
    ],
)
def test_a_changed_statement_is_rejected(other: OptOutStatement) -> None:
    signed = sign_statement(STATEMENT, SIGNER)
    with pytest.raises(OptOutReceiptRejected):
        verify_statement(other.to_bytes(), signed, KEY)


def test_another_signer_is_rejected() -> None:
    raw = STATEMENT.to_bytes()
    others = (
        MemberSigner("hospital-a", seed_of("b")),
        MemberSigner("hospital-b", seed_of("a")),
    )
    for other in others:
        with pytest.raises(OptOutReceiptRejected):
            verify_statement(raw, sign_statement(STATEMENT, other), KEY)
    pseudonym = PseudonymSigner(seed_of("a")).authorize(OPT_OUT_RECEIPT + raw)
    with pytest.raises(OptOutReceiptRejected):
        verify_statement(raw, pseudonym, KEY)


@pytest.mark.parametrize("raw", [b"", b"\xa0", encode({"choice": "maybe"})])
def test_what_is_no_statement_is_rejected(raw: bytes) -> None:
    with pytest.raises(OptOutReceiptRejected):
        verify_statement(raw, SIGNER.authorize(OPT_OUT_RECEIPT + raw), KEY)


def test_a_patient_is_known_to_one_member_in_its_scope() -> None:
    assert care_scope("hospital-a") == "care:hospital-a"
