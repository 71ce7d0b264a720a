"""A member that joined later is believed when the chain proves its admission, and only then."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cipherward.chain.v1 import block_pb2 as pb
from cipherward_chain.admission import Admission, AdmissionRejected
from cipherward_chain.canonical import Value
from cipherward_chain.genesis import Genesis
from cipherward_chain.orders import Order
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import TestChain, ca_certificate, make_genesis, seed_of

Transactions = Callable[[int], list[bytes]]

NEWCOMER = "hospital-e"
CHANGE = bytes(range(16))
FIELDS: dict[str, Value] = {
    "member": NEWCOMER,
    "name": "Hospital E",
    "index": 4,
    "public_key": SigningKey(seed_of(NEWCOMER)).public_key,
    "custodian_public_key": b"custodian",
    "ca_certificate": ca_certificate(NEWCOMER),
    "consensus_public_key": SigningKey(seed_of("consensus")).public_key,
    "node_id": bytes(20),
    "issuer_public_key": bytes(96),
}


def admitted(chain: TestChain, transactions: Transactions, **changes: Any) -> Admission:
    """Let a block admit somebody as its second order; return the proof."""
    other = chain.order(0, "seat_validator", member="hospital-d")
    fields = {**FIELDS, **changes}
    order = Order(chain.next_height(), 1, CHANGE, "membership", "admit_member", fields)
    block = chain.append(transactions(1), orders=[other, order])
    return Admission.of(chain.receipt(len(chain.blocks), 0), block)


def test_a_proven_admission_names_the_member_and_its_issuer(
    chain: TestChain, genesis: Genesis, transactions: Transactions
) -> None:
    proof = Admission.from_bytes(admitted(chain, transactions).to_bytes())
    found = proof.verify(genesis.trust_root(), NEWCOMER)
    assert (found.member.id, found.member.index) == (NEWCOMER, 4)
    assert found.member.public_key == FIELDS["public_key"]
    assert (found.issuer.member, found.issuer.public_key) == (NEWCOMER, bytes(96))
    assert found.change_id == CHANGE


def test_the_newcomer_gets_the_genesis_with_its_own_entries(
    chain: TestChain, genesis: Genesis, transactions: Transactions
) -> None:
    extended = admitted(chain, transactions).joined(genesis, NEWCOMER)
    assert set(extended.members) == {*genesis.members, NEWCOMER}
    assert extended.issuers[-1].member == NEWCOMER
    assert (extended.digest, extended.validators) == (genesis.digest, genesis.validators)


def test_nobody_is_admitted_by_the_proof_of_another(
    chain: TestChain, genesis: Genesis, transactions: Transactions
) -> None:
    proof = admitted(chain, transactions)
    for member in ("hospital-f", "hospital-d"):
        with pytest.raises(AdmissionRejected, match=member):
            proof.verify(genesis.trust_root(), member)


def test_an_admission_proves_nothing_under_another_genesis(
    chain: TestChain, transactions: Transactions
) -> None:
    other, _ = make_genesis(chain_id="another-chain")
    with pytest.raises(AdmissionRejected):
        admitted(chain, transactions).verify(other.trust_root(), NEWCOMER)


def other_orders(block: pb.ProvenBlock) -> None:
    block.orders[1] = block.orders[1].replace(b"Hospital E", b"Hospital F")


def no_orders(block: pb.ProvenBlock) -> None:
    del block.orders[:]


def other_header(block: pb.ProvenBlock) -> None:
    block.header, block.next_header = block.next_header, block.header


@pytest.mark.parametrize("change", [other_orders, no_orders, other_header])
def test_a_changed_block_proves_no_admission(
    chain: TestChain,
    genesis: Genesis,
    transactions: Transactions,
    change: Callable[[pb.ProvenBlock], None],
) -> None:
    proof = admitted(chain, transactions)
    block = pb.ProvenBlock.FromString(proof.block)
    change(block)
    with pytest.raises(AdmissionRejected):
        Admission.of(proof.receipt, block).verify(genesis.trust_root(), NEWCOMER)


def test_the_block_of_another_receipt_proves_no_admission(
    chain: TestChain, genesis: Genesis, transactions: Transactions
) -> None:
    proof = admitted(chain, transactions)
    later = chain.append(transactions(2)[1:])
    with pytest.raises(AdmissionRejected, match="not the one in the receipt"):
        Admission.of(proof.receipt, later).verify(genesis.trust_root(), NEWCOMER)


def test_an_order_without_its_fields_admits_nobody(
    chain: TestChain, genesis: Genesis, transactions: Transactions
) -> None:
    proof = admitted(chain, transactions, issuer_public_key=b"short")
    with pytest.raises(AdmissionRejected):
        proof.verify(genesis.trust_root(), NEWCOMER)


def test_a_member_key_of_another_length_admits_nobody(
    chain: TestChain, genesis: Genesis, transactions: Transactions
) -> None:
    proof = admitted(chain, transactions, public_key=b"short")
    with pytest.raises(AdmissionRejected, match=f"{NEWCOMER}: field public_key has not 32 bytes"):
        proof.verify(genesis.trust_root(), NEWCOMER)


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", json.dumps({"receipt": "??", "block": ""}).encode()]
)
def test_a_damaged_document_is_no_admission(raw: bytes) -> None:
    with pytest.raises(AdmissionRejected):
        Admission.from_bytes(raw)


def test_octets_that_are_no_block_prove_nothing(
    chain: TestChain, genesis: Genesis, transactions: Transactions
) -> None:
    proof = admitted(chain, transactions)
    for damaged in (Admission(b"\xff", proof.block), Admission(proof.receipt, b"\xff")):
        with pytest.raises(AdmissionRejected):
            damaged.verify(genesis.trust_root(), NEWCOMER)
