"""Trust roots as files: one form, and what they begin with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cipherward_chain.root_file import ROOT_BYTES_MAX, RootFile, RootMalformed
from cipherward_chain.testing_quorum import QuorumChain
from cipherward_chain.trust import TrustPoint


@pytest.fixture
async def root(quorum: QuorumChain) -> RootFile:
    quorum.grow(5)
    genesis = RootFile.of_genesis(quorum.genesis)
    point = TrustPoint.of(await quorum.light_block(5))
    return RootFile(genesis.root, genesis.time_ns, point)


def test_a_root_with_and_without_a_checkpoint_is_read_as_it_was_written(root: RootFile) -> None:
    assert RootFile.parse(root.to_bytes()) == root
    plain = RootFile(root.root, root.time_ns)
    assert RootFile.parse(plain.to_bytes()) == plain


def test_verification_begins_at_the_checkpoint_or_else_at_the_genesis(root: RootFile) -> None:
    assert root.point.height == 5
    plain = RootFile(root.root, root.time_ns)
    assert plain.point.height == 0
    assert plain.point.time_ns == root.time_ns - 1


def documents(root: RootFile) -> dict[str, Any]:
    return json.loads(root.to_bytes())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", 2),
        ("chain_id", "No Chain"),
        ("engine", "paxos"),
        ("genesis_digest", "00"),
        ("genesis_time", "yesterday"),
        ("validators", []),
        ("validators", [{"public_key": "00" * 32, "power": 10}]),
        ("checkpoint", {}),
        ("more", 1),
    ],
)
def test_a_document_with_anything_wrong_is_refused(
    root: RootFile, name: str, value: object
) -> None:
    document = documents(root)
    document[name] = value
    with pytest.raises(RootMalformed):
        RootFile.parse(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("name", "value"),
    [("height", 0), ("header_hash", ""), ("time", ""), ("validators", []), ("more", 1)],
)
def test_a_checkpoint_with_anything_wrong_is_refused(
    root: RootFile, name: str, value: object
) -> None:
    document = documents(root)
    document["checkpoint"][name] = value
    with pytest.raises(RootMalformed):
        RootFile.parse(json.dumps(document).encode())


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff", bytes(ROOT_BYTES_MAX + 1)])
def test_what_is_no_document_is_refused(raw: bytes) -> None:
    with pytest.raises(RootMalformed):
        RootFile.parse(raw)
