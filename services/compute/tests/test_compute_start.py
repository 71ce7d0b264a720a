"""What stops the service at its start, each with a cause and a status of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cipherward_chain.testing import make_genesis
from cipherward_compute.registry import (
    EndpointsUnusable,
    GenesisUnusable,
    read_endpoints,
    read_genesis,
)
from cipherward_compute.vault import CeremonyRoot, KeyFileUnusable, Vault, VaultCorrupt, read_key
from cipherward_kit.errors import CannotStart

ENDPOINTS = {
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
    path.write_bytes(make_genesis(4)[1].document)
    with pytest.raises(GenesisUnusable, match="no member"):
        read_genesis(path, "hospital-z")
    assert read_genesis(path, "hospital-d").chain_id == "test-chain"


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
    assert read_endpoints(path, "test-chain").ledger().listen == "127.0.0.1:4001"


def test_a_key_file_that_cannot_be_used_says_which(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(KeyFileUnusable, match="CIPHERWARD_DATA_KEY_FILE"):
        read_key(path, "CIPHERWARD_DATA_KEY_FILE")
    path.write_bytes(bytes(31))
    with pytest.raises(KeyFileUnusable, match="32 bytes"):
        read_key(path, "CIPHERWARD_DATA_KEY_FILE")


def test_every_cause_has_a_status_of_its_own() -> None:
    causes: list[type[CannotStart]] = [GenesisUnusable, EndpointsUnusable, KeyFileUnusable]
    assert len({cause.exit_status for cause in causes}) == len(causes)


def test_a_sealed_value_opens_in_its_place_and_unchanged_only() -> None:
    vault = Vault(b"k" * 32)
    sealed = vault.seal(b"value", b"table", b"row")
    assert vault.open(sealed, b"table", b"row") == b"value"
    for octets, place in (
        (sealed, (b"table", b"other")),
        (sealed, (b"tablerow",)),
        (sealed[:-1], (b"table", b"row")),
        (b"", (b"table", b"row")),
    ):
        with pytest.raises(VaultCorrupt):
            vault.open(octets, *place)
    for place_of_bit in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place_of_bit] ^= 1
        with pytest.raises(VaultCorrupt):
            vault.open(bytes(changed), b"table", b"row")


def test_a_seed_follows_from_root_study_ceremony_and_salt() -> None:
    root = CeremonyRoot(b"r" * 32)
    seeds = {
        root.secret_seed(b"s", b"c", b"salt"),
        root.secret_seed(b"t", b"c", b"salt"),
        root.secret_seed(b"s", b"d", b"salt"),
        root.secret_seed(b"s", b"c", b"other"),
        root.noise_seed(b"s", b"salt"),
        CeremonyRoot(b"q" * 32).secret_seed(b"s", b"c", b"salt"),
    }
    assert len(seeds) == 6
    assert root.secret_seed(b"s", b"c", b"salt") in seeds


def test_keys_are_in_no_text_of_the_objects_that_hold_them() -> None:
    key = b"k" * 32
    for holder in (Vault(key), CeremonyRoot(key)):
        assert "kkkk" not in repr(holder)
