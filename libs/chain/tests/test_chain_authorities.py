"""Authorities that changed are believed when the chain proves it; and what their certificates are
to the chain.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from cipherward_chain.authorities import (
    AuthoritiesProof,
    AuthoritiesRejected,
    authorities_in_force,
)
from cipherward_chain.certificates import (
    CERTIFICATES_MAX,
    CertificatesMalformed,
    certificate_octets,
    parse_certificates,
    split_certificates,
)
from cipherward_chain.genesis import Genesis
from cipherward_chain.members import AuthoritiesSet
from cipherward_chain.orders import Order
from cipherward_chain.testing import TestChain, ca_certificate, make_genesis

Transactions = Callable[[int], list[bytes]]

B = "hospital-b"
OLD, NEXT = ca_certificate(B), ca_certificate("the next")


def changed(
    chain: TestChain, transactions: Transactions, *authorities: str, member: str = B
) -> AuthoritiesProof:
    """Let a block give a member several sets, one after another; return the proof."""
    orders = [
        Order(
            chain.next_height(),
            index,
            bytes(16),
            "authority-change",
            "set_authorities",
            {"member": member, "authorities": one},
        )
        for index, one in enumerate(authorities)
    ]
    block = chain.append(transactions(1), orders=orders)
    return AuthoritiesProof.of(chain.receipt(len(chain.blocks), 0), block)


def test_a_proof_says_which_authorities_a_member_has_from_which_block(
    chain: TestChain, genesis: Genesis, transactions: Transactions
) -> None:
    height = chain.next_height()
    proof = changed(chain, transactions, OLD + NEXT, NEXT)
    read = AuthoritiesProof.from_bytes(proof.to_bytes())
    assert read.verify(genesis.trust_root(), B) == AuthoritiesSet(B, NEXT, height)


def test_it_proves_nothing_of_another_member_or_chain(
    chain: TestChain, genesis: Genesis, transactions: Transactions
) -> None:
    proof = changed(chain, transactions, NEXT)
    with pytest.raises(AuthoritiesRejected, match="hospital-c"):
        proof.verify(genesis.trust_root(), "hospital-c")
    other, _ = make_genesis(chain_id="another-chain")
    with pytest.raises(AuthoritiesRejected):
        proof.verify(other.trust_root(), B)
    with pytest.raises(AuthoritiesRejected):
        AuthoritiesProof.from_bytes(proof.to_bytes()[:-10])


def test_a_proven_set_counts_until_the_registry_has_come_as_far() -> None:
    registered = {"hospital-a": ca_certificate("hospital-a"), B: OLD}
    proven = {B: AuthoritiesSet(B, NEXT, 10), "hospital-x": AuthoritiesSet("hospital-x", NEXT, 10)}
    for height, counts in ((0, NEXT), (9, NEXT), (10, OLD), (11, OLD)):
        found = authorities_in_force(registered, height, proven)
        assert list(found) == ["hospital-a", B]
        assert found[B] == counts.encode()


def test_certificates_are_told_apart_by_their_octets_and_bear_their_subjects() -> None:
    found = parse_certificates(OLD + NEXT)
    parsed = x509.load_pem_x509_certificates((OLD + NEXT).encode())
    assert found == {one.public_bytes(Encoding.DER): one.subject.public_bytes() for one in parsed}
    assert split_certificates(OLD + NEXT) == (OLD, NEXT)


def test_one_certificate_in_other_lines_is_the_same_one() -> None:
    head, *lines, foot = OLD.splitlines()
    text = "".join(lines)
    narrow = "\n".join([head, *(text[at : at + 50] for at in range(0, len(text), 50)), foot, ""])
    assert certificate_octets(narrow) == certificate_octets(OLD)
    with pytest.raises(CertificatesMalformed, match="twice"):
        parse_certificates(OLD + narrow)


@pytest.mark.parametrize(
    "text",
    [
        *("", "text", OLD[:-1], " " + OLD, OLD + "\n", OLD + OLD, OLD.replace("\n", "\r\n")),
        "".join(ca_certificate(f"authority {number}") for number in range(CERTIFICATES_MAX + 1)),
        OLD * 100,
    ],
)
def test_what_is_not_one_to_four_certificates_is_refused(text: str) -> None:
    with pytest.raises(CertificatesMalformed):
        parse_certificates(text)


@given(st.integers(0, 400), st.integers(0, 255))
def test_octets_that_are_no_certificate_are_refused_or_give_a_subject(at: int, octet: int) -> None:
    """Whatever octet is another one, the reader ends with an answer."""
    octets = bytearray(certificate_octets(OLD))
    octets[at % len(octets)] = octet
    text = x509_text(bytes(octets))
    try:
        ((found, subject),) = parse_certificates(text).items()
    except CertificatesMalformed:
        return
    assert found == bytes(octets)
    assert subject in found


def x509_text(octets: bytes) -> str:
    """Return octets as PEM has them, whatever they are."""
    text = base64.b64encode(octets).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])
