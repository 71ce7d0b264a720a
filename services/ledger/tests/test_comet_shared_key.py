"""A member that runs twice: its node is shown a vote of its own key that it has not made."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cipherward_ledger.comet.errors import ConsensusKeyShared
from cipherward_ledger.comet.node import Node
from cipherward_ledger.comet.node_files import NodeHome
from cipherward_ledger.comet.node_rpc import open_node_rpc

SECONDS = 20
# What CometBFT 0.40 says (consensus/state.go), and that it goes on as if nothing were.
PROGRAM = """#!/bin/sh
echo 'E[2026-11-23|14:00:00.000] found conflicting vote from ourselves; did you unsafe_reset a \
validator? module=consensus height=7 round=0 type=2'
exec sleep 600
"""


@pytest.mark.slow
async def test_a_ledger_whose_consensus_key_another_uses_ends_and_says_so(tmp_path: Path) -> None:
    home = NodeHome(tmp_path / "node")
    home.path.mkdir()
    program = tmp_path / "node.sh"
    program.write_text(PROGRAM)
    program.chmod(0o700)
    async with open_node_rpc(home.path) as rpc, asyncio.timeout(SECONDS):
        node = Node(program, home, rpc, lambda _status: None)
        with pytest.raises(ConsensusKeyShared, match="installed twice"):
            await node.run()
