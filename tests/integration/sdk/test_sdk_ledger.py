"""Acts through the SDK, against a real chain: believed with a receipt, and only then."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any

import pytest

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.acts import register_pseudonym
from cipherward_chain.transactions import build_transaction, parse_transaction
from cipherward_client.alliance.parts import Parts
from cipherward_client.sdk.errors import ActRefused, ClientError
from cipherward_client.sdk.ledger import ProvenAct, Submitter
from cipherward_client.sdk.receipts import (
    read_receipt,
    receipt_view,
    verify_receipt_file,
    write_receipt,
)
from cipherward_client.sdk.signing import PresentationSigner
from cipherward_client.wallet.scopes import record_scope

Town = Any  # conftest's; test modules cannot import it

TICK = chain_pb.Act(tick=chain_pb.Tick())


async def test_the_same_bytes_again_are_the_same_act(town: Town) -> None:
    hospital = await town.hospital("a")
    submitter = Submitter(hospital.alliance)
    transaction = submitter.build([TICK], hospital.signer)
    first, second = await asyncio.gather(*(submitter.submit_built(transaction) for _ in range(2)))
    assert first == second
    assert await Submitter(town.alliance).receipt(first.transaction_id) == first


async def test_hundreds_of_acts_are_proven_each_with_its_own_outcome(town: Town) -> None:
    hospital = await town.hospital("a")
    submitter = Submitter(hospital.alliance)
    made = [submitter.build([TICK], hospital.signer) for _ in range(300)]
    unknown = chain_pb.Transition(instance_id=bytes(16), transition="open", arguments=b"\xa0")
    made[7] = submitter.build([chain_pb.Act(transition=unknown)], hospital.signer)
    made[150] = made[150][:-1] + bytes((made[150][-1] ^ 1,))  # its signature is wrong
    told: list[tuple[str, int, int]] = []

    def progress(stage: str, done: int, total: int) -> None:
        told.append((stage, done, total))

    outcomes = await submitter.submit_many(made, progress=progress)
    assert len(outcomes) == 300
    for place, (outcome, transaction) in enumerate(zip(outcomes, made, strict=True)):
        if place == 150:
            assert isinstance(outcome, ClientError)
            assert outcome.reason == "AUTHORIZATION_REJECTED"
            continue
        assert isinstance(outcome, ProvenAct)
        assert outcome.transaction_id == parse_transaction(transaction).id
        assert outcome.result.applied == (place != 7)
    assert ("proven", 299, 300) in told
    refused = outcomes[7]
    assert isinstance(refused, ProvenAct)
    with pytest.raises(ActRefused) as named:
        refused.require_applied()
    assert named.value.reason == "INSTANCE_UNKNOWN"


async def test_an_expired_or_foreign_transaction_is_not_waited_for(town: Town) -> None:
    hospital = await town.hospital("a")
    submitter, now = Submitter(hospital.alliance), int(hospital.alliance.now())
    for chain_id, expires_at, reason in (
        (hospital.alliance.chain_id, now - 10, "TRANSACTION_EXPIRED"),
        (hospital.alliance.chain_id, now + 100_000, "EXPIRY_TOO_FAR"),
        ("elsewhere", now + 60, "WRONG_CHAIN"),
    ):
        transaction = build_transaction(
            [TICK], chain_id=chain_id, expires_at=expires_at, signer=hospital.signer
        )
        with pytest.raises(ClientError) as told:
            await submitter.submit_built(transaction)
        assert told.value.reason == reason


async def test_a_presentation_authorises_its_own_act_only(town: Town) -> None:
    wallet = await town.person("a")
    scope, other = (record_scope(secrets.token_bytes(16)) for _ in range(2))
    credential = wallet.credential_for(scope)
    act = register_pseudonym(town.alliance.chain_id, scope, wallet.pseudonym_seed(scope))
    submitter = Submitter(town.alliance)
    with pytest.raises(ClientError) as told:
        await submitter.submit([act], PresentationSigner(credential, other))
    assert told.value.reason == "AUTHORIZATION_REJECTED"
    mine = submitter.build([act], PresentationSigner(credential, scope))
    theirs = submitter.build([act], PresentationSigner(credential, scope))
    swapped = chain_pb.Transaction(
        body=chain_pb.Transaction.FromString(mine).body,
        authorization=chain_pb.Transaction.FromString(theirs).authorization,
    )
    with pytest.raises(ClientError) as told:
        await submitter.submit_built(swapped.SerializeToString())
    assert told.value.reason == "AUTHORIZATION_REJECTED"


async def test_a_receipt_file_verifies_offline_and_no_bit_of_it_may_change(
    town: Town, parts: Parts, tmp_path: Path
) -> None:
    hospital = await town.hospital("a")
    proven = await Submitter(hospital.alliance).submit([TICK], hospital.signer)
    path, genesis = tmp_path / "receipt", town.folder.genesis_file
    write_receipt(path, proven.receipt)
    assert read_receipt(path) == proven.receipt
    view = receipt_view(verify_receipt_file(path, genesis))
    assert view["transaction_id"] == proven.transaction_id.hex()
    assert view["authorised_by"] == "member hospital-a"
    assert view["acts"] == [{"act": "tick"}]
    assert (view["applied"], view["engine"]) == (True, parts.engine)
    for place in range(0, len(proven.receipt), 11):
        changed = bytearray(proven.receipt)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ClientError) as told:
            verify_receipt_file(path, genesis)
        assert told.value.reason == "RECEIPT_REJECTED"


async def test_a_receipt_proves_nothing_under_another_genesis(town: Town, tmp_path: Path) -> None:
    hospital = await town.hospital("a")
    proven = await Submitter(hospital.alliance).submit([TICK], hospital.signer)
    path, foreign = tmp_path / "receipt", tmp_path / "genesis.json"
    write_receipt(path, proven.receipt)
    text = town.folder.genesis_file.read_text()
    foreign.write_text(text.replace(town.alliance.chain_id, "elsewhere"))
    with pytest.raises(ClientError) as told:
        verify_receipt_file(path, foreign)
    assert told.value.reason == "RECEIPT_REJECTED"
