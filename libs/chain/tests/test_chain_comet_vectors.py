"""Blocks that CometBFT itself made: our hashes, signed bytes and serialised forms are its own.

Source of the vectors: five consecutive blocks of a four-validator chain, CometBFT v0.40.0, as its
RPC answered (genesis, commit, validators, block, block_results).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.comet import (
    Validator,
    ValidatorSet,
    block_id,
    commit_hash,
    consensus_hash,
    data_hash,
    empty_commit,
    evidence_hash,
    header_hash,
    parse_commit,
    parse_header,
    results_hash,
)
from cipherward_chain.light import check_next, verify_commit
from cipherward_chain.light_block import LightBlock
from cipherward_chain.light_skipping import verify_step
from cipherward_chain.merkle import leaf_hash, prove, root_from_proof
from cipherward_chain.rejections import CommitRejected, ValidatorsDiffer
from cipherward_chain.rfc3339 import parse_time
from cipherward_chain.trust import TrustPoint
from cipherward_chain.wire import exact_bytes, timestamp_of

REPOSITORY = Path(__file__).resolve().parents[3]
FOLDER = Path(
    os.environ.get("CIPHERWARD_COMETBFT_VECTORS", REPOSITORY / "../shared/vectors/cometbft")
)
FILE = FOLDER / "blocks-v0.40.0.json"


@dataclass(frozen=True)
class Recorded:
    header: comet.Header
    commit: comet.Commit
    last_commit: comet.Commit
    validators: ValidatorSet
    transactions: list[bytes]
    results: list[bytes]
    app_hash: bytes


def _block_id(item: dict[str, Any]) -> comet.BlockId:
    parts = comet.PartSetHeader(
        total=item["parts"]["total"], hash=bytes.fromhex(item["parts"]["hash"])
    )
    return comet.BlockId(hash=bytes.fromhex(item["hash"]), part_set_header=parts)


HASHES = (
    "last_commit_hash",
    "data_hash",
    "validators_hash",
    "next_validators_hash",
    "consensus_hash",
    "app_hash",
    "last_results_hash",
    "evidence_hash",
    "proposer_address",
)


def _header(item: dict[str, Any]) -> comet.Header:
    version = item["version"]
    return comet.Header(
        version=comet.Consensus(block=int(version["block"]), app=int(version.get("app", 0))),
        chain_id=item["chain_id"],
        height=int(item["height"]),
        time=timestamp_of(parse_time(item["time"])),
        last_block_id=_block_id(item["last_block_id"]),
        **{name: bytes.fromhex(item[name]) for name in HASHES},
    )


def _commit(item: dict[str, Any]) -> comet.Commit:
    if not item["signatures"]:
        return empty_commit()
    return comet.Commit(
        height=int(item["height"]),
        round=item["round"],
        block_id=_block_id(item["block_id"]),
        signatures=[
            comet.CommitSig(
                block_id_flag=s["block_id_flag"],
                validator_address=bytes.fromhex(s["validator_address"]),
                timestamp=timestamp_of(parse_time(s["timestamp"])),
                signature=base64.b64decode(s["signature"] or ""),
            )
            for s in item["signatures"]
        ],
    )


def _result(item: dict[str, Any]) -> bytes:
    return exact_bytes(
        comet.ExecTxResult(
            code=item.get("code", 0),
            data=base64.b64decode(item.get("data") or ""),
            gas_wanted=int(item.get("gas_wanted", 0)),
            gas_used=int(item.get("gas_used", 0)),
        )
    )


def _list(item: list[Any] | None) -> list[Any]:
    """What Go leaves out when it is empty, it writes as null."""
    return item or []


def _recorded(item: dict[str, Any]) -> Recorded:
    signed, block = item["commit"]["signed_header"], item["block"]["block"]
    return Recorded(
        header=_header(signed["header"]),
        commit=_commit(signed["commit"]),
        last_commit=_commit(block["last_commit"]),
        validators=ValidatorSet(
            tuple(
                Validator(base64.b64decode(v["pub_key"]["value"]), int(v["voting_power"]))
                for v in item["validators"]["validators"]
            )
        ),
        transactions=[base64.b64decode(t) for t in _list(block["data"]["txs"])],
        results=[_result(r) for r in _list(item["results"]["txs_results"])],
        app_hash=base64.b64decode(item["results"]["app_hash"]),
    )


@pytest.fixture(scope="module")
def blocks() -> list[Recorded]:
    if not FILE.is_file():
        if os.environ.get("CIPHERWARD_REQUIRE_VECTORS") == "1":
            pytest.fail("the recorded CometBFT blocks are required and not there")
        pytest.skip("no recorded CometBFT blocks; CIPHERWARD_COMETBFT_VECTORS names them")
    return [_recorded(item) for item in json.loads(FILE.read_text())["blocks"]]


def test_every_header_has_the_hash_that_its_validators_committed(blocks: list[Recorded]) -> None:
    for block in blocks:
        assert header_hash(block.header) == block.commit.block_id.hash


def test_every_commit_verifies_also_with_an_absent_validator(blocks: list[Recorded]) -> None:
    for block in blocks:
        verify_commit(block.header, block.commit, block.validators)
    flags = {s.block_id_flag for block in blocks for s in block.commit.signatures}
    assert flags == {comet.BLOCK_ID_FLAG_COMMIT, comet.BLOCK_ID_FLAG_ABSENT}


def test_every_header_follows_the_one_before(blocks: list[Recorded]) -> None:
    for before, after in pairwise(blocks):
        check_next(before.header, after.header, before.header.chain_id)


def test_every_hash_in_a_header_is_recomputed(blocks: list[Recorded]) -> None:
    for block in blocks:
        header = block.header
        assert data_hash(block.transactions) == header.data_hash
        assert commit_hash(block.last_commit) == header.last_commit_hash
        assert block.validators.hash() == header.validators_hash
        assert evidence_hash() == header.evidence_hash
        assert consensus_hash(3_145_728, -1) == header.consensus_hash  # as in its genesis


def test_results_and_state_are_certified_by_the_next_header(blocks: list[Recorded]) -> None:
    for before, after in pairwise(blocks):
        assert results_hash(before.results) == after.header.last_results_hash
        assert before.app_hash == after.header.app_hash


def test_the_serialised_block_is_cometbfts_own_bytes(blocks: list[Recorded]) -> None:
    """The part set is over those bytes: one wrong byte, or a message left out, changes it."""
    for block in blocks:
        message = comet.Block(header=block.header, last_commit=block.last_commit)
        message.data.SetInParent()
        message.data.txs.extend(block.transactions)
        message.evidence.SetInParent()
        assert block_id(block.header, exact_bytes(message)) == block.commit.block_id


def test_headers_and_commits_come_back_from_their_bytes(blocks: list[Recorded]) -> None:
    for block in blocks:
        assert parse_header(exact_bytes(block.header)) == block.header
        assert parse_commit(exact_bytes(block.commit)) == block.commit
        assert ValidatorSet.from_bytes(block.validators.to_bytes()) == block.validators


def test_every_transaction_is_included(blocks: list[Recorded]) -> None:
    proven = 0
    for block in blocks:
        hashes = [hashlib.sha256(t).digest() for t in block.transactions]
        for index, hashed in enumerate(hashes):
            found = root_from_proof(leaf_hash(hashed), index, len(hashes), prove(hashes, index))
            assert found == block.header.data_hash
            proven += 1
    assert proven == 19


def test_a_recorded_commit_with_a_flipped_bit_is_rejected(blocks: list[Recorded]) -> None:
    for block in blocks:
        for signature in range(len(block.commit.signatures)):
            forged = comet.Commit()
            forged.CopyFrom(block.commit)
            octets = bytearray(forged.signatures[signature].signature or b"\0")
            octets[0] ^= 1
            forged.signatures[signature].signature = bytes(octets)
            with pytest.raises(CommitRejected):
                verify_commit(block.header, forged, block.validators)


def test_a_recorded_block_does_not_verify_for_other_validators(blocks: list[Recorded]) -> None:
    others = ValidatorSet(blocks[0].validators.validators[:3])
    with pytest.raises(ValidatorsDiffer):
        verify_commit(blocks[0].header, blocks[0].commit, others)


def test_recorded_headers_are_believed_by_skipping_and_one_by_one(blocks: list[Recorded]) -> None:
    light = [LightBlock.of(b.header, b.commit, b.validators) for b in blocks]
    for block in light:
        assert LightBlock.parse(block.raw, block.header.chain_id) == block
    now_ns = light[-1].time_ns
    assert verify_step(TrustPoint.of(light[0]), light[-1], now_ns) == TrustPoint.of(light[-1])
    trusted = TrustPoint.of(light[0])
    for block in light[1:]:
        trusted = verify_step(trusted, block, now_ns)
    assert trusted.height == light[-1].height
