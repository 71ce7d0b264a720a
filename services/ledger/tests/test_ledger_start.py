"""Starting the process: what it needs, and one clear line for every reason not to start."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cipherward_kit.config import ENV_PREFIX
from cipherward_kit.datafolder import DataFolder
from cipherward_kit.errors import CannotStart
from cipherward_ledger.__main__ import serve_ledger
from cipherward_ledger.config import LedgerConfig

SECONDS = 30


@pytest.fixture
def settings(make_world: Any, tmp_path: Path) -> dict[str, str]:
    """What a ledger needs to start, in files."""
    world = make_world()
    shared = world.alliance.settings("hospital-a", "ledger")
    files = {
        "genesis_file": world.keys.document,
        "validator_key_file": world.keys.validator_seed,
        "member_key_file": world.keys.member_seeds["hospital-a"],
        "endpoints_file": endpoints(world.genesis.chain_id),
    }
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(0o600)
        shared[name] = path
    shared["data_dir"] = tmp_path / "data"
    return {name: str(value) for name, value in shared.items()}


def endpoints(chain_id: str, ledger_member: str = "hospital-a") -> bytes:
    nowhere = {
        name: {"listen": "127.0.0.1:9"} for name in ("ledger", "contract", "identity", "storage")
    }
    document = {
        "chain_id": chain_id,
        "ledger_member": ledger_member,
        "endpoints": {"hospital-a": nowhere, "hospital-b": nowhere},
    }
    return json.dumps(document).encode()


def start(settings: Mapping[str, str]) -> tuple[int, str]:
    """Run the process until it exits; return its status and what it says to the operator."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(ENV_PREFIX)}
    given = {ENV_PREFIX + name.upper(): value for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", "cipherward_ledger"],
        env=inherited | given,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode, done.stderr


def change(name: str, content: bytes, mode: int = 0o600) -> Callable[[dict[str, str]], None]:
    def apply(settings: dict[str, str]) -> None:
        Path(settings[name]).write_bytes(content)
        Path(settings[name]).chmod(mode)

    return apply


CASES: dict[str, tuple[Callable[[dict[str, str]], object], int, str]] = {
    "no genesis": (lambda s: s.update(genesis_file="/nowhere"), 11, "cannot be read"),
    "a genesis that is none": (change("genesis_file", b"{}"), 11, "the genesis file"),
    "no such member": (lambda s: s.update(member="hospital-x"), 11, "no member hospital-x"),
    "no endpoints": (change("endpoints_file", b"[]"), 12, "the endpoints file"),
    "another chain": (change("endpoints_file", endpoints("else")), 12, "of the chain else"),
    "another ledger": (
        change("endpoints_file", endpoints("test-chain", "hospital-b")),
        12,
        "hospital-b runs the ledger",
    ),
    "no contract": (
        change("endpoints_file", endpoints("test-chain").replace(b'"contract"', b'"compute"')),
        12,
        "runs no contract",
    ),
    "a short key": (change("member_key_file", bytes(31)), 10, "has not 32 bytes"),
    "an open key": (change("member_key_file", bytes(32), 0o644), 10, "open to others"),
    "another member's key": (change("member_key_file", bytes(32)), 10, "not the key of hospital-a"),
    "another validator": (change("validator_key_file", bytes(32)), 10, "one validator"),
    "no key": (lambda s: s.update(validator_key_file="/nowhere"), 10, "cannot be read"),
}


@pytest.mark.parametrize("name", CASES)
async def test_a_start_that_cannot_be_is_refused_with_one_clear_line(
    settings: dict[str, str], name: str
) -> None:
    """The process exits with the status and prints the line, as the kit's tests hold."""
    spoil, status, expected = CASES[name]
    spoil(settings)
    config = LedgerConfig.model_validate(settings)
    with pytest.raises(CannotStart) as refused:
        async with asyncio.timeout(SECONDS):
            await serve_ledger(config)
    said = str(refused.value)
    assert (refused.value.exit_status, len(said.splitlines())) == (status, 1), said
    assert expected in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "status", "expected"),
    [
        ({"genesis_file": "/nowhere"}, 11, "cannot be read"),
        ({"pending_max": "0"}, 2, "CIPHERWARD_PENDING_MAX"),
    ],
)
def test_a_process_that_cannot_start_says_so_and_exits(
    settings: dict[str, str], wrong: dict[str, str], status: int, expected: str
) -> None:
    code, said = start(settings | wrong)
    assert (code, len(said.splitlines())) == (status, 1), said
    assert expected in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_port_in_use_is_said(settings: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings["listen"] = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = start(settings)
    assert code == 3
    assert "CIPHERWARD_LISTEN" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_folder_that_another_process_uses_is_said(settings: dict[str, str]) -> None:
    with DataFolder(Path(settings["data_dir"]), "test-chain", b"genesis"):
        code, said = start(settings)
    assert code == 4
    assert "used by another process" in said


@pytest.mark.slow
def test_a_folder_of_another_chain_is_said(settings: dict[str, str]) -> None:
    with DataFolder(Path(settings["data_dir"]), "another-chain", b"genesis"):
        pass
    code, said = start(settings)
    assert code == 5
    assert "another-chain" in said


@pytest.mark.slow
def test_a_folder_of_another_genesis_with_this_chain_id_is_said(settings: dict[str, str]) -> None:
    with DataFolder(Path(settings["data_dir"]), "test-chain", b"genesis"):
        pass
    code, said = start(settings)
    assert code == 5
    assert "another chain that is called test-chain, too" in said
