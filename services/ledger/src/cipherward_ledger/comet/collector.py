"""Fetches decided blocks' headers and commits from the node and has them recorded, in order.

The node tells the application a block's transactions and time, and nothing that certifies them; its
RPC does. So recording follows execution by a few milliseconds, or, after a kill, by as many blocks
as were not recorded: contract keeps what it answered for the newest 128.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from cipherward.comet.v1 import types_pb2 as comet
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.comet import ValidatorSet, evidence_hash, header_time_ns
from cipherward_kit.datafolder import write_atomically
from cipherward_ledger.application import Block, ContractApplication
from cipherward_ledger.blockstore import DecidedBlock
from cipherward_ledger.comet.metrics import UNRECORDED
from cipherward_ledger.comet.node_rpc import Certified, NodeAway, NodeRefuses, NodeRpc
from cipherward_ledger.comet.signing_state import SigningState
from cipherward_ledger.errors import StoresDisagree
from cipherward_ledger.recording import Recorder

# Blocks that may be committed before they are recorded; then the engine waits. A quarter of what
# contract keeps, so that whatever is behind after a kill can still be recorded.
BEHIND_MAX = 32
# What contract keeps: beyond it, a block's outcome cannot be had any more.
KEPT_MAX = 128
TOGETHER_MAX = 16  # headers asked for at once: 16 of 64 validators are a few hundred KiB
EVIDENCE_MAX = 1_000  # files of a few KiB; a validator makes one only by breaking the protocol
PAUSE_SECONDS = 0.05  # until the node is asked again when it did not answer

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Done:
    """A committed block as the application saw it."""

    block: Block
    executed: pb.ExecuteBlockResponse


class Collector:
    """Records what is committed. `run` it once; the engine's tasks tell it what is decided."""

    def __init__(
        self,
        rpc: NodeRpc,
        application: ContractApplication,
        recorder: Recorder,
        validators: ValidatorSet,
        evidence: Path,
        signing: SigningState,
    ) -> None:
        """Describe it.

        Args:
            rpc: the node's.
            application: contract, for what it executed before a restart.
            recorder: takes the blocks.
            validators: the genesis's set: the first guess, which each header confirms.
            evidence: folder for what blocks hold against validators; made when it is needed.
            signing: what this node has signed, which the commits are held to.
        """
        self._rpc = rpc
        self._application = application
        self._recorder = recorder
        self._validators = validators
        self._evidence = evidence
        self._signing = signing
        self._done: dict[int, _Done] = {}
        self._committed = 0
        self._changed = asyncio.Event()
        self.node_answers = False  # set by who watches the node

    def stands_at(self, height: int) -> None:
        """Take note that contract has committed up to `height`.

        Raises:
            StoresDisagree: more of it is unrecorded than contract keeps.
        """
        self._committed = height
        if height - self._recorder.height > KEPT_MAX:
            raise StoresDisagree(
                f"contract's state is at height {height} and the recorded blocks end at "
                f"{self._recorder.height}: contract keeps {KEPT_MAX} outcomes only; restore both "
                "from one backup, or empty both and the node's folder to sync anew"
            )
        self._tell()

    def decided(self, block: Block, executed: pb.ExecuteBlockResponse) -> None:
        """Take a block that contract has just committed."""
        if block.height > self._recorder.height:  # else it was replayed
            self._done[block.height] = _Done(block, executed)
        self._committed = max(self._committed, block.height)
        self._tell()

    async def room(self) -> None:
        """Wait while too many blocks are unrecorded; not while the node cannot be asked.

        A node that replays its blocks before it answers would otherwise wait for itself.
        """
        while self.node_answers and self._committed - self._recorder.height > BEHIND_MAX:
            changed = self._changed
            await changed.wait()
        self.stands_at(self._committed)

    async def recorded(self) -> None:
        """Return when every block that is committed now is recorded."""
        target = self._committed
        while self._recorder.height < target:
            changed = self._changed
            await changed.wait()

    def node_changed(self, answers: bool) -> None:
        """Take note whether the node can be asked."""
        if answers != self.node_answers:
            self.node_answers = answers
            self._tell()

    async def run(self) -> None:
        """Record for ever.

        Raises:
            StoresDisagree: what the node decided is not what is recorded or executed.
            NodeFilesUnusable, ConsensusKeyShared: a commit shows a vote that is not the node's.
        """
        while True:
            first = self._recorder.height + 1
            last = min(self._committed, self._recorder.height + TOGETHER_MAX)
            if first > last or not self.node_answers:
                changed = self._changed
                await changed.wait()
                continue
            try:
                for certified in await self._rpc.commits(range(first, last + 1)):
                    await self._record(certified)
            except NodeAway:
                await asyncio.sleep(PAUSE_SECONDS)
            except NodeRefuses as refusal:
                # It restarts, or has pruned what was never recorded; the first is over in seconds.
                log.warning("node_refuses", height=first, why=str(refusal))
                await asyncio.sleep(10 * PAUSE_SECONDS)

    async def _record(self, certified: Certified) -> None:
        header = certified.header
        done = self._done.get(header.height)
        if header.validators_hash != self._validators.hash():
            self._validators = await self._rpc.validators(header.height)
        if done is not None:
            transactions, executed = done.block.transactions, done.executed
        else:
            transactions = await self._rpc.transactions(header.height)
            executed = await self._application.executed(header.height)
        block = DecidedBlock(
            height=header.height,
            time_ns=header_time_ns(header),
            header=certified.header_bytes,
            commit=certified.commit_bytes,
            transactions=transactions,
        )
        if header.evidence_hash != evidence_hash():
            await self._keep_evidence(header.height)
        await self._recorder.record(block, executed, self._validators)
        self._done.pop(header.height, None)
        self._tell()
        await self._compare(certified)

    async def _compare(self, certified: Certified) -> None:
        """Hold the node's votes to the commit, and to what this block has of the one before.

        The first is what the node itself saw, with its own vote; the second is what all have.
        """
        self._signing.compare(comet.Commit.FromString(certified.commit_bytes))
        before = certified.header.height - 1
        if self._signing.voted_at(before):
            with suppress(NodeRefuses):  # it has pruned that one already
                for canonical in await self._rpc.commits([before]):
                    self._signing.compare(comet.Commit.FromString(canonical.commit_bytes))

    async def _keep_evidence(self, height: int) -> None:
        """Keep both votes of a validator that signed two blocks, before the node prunes them."""
        found = await self._rpc.evidence(height)
        await asyncio.to_thread(_keep, self._evidence, height, found)

    def _tell(self) -> None:
        UNRECORDED.set(self._committed - self._recorder.height)
        self._changed.set()
        self._changed = asyncio.Event()


def _keep(folder: Path, height: int, found: bytes) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if len(list(folder.iterdir())) < EVIDENCE_MAX:
        write_atomically(folder / f"block-{height}.json", found)
