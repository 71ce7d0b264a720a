"""A member's ledger that lies to its own consensus node, and through it to all the others.

The product's ledger in every other way: its handlers of the node's questions are replaced by
subclasses that tell whichever lies have a file in LIES_FOLDER. Run as a process of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cipherward.comet.v1 import abci_pb2 as abci
from cipherward.comet.v1 import types_pb2 as comet
from cipherward_kit.process import run_service
from cipherward_ledger.__main__ import serve_ledger
from cipherward_ledger.comet import engine, node, node_files
from cipherward_ledger.comet.execution import Execution
from cipherward_ledger.comet.node_config import NodePeer, NodePlan, SyncPlan, config_toml
from cipherward_ledger.comet.node_log import SHARED, NodeLog
from cipherward_ledger.comet.proposals import TAKEN, Proposals
from cipherward_ledger.comet.signing_state import SigningState
from cipherward_ledger.config import LedgerConfig

LIES_FOLDER: Final = "BYZANTINE_LIES"  # the environment variable that names the folder
# Has the node take its votes from a signer that dials this socket in its folder, not from its key.
SIGNER_SOCKET: Final = "BYZANTINE_SIGNER"

PROPOSAL: Final = "proposal"  # a serialised ResponsePrepareProposal: the block's transactions
WITHHOLD: Final = "withhold"  # never answers what to propose
AGAINST_ALL: Final = "against-all"  # votes against every block
TAKE_ALL: Final = "take-all"  # lets anything into its node's mempool, which hands it on
FALSE_STATE: Final = "false-state"  # reports another state than its contract's

LOOK_SECONDS: Final = 0.05


class Lies:
    """Which lies are told now: the files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def told(self, lie: str) -> bool:
        """Return whether a lie is told."""
        return (self._folder / lie).exists()

    def proposal(self) -> abci.ResponsePrepareProposal | None:
        """Return what is to be proposed instead of what the product would."""
        try:
            raw = (self._folder / PROPOSAL).read_bytes()
        except FileNotFoundError:
            return None
        return abci.ResponsePrepareProposal.FromString(raw)


LIES: Final = Lies(Path(os.environ.get(LIES_FOLDER, ".")))


class HostileProposals(Proposals):
    """Proposes what it is told, and takes what it should refuse."""

    async def check(self, contents: Sequence[bytes]) -> list[abci.ResponseCheckTx]:
        """Take anything, or do as the product does."""
        if LIES.told(TAKE_ALL):
            return [TAKEN for _ in contents]
        return await super().check(contents)

    async def prepare(self, request: abci.RequestPrepareProposal) -> abci.ResponsePrepareProposal:
        """Propose the lie, nothing at all, or what the product does."""
        while LIES.told(WITHHOLD):  # noqa: ASYNC110 - another process makes the file
            await asyncio.sleep(LOOK_SECONDS)
        lie = LIES.proposal()
        return await super().prepare(request) if lie is None else lie

    async def process(self, request: abci.RequestProcessProposal) -> abci.ResponseProcessProposal:
        """Vote for its own lie, against everything, or as the product does."""
        if LIES.told(AGAINST_ALL):
            return abci.ResponseProcessProposal(status=abci.PROPOSAL_STATUS_REJECT)
        if LIES.told(PROPOSAL):
            return abci.ResponseProcessProposal(status=abci.PROPOSAL_STATUS_ACCEPT)
        return await super().process(request)


class HostileExecution(Execution):
    """Reports another state than its contract's."""

    async def finalize(self, request: abci.RequestFinalizeBlock) -> abci.ResponseFinalizeBlock:
        """Execute as the product does, and perhaps lie about the outcome."""
        answer = await super().finalize(request)
        if LIES.told(FALSE_STATE):
            answer.app_hash = hashlib.sha256(answer.app_hash).digest()
        return answer


class CarelessSigning(SigningState):
    """Does not mind that a block shows votes which its node has no record of."""

    async def look(self, block: abci.RequestFinalizeBlock) -> None:
        """Look away."""

    async def compare_newest(self, commit: comet.Commit) -> None:
        """Look away."""


class DeafLog(NodeLog):
    """Does not hear that somebody else votes with the same key."""

    def write(self, line: bytes) -> None:
        """Take every line but that one."""
        if SHARED.search(line.decode(errors="replace")) is None:
            super().write(line)


def _with_signer(plan: NodePlan, peers: Sequence[NodePeer], sync: SyncPlan | None = None) -> str:
    signer = os.environ.get(SIGNER_SOCKET, "")
    laddr = f'priv_validator_laddr = "unix://{signer}"\n' if signer else ""
    return laddr + config_toml(plan, peers, sync)


if __name__ == "__main__":
    # By name, as the engine looks them up: nothing else of the product is replaced.
    setattr(engine, Proposals.__name__, HostileProposals)
    setattr(engine, Execution.__name__, HostileExecution)
    setattr(engine, SigningState.__name__, CarelessSigning)
    setattr(node, NodeLog.__name__, DeafLog)
    setattr(node_files, config_toml.__name__, _with_signer)
    run_service("ledger", LedgerConfig, serve_ledger)
