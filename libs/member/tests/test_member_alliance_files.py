"""What stops a service at its start: each file's fault has a cause and a line for the operator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cipherward_chain.testing import make_genesis
from cipherward_kit.testing import TestAlliance
from cipherward_member.alliance_files import (
    read_endpoints,
    read_genesis,
    read_genesis_document,
    read_key,
    read_member_signer,
    trust_registry,
)
from cipherward_member.config import SigningServiceConfig
from cipherward_member.errors import EndpointsUnusable, GenesisUnusable, KeyUnusable

ENDPOINTS: dict[str, Any] = {
    "chain_id": "test-chain",
    "ledger_member": "hospital-a",
    "endpoints": {"hospital-a": {"ledger": {"listen": "127.0.0.1:4001"}}},
}


def test_a_genesis_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    path = tmp_path / "genesis.json"
    with pytest.raises(GenesisUnusable, match="cannot be read"):
        read_genesis(path, "hospital-a")
    path.write_bytes(b"{}")
    with pytest.raises(GenesisUnusable, match="is refused"):
        read_genesis(path, "hospital-a")
    document = make_genesis(4)[1].document
    path.write_bytes(document)
    with pytest.raises(GenesisUnusable, match="no member"):
        read_genesis(path, "hospital-z")
    assert read_genesis(path, "hospital-d").chain_id == "test-chain"
    assert read_genesis_document(path, "hospital-d")[1] == document


def test_endpoints_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    path = tmp_path / "alliance.json"
    with pytest.raises(EndpointsUnusable, match="cannot be read"):
        read_endpoints(path, "test-chain")
    path.write_text("[]")
    with pytest.raises(EndpointsUnusable, match="is refused"):
        read_endpoints(path, "test-chain")
    path.write_text(json.dumps(ENDPOINTS))
    with pytest.raises(EndpointsUnusable, match="of the chain test-chain"):
        read_endpoints(path, "another-chain")
    assert read_endpoints(path, "test-chain").of("hospital-a", "ledger").listen == "127.0.0.1:4001"


def test_endpoints_without_a_ledger_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "alliance.json"
    nobody = {"hospital-a": {"storage": {"listen": "127.0.0.1:4001"}}}
    path.write_text(json.dumps({**ENDPOINTS, "endpoints": nobody}))
    with pytest.raises(EndpointsUnusable, match="runs no ledger"):
        read_endpoints(path, "test-chain")


def test_a_key_file_that_cannot_be_used_says_which(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(KeyUnusable, match="CIPHERWARD_DATA_KEY_FILE"):
        read_key(path, 32, "data_key_file")
    for content in (b"", bytes(31), bytes(33), bytes(5000)):
        path.write_bytes(content)
        with pytest.raises(KeyUnusable, match="32 bytes"):
            read_key(path, 32, "data_key_file")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_key_file_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"k" * 32)
    path.chmod(0o600)
    assert read_key(path, 32, "data_key_file") == b"k" * 32
    path.chmod(mode)
    with pytest.raises(KeyUnusable, match="chmod 600"):
        read_key(path, 32, "data_key_file")


def test_no_refusal_shows_a_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"k" * 31)
    with pytest.raises(KeyUnusable) as caught:
        read_key(path, 32, "data_key_file")
    assert "kkkk" not in str(caught.value)


def test_a_member_signs_with_the_key_that_the_genesis_names(tmp_path: Path) -> None:
    genesis, keys = make_genesis(2)
    settings = TestAlliance(tmp_path, tuple(genesis.members)).settings("hospital-a", "storage")
    path = tmp_path / "member.key"
    settings |= {"member_key_file": path, "endpoints_file": tmp_path / "alliance.json"}
    config = SigningServiceConfig(**settings)
    for member, seed in keys.member_seeds.items():
        path.write_bytes(seed)
        path.chmod(0o600)
        if member == "hospital-a":
            read_member_signer(config, genesis)
        else:
            with pytest.raises(KeyUnusable, match="not the key of hospital-a"):
                read_member_signer(config, genesis)


def test_every_members_authority_is_trusted() -> None:
    genesis, _ = make_genesis(3)
    assert set(trust_registry(genesis).members) == set(genesis.members)
