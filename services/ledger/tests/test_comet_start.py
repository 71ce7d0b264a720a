"""Starting a ledger whose chain has a consensus node: one clear line for every reason not to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cipherward_chain.testing import make_genesis
from cipherward_kit.config import ENV_PREFIX

SECONDS = 30
MEMBER = "hospital-a"


@pytest.fixture
def settings(alliance: Any, tmp_path: Path) -> dict[str, str]:
    """What a ledger with a node needs to start; the program is one that is everywhere."""
    authorities = {m: ca.certificate_pem.decode() for m, ca in alliance.authorities.items()}
    genesis, keys = make_genesis(engine="cometbft", ca_certificates=authorities)
    nowhere = {name: {"listen": "127.0.0.1:9"} for name in ("ledger", "contract", "identity")}
    endpoints = {
        "chain_id": genesis.chain_id,
        "ledger_member": MEMBER,
        "endpoints": {MEMBER: nowhere},
    }
    files = {
        "genesis_file": keys.document,
        "validator_key_file": keys.validator_seeds[MEMBER],
        "node_key_file": keys.node_seeds[MEMBER],
        "member_key_file": keys.member_seeds[MEMBER],
        "endpoints_file": json.dumps(endpoints).encode(),
    }
    found: dict[str, object] = dict(alliance.settings(MEMBER, "ledger"))
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(0o600)
        found[name] = path
    found |= {
        "data_dir": tmp_path / "data",
        "p2p_listen": "127.0.0.1:0",
        "cometbft_binary": "/bin/true",
    }
    return {name: str(value) for name, value in found.items()}


def start(settings: dict[str, str]) -> tuple[int, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(ENV_PREFIX)}
    done = subprocess.run(
        [sys.executable, "-m", "cipherward_ledger"],
        env=inherited | {ENV_PREFIX + name.upper(): value for name, value in settings.items()},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode, done.stderr


Spoil = Callable[[dict[str, str]], object]
CASES: dict[str, tuple[Spoil, int, str]] = {
    "no node key": (lambda s: s.pop("node_key_file"), 37, "CIPHERWARD_NODE_KEY_FILE"),
    "nowhere to listen": (lambda s: s.pop("p2p_listen"), 37, "CIPHERWARD_P2P_LISTEN"),
    "no program": (
        lambda s: s.update(cometbft_binary="cometbft-that-is-not-there"),
        37,
        "CIPHERWARD_COMETBFT_BINARY",
    ),
    "another consensus key": (
        lambda s: Path(s["validator_key_file"]).write_bytes(bytes(32)),
        10,
        "not the consensus key of hospital-a",
    ),
    "another node key": (
        lambda s: Path(s["node_key_file"]).write_bytes(bytes(32)),
        10,
        "not the node key of hospital-a",
    ),
    "an open node key": (lambda s: Path(s["node_key_file"]).chmod(0o644), 10, "open to others"),
    "too few blocks kept": (lambda s: s.update(retain_blocks="999"), 2, "at least 1000"),
    "another profile": (lambda s: s.update(consensus_profile="fast"), 2, "CONSENSUS_PROFILE"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_start_with_a_node_that_cannot_be_is_refused_with_one_clear_line(
    settings: dict[str, str], name: str
) -> None:
    spoil, status, expected = CASES[name]
    spoil(settings)
    code, said = start(settings)
    assert (code, len(said.splitlines())) == (status, 1), said
    assert expected in said
