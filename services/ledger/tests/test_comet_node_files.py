"""What a node starts from, and what it leaves to read."""

from __future__ import annotations

import base64
import json
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cipherward_chain.comet import address
from cipherward_chain.signatures import SigningKey, verify_signature
from cipherward_chain.testing import seed_of
from cipherward_ledger.comet.errors import NodeFilesUnusable
from cipherward_ledger.comet.node_config import NodePeer, NodePlan, Profile, config_toml
from cipherward_ledger.comet.node_files import NodeHome, NodeKeys
from cipherward_ledger.comet.node_log import FILE_BYTES_MAX, NodeLog

KEYS = NodeKeys(seed_of("votes"), seed_of("connections"))
DOCUMENT = b'{"the genesis": "byte for byte"}\n'
PEERS = [NodePeer(bytes([1] * 20), "node.b:26656"), NodePeer(bytes([2] * 20), "")]


def plan(profile: Profile = "latency") -> NodePlan:
    return NodePlan(
        moniker="hospital-a",
        p2p_listen="10.0.0.1:26656",
        profile=profile,
        heartbeat_seconds=10,
        transaction_bytes_max=65_536,
        pending=20_000,
        pending_bytes=1 << 26,
    )


def config(profile: Profile = "latency") -> dict[str, Any]:
    return tomllib.loads(config_toml(plan(profile), PEERS))


@pytest.fixture
def home(tmp_path: Path) -> NodeHome:
    made = NodeHome(tmp_path / "node")
    made.prepare(DOCUMENT, KEYS, 0)
    return made


def test_the_node_has_no_open_slot_and_knows_its_peers_only() -> None:
    p2p = config()["p2p"]
    first, second = "01" * 20, "02" * 20
    assert p2p["laddr"] == "tcp://10.0.0.1:26656"
    assert (p2p["pex"], p2p["max_num_inbound_peers"], p2p["max_num_outbound_peers"]) == (
        False,
        0,
        0,
    )
    assert p2p["persistent_peers"] == f"{first}@node.b:26656"  # the other's address is not known
    assert p2p["unconditional_peer_ids"] == p2p["private_peer_ids"] == f"{first},{second}"
    assert config()["filter_peers"] is True


def test_the_throughput_profile_bounds_gossip_and_has_as_many_slots_as_members() -> None:
    found = config("throughput")
    assert found["filter_peers"] is True
    assert found["p2p"]["unconditional_peer_ids"] == ""  # else the bound would not hold
    assert found["p2p"]["max_num_inbound_peers"] == len(PEERS)
    assert found["mempool"]["experimental_max_gossip_connections_to_persistent_peers"] == 1
    assert found["consensus"]["timeout_commit"] != config()["consensus"]["timeout_commit"]


def test_the_rpc_is_a_socket_in_the_folder_and_nothing_else_listens() -> None:
    found = config()
    assert found["rpc"]["laddr"].startswith("unix://")
    assert "/" not in found["rpc"]["laddr"].removeprefix("unix://")
    assert found["rpc"]["pprof_laddr"] == ""
    assert found["instrumentation"]["prometheus"] is False
    assert found["rpc"].get("unsafe", False) is False


def test_an_idle_chain_has_a_block_every_heartbeat() -> None:
    consensus = config()["consensus"]
    assert consensus["create_empty_blocks"] is True
    assert consensus["create_empty_blocks_interval"] == "10s"


def test_the_genesis_is_copied_byte_for_byte(home: NodeHome) -> None:
    assert (home.config / "genesis.json").read_bytes() == DOCUMENT


def test_the_keys_are_in_gos_form_and_for_their_owner_only(home: NodeHome) -> None:
    key = json.loads(home.validator_key.read_bytes())
    pair = base64.b64decode(key["priv_key"]["value"])
    public = base64.b64decode(key["pub_key"]["value"])
    assert pair == KEYS.consensus + public
    assert key["address"] == address(public).hex().upper()
    verify_signature(public, b"octets", SigningKey(KEYS.consensus).sign(b"octets"))
    node = json.loads((home.config / "node_key.json").read_bytes())
    assert base64.b64decode(node["priv_key"]["value"])[:32] == KEYS.node
    for file in home.path.rglob("*"):
        assert stat.S_IMODE(file.stat().st_mode) == (0o700 if file.is_dir() else 0o600)


