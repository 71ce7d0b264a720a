"""Starting a ledger whose chain has a consensus node: one clear line for every reason not to."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cipherward_chain.testing import make_genesis
from cipherward_kit.errors import CannotStart
from cipherward_kit.process import config_faults
from cipherward_ledger.__main__ import serve_ledger
from cipherward_ledger.config import LedgerConfig

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
}


@pytest.mark.parametrize("name", CASES)
async def test_a_start_with_a_node_that_cannot_be_is_refused_with_one_clear_line(
    settings: dict[str, str], name: str
) -> None:
    spoil, status, expected = CASES[name]
    spoil(settings)
    config = LedgerConfig.model_validate(settings)
    with pytest.raises(CannotStart) as refused:
        async with asyncio.timeout(SECONDS):
            await serve_ledger(config)
    said = str(refused.value)
    assert (refused.value.exit_status, len(said.splitlines())) == (status, 1), said
    assert expected in said


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"retain_blocks": "999"}, "CIPHERWARD_RETAIN_BLOCKS: .*at least 1000"),
        ({"consensus_profile": "fast"}, "CIPHERWARD_CONSENSUS_PROFILE: "),
    ],
)
def test_a_setting_of_the_node_that_is_out_of_form_is_one_clear_line(
    settings: dict[str, str], wrong: dict[str, str], expected: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        LedgerConfig.model_validate(settings | wrong)
    (line,) = config_faults(refused.value)
    assert re.match(expected, line), line
