"""A member that joined after the genesis starts with the proof that the chain let it in."""

from __future__ import annotations

from pathlib import Path

import pytest

from cipherward.chain.v1 import transaction_pb2 as tx
from cipherward_chain.admission import Admission
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.canonical import Value
from cipherward_chain.orders import Order
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import TestChain, ca_certificate, make_genesis, seed_of
from cipherward_chain.transactions import build_transaction
from cipherward_member.alliance_files import read_genesis, read_genesis_document, trust_registry
from cipherward_member.errors import GenesisUnusable

NEWCOMER = "hospital-e"


def folder_with_proof(folder: Path) -> Path:
    """Write a genesis and, beside it, the proof that hospital-e was admitted; return the former."""
    genesis, keys = make_genesis()
    chain = TestChain(genesis, keys)
    fields: dict[str, Value] = {
        "member": NEWCOMER,
        "name": "Hospital E",
        "index": 4,
        "public_key": SigningKey(seed_of(NEWCOMER)).public_key,
        "custodian_public_key": b"custodian",
        "ca_certificate": ca_certificate(NEWCOMER),
        "consensus_public_key": b"",
        "node_id": b"",
        "issuer_public_key": bytes(96),
    }
    order = Order(chain.next_height(), 0, bytes(16), "membership", "admit_member", fields)
    transaction = build_transaction(
        [tx.Act(tick=tx.Tick())],
        chain_id=genesis.chain_id,
        expires_at=genesis.time_ns // 10**9 + 60,
        signer=MemberSigner("hospital-a", keys.member_seeds["hospital-a"]),
    )
    block = chain.append([transaction], orders=[order])
    (folder / "genesis.json").write_bytes(keys.document)
    (folder / "admissions").mkdir()
    proof = Admission.of(chain.receipt(1, 0), block)
    (folder / "admissions" / f"{NEWCOMER}.json").write_bytes(proof.to_bytes())
    return folder / "genesis.json"


def test_a_newcomer_is_in_the_genesis_that_it_starts_with(tmp_path: Path) -> None:
    path = folder_with_proof(tmp_path)
    genesis, document = read_genesis_document(path, NEWCOMER)
    assert document == path.read_bytes()
    assert genesis.members[NEWCOMER].public_key == SigningKey(seed_of(NEWCOMER)).public_key
    assert NEWCOMER in trust_registry(genesis).members
    assert genesis.issuers[-1].member == NEWCOMER


def test_the_others_start_with_the_genesis_as_it_is(tmp_path: Path) -> None:
    assert NEWCOMER not in read_genesis(folder_with_proof(tmp_path), "hospital-a").members


def test_a_newcomer_without_a_proof_is_told_where_it_should_be(tmp_path: Path) -> None:
    path = folder_with_proof(tmp_path)
    with pytest.raises(GenesisUnusable, match=r"admissions/hospital-f\.json"):
        read_genesis(path, "hospital-f")


def test_a_proof_of_another_or_a_damaged_one_lets_nobody_in(tmp_path: Path) -> None:
    path = folder_with_proof(tmp_path)
    proof = tmp_path / "admissions" / f"{NEWCOMER}.json"
    (tmp_path / "admissions" / "hospital-f.json").write_bytes(proof.read_bytes())
    with pytest.raises(GenesisUnusable, match="proves no admission"):
        read_genesis(path, "hospital-f")
    proof.write_bytes(proof.read_bytes()[:-10])
    with pytest.raises(GenesisUnusable, match="proves no admission"):
        read_genesis(path, NEWCOMER)
