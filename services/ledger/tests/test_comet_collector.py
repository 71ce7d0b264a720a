"""What is decided is held to the node's own votes when it is recorded."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cipherward.comet.v1 import abci_pb2 as abci
from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.comet import parse_commit, parse_header
from cipherward_chain.testing import make_genesis
from cipherward_chain.wire import exact_bytes
from cipherward_kit.testing import eventually
from cipherward_ledger.comet.collector import Collector
from cipherward_ledger.comet.errors import ConsensusKeyShared
from cipherward_ledger.comet.execution import ToldBlock
from cipherward_ledger.comet.node_files import SIGNED_PRECOMMIT, NodeHome
from cipherward_ledger.comet.node_rpc import Certified, NodeRefuses
from cipherward_ledger.comet.signing_state import SigningState
from cipherward_ledger.testing_chain import Decided, DecidedChain, Desk, open_desk

GENESIS, KEYS = make_genesis(members=4, engine="cometbft")
OWN = GENESIS.validators.validators[0].address
LONG_AGO = 0
SECONDS = 20


class Node:
    """Answers commits: as it saw them itself, and once asked again as the next block has them."""

    def __init__(self, folder: Path) -> None:
        self.home = NodeHome(folder)
        self.home.signed.parent.mkdir(parents=True)
        self.chain = DecidedChain(GENESIS, KEYS)
        self.in_next: dict[int, comet.Commit] = {}
        self.pruned = False
        self._seen: set[int] = set()

    async def commits(self, heights: Sequence[int]) -> list[Certified]:
        return [self._certified(height) for height in heights]

    def _certified(self, height: int) -> Certified:
        block = self.chain.blocks[height - 1].block
        again = height in self._seen
        self._seen.add(height)
        if again and self.pruned:
            raise NodeRefuses(f"height {height} is not available")
        kept = self.in_next.get(height) if again else None
        commit = block.commit if kept is None else exact_bytes(kept)
        return Certified(parse_header(block.header), block.header, commit)

    def decide(self) -> Decided:
        """Decide a block that the node has voted for."""
        decided = self.chain.decide()
        signature = base64.b64encode(own_vote(decided).signature).decode()
        place = {"height": str(decided.block.height), "round": 0, "step": SIGNED_PRECOMMIT}
        self.home.signed.write_text(json.dumps({**place, "signature": signature}))
        return decided


def own_vote(decided: Decided) -> comet.CommitSig:
    votes = parse_commit(decided.block.commit).signatures
    return next(one for one in votes if one.validator_address == OWN)


@asynccontextmanager
async def collecting(folder: Path, node: Node) -> AsyncGenerator[tuple[Desk, Any]]:
    """Run a collector; give what it records, and what has a block decided and executed."""
    signing = SigningState(node.home, OWN, fresh=False, began_ns=LONG_AGO)
    async with open_desk(folder, GENESIS) as desk:
        rpc: Any = node
        nobody: Any = None  # contract is asked for what was executed before a restart only
        evidence = folder / "evidence"
        collector = Collector(rpc, nobody, desk.recorder, GENESIS.validators, evidence, signing)
        collector.node_changed(True)

        async def execute() -> None:
            decided = node.decide()
            height = decided.block.height
            await signing.look(abci.RequestFinalizeBlock(height=height))
            told = ToldBlock(height, decided.block.time_ns, decided.block.transactions)
            collector.decided(told, decided.executed)

        running = asyncio.create_task(collector.run())
        try:
            yield desk, (execute, running)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("pruned", [False, True])
async def test_blocks_with_the_nodes_own_votes_are_recorded(tmp_path: Path, pruned: bool) -> None:
    node = Node(tmp_path / "node")
    node.pruned = pruned  # a node may have dropped the block before already
    async with collecting(tmp_path, node) as (desk, (execute, running)):
        for _ in range(5):
            await execute()
        await eventually(lambda: desk.recorder.height == 5 or running.done(), seconds=SECONDS)
        assert not running.done()


async def test_a_twins_vote_that_only_the_next_block_shows_ends_the_ledger(tmp_path: Path) -> None:
    """The node itself saw its own vote; the next proposer had the other one's."""
    node = Node(tmp_path / "node")
    async with collecting(tmp_path, node) as (desk, (execute, running)):
        await execute()
        await execute()
        theirs = parse_commit(node.chain.blocks[1].block.commit)
        for one in theirs.signatures:
            if one.validator_address == OWN:
                one.signature = bytes(64)
        node.in_next[2] = theirs
        await eventually(lambda: desk.recorder.height == 2, seconds=SECONDS)
        assert not running.done()
        await execute()
        async with asyncio.timeout(SECONDS):
            with pytest.raises(ConsensusKeyShared, match="at height 2"):
                await running
        assert desk.recorder.height == 3  # what the others decided is recorded all the same