def test_what_was_signed_is_never_written_again(home: NodeHome) -> None:
    assert json.loads(home.signed.read_bytes()) == {"height": "0", "round": 0, "step": 0}
    home.signed.write_bytes(b"the node's own")
    home.prepare(DOCUMENT, KEYS, 7)
    assert home.signed.read_bytes() == b"the node's own"


def test_a_new_folder_signs_nothing_up_to_what_is_recorded(tmp_path: Path) -> None:
    home = NodeHome(tmp_path / "node")
    home.prepare(DOCUMENT, KEYS, 7)
    assert json.loads(home.signed.read_bytes()) == {"height": "7", "round": 0, "step": 3}


def test_blocks_without_a_record_of_what_was_signed_are_refused(home: NodeHome) -> None:
    home.blocks.mkdir()
    home.signed.unlink()
    with pytest.raises(NodeFilesUnusable, match="sign a height twice"):
        home.prepare(DOCUMENT, KEYS, 7)


def test_a_destroyed_key_is_in_neither_file(home: NodeHome, tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.write_bytes(KEYS.consensus)
    kept = seed.with_name("still-open")
    kept.hardlink_to(seed)  # the same blocks under another name: overwritten, not only unlinked
    assert home.destroy_key(seed) == []
    assert not seed.exists()
    assert not home.validator_key.exists()
    assert kept.read_bytes() == bytes(32)
    assert home.destroy_key(seed) == []  # again changes nothing


def test_a_key_that_cannot_be_destroyed_is_named(home: NodeHome, tmp_path: Path) -> None:
    seed = tmp_path / "a folder, as a mounted secret might be"
    seed.mkdir()
    assert home.destroy_key(seed) == [seed]
    assert not home.validator_key.exists()


SENTENCES = {
    b"panic: state.AppHash does not match AppHash after replay. Got 00, expected 01.\n": (
        "state.AppHash does not match AppHash after replay",
        True,
    ),
    b'E[2026-11-22|10:00:00.000] CONSENSUS FAILURE!!!   module=consensus err="wrong app hash" '
    b'stack="goroutine 7"\n': ("wrong app hash", True),
    b'E[2026-11-22|10:00:00.000] CONSENSUS FAILURE!!!   module=consensus err="write cs.wal/wal: '
    b'no space left on device" stack="goroutine 7"\n': (
        "write cs.wal/wal: no space left on device",
        True,
    ),
    b"ERROR: failed to create node: listen tcp: address already in use\n": (
        "failed to create node: listen tcp: address already in use",
        False,
    ),
    b"E[2026-11-22|10:00:00.000] Stopping peer for error module=p2p err=EOF\n": ("", False),
    b"E[2026-11-22|10:00:00.000] found conflicting vote from ourselves; did you unsafe_reset a "
    b"validator? module=consensus height=7 round=0 type=2\n": (
        "found conflicting vote from ourselves",
        True,
    ),
}


@pytest.mark.parametrize("line", SENTENCES)
def test_the_sentence_with_which_a_node_ends_is_found(tmp_path: Path, line: bytes) -> None:
    log = NodeLog(tmp_path / "node.log")
    log.begin()
    log.write(line)
    assert (log.sentence, log.hopeless) == SENTENCES[line]
    assert log.differs == (b"hash" in line.lower())
    assert log.shared == (b"ourselves" in line)
    log.begin()
    assert (log.sentence, log.hopeless, log.differs, log.shared) == ("", False, False, False)
    log.close()
    assert (tmp_path / "node.log").read_bytes() == line


def test_the_log_is_bounded(tmp_path: Path) -> None:
    log = NodeLog(tmp_path / "node.log")
    line = b"x" * 99_999 + b"\n"
    for _ in range(3 * FILE_BYTES_MAX // len(line)):
        log.write(line)
    log.close()
    files = sorted(file.name for file in tmp_path.iterdir())
    assert files == ["node.log", "node.log.1"]
    assert all(file.stat().st_size <= FILE_BYTES_MAX for file in tmp_path.iterdir())


def test_a_line_that_a_full_disk_does_not_take_is_still_read() -> None:
    log = NodeLog(Path("/dev/full"))
    log.begin()
    log.write(b"panic: no space left on device\n")
    assert log.sentence == "no space left on device"
    log.close()
