"""The replicated application's own questions: Info, InitChain, FinalizeBlock and Commit.

Contract's store is the one truth: Info answers what it has committed, and CometBFT's hand-shake
replays to it what it lacks. While contract is away the answer waits; an error would end the node.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import structlog

from cipherward.comet.v1 import abci_pb2 as abci
from cipherward.comet.v1 import types_pb2 as comet
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.comet import Validator, ValidatorSet, ValidatorsMalformed, header_hash
from cipherward_chain.genesis import Genesis
from cipherward_chain.wire import timestamp_ns
from cipherward_ledger.application import ContractApplication
from cipherward_ledger.blockstore import BlockStore
from cipherward_ledger.comet.collector import Collector
from cipherward_ledger.comet.metrics import MISBEHAVIOUR
from cipherward_ledger.comet.signing_state import SigningState
from cipherward_ledger.errors import GenesisDiffers, StoresDisagree
from cipherward_ledger.recording import Recorder

APPLICATION_NAME = "cipherward"
FIRST_HEIGHT = 1

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ToldBlock:
    """A decided block as the application is told of it: nothing yet that certifies it."""

    height: int
    time_ns: int
    transactions: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What of the chain is recorded in the ledger's own store."""

    recorder: Recorder
    blocks: BlockStore


class Execution:
    """Has blocks executed and committed by contract, one at a time, whoever asks."""

    def __init__(
        self,
        genesis: Genesis,
        document: bytes,
        application: ContractApplication,
        recorded: Recorded,
        collector: Collector,
        signing: SigningState,
    ) -> None:
        """Describe it; `document` is the genesis, byte for byte."""
        self._genesis = genesis
        self._app_state: object = json.loads(document)["app_state"]
        self._application = application
        self._recorded = recorded
        self._collector = collector
        self._signing = signing
        # A node that was killed may leave a question behind while its successor already asks.
        self._one = asyncio.Lock()
        self._machine_version = genesis.machine_version
        self._executed: tuple[ToldBlock, pb.ExecuteBlockResponse] | None = None
        self.registry_changed = asyncio.Event()  # set by a committed block that changed it

    async def info(self) -> abci.ResponseInfo:
        """Answer where the state stands."""
        async with self._one:
            committed = await self._application.committed()
            self._application.agreed()
            self._collector.stands_at(committed.height)
            self._machine_version = committed.machine_version
            return abci.ResponseInfo(
                data=APPLICATION_NAME,
                app_version=committed.machine_version,
                last_block_height=committed.height,
                last_block_app_hash=committed.app_hash,
            )

    async def init_chain(self, request: abci.RequestInitChain) -> abci.ResponseInitChain:
        """Answer the first state's root.

        Raises:
            GenesisDiffers: the node begins another chain than the ledger's genesis says.
        """
        async with self._one:
            if not self._begins(request):
                raise GenesisDiffers(
                    "the consensus node was made for another genesis; remove its folder, or give "
                    "the genesis file that it was made with"
                )
            committed = await self._application.committed()
            return abci.ResponseInitChain(app_hash=committed.app_hash)

    def _begins(self, request: abci.RequestInitChain) -> bool:
        try:
            given = [Validator(v.pub_key.ed25519, v.power) for v in request.validators]
            validators = ValidatorSet.of(given)
            state: object = json.loads(request.app_state_bytes)
        except (ValueError, ValidatorsMalformed):
            return False
        return (
            request.chain_id == self._genesis.chain_id
            and timestamp_ns(request.time) == self._genesis.time_ns
            and request.initial_height == FIRST_HEIGHT
            and validators == self._genesis.validators
            and state == self._app_state
        )

    async def finalize(self, request: abci.RequestFinalizeBlock) -> abci.ResponseFinalizeBlock:
        """Have a decided block executed, and answer what the next header will certify.

        Raises:
            StoresDisagree: it is not the block that is recorded at its height.
            NodeFilesUnusable: it shows a vote of this node that the node has no record of.
            MachineVersionUnsupported: this contract cannot execute it.
        """
        async with self._one:
            await self._signing.look(request)
            if request.height <= self._recorded.recorder.height:
                await self._compare(request)
            _report(request)
            block = ToldBlock(request.height, timestamp_ns(request.time), tuple(request.txs))
            executed = await self._application.execute(block)
            self._executed = (block, executed)
            answer = abci.ResponseFinalizeBlock(
                tx_results=executed.results,
                validator_updates=[
                    abci.ValidatorUpdate(
                        pub_key=comet.PublicKey(ed25519=update.public_key), power=update.power
                    )
                    for update in executed.validator_updates
                ],
                app_hash=executed.app_hash,
            )
            version = executed.machine_version or self._machine_version
            if version != self._machine_version:
                answer.consensus_param_updates.version.app = version
            return answer

    async def _compare(self, request: abci.RequestFinalizeBlock) -> None:
        """Hold a replayed block to what is recorded, where that is still kept."""
        recorded = self._recorded
        if request.height < recorded.recorder.first_height or not recorded.recorder.first_height:
            return
        block = await recorded.blocks.load(request.height)
        if header_hash(comet.Header.FromString(block.header)) != request.hash:
            raise StoresDisagree(
                f"the consensus node has another block {request.height} than the ledger has "
                "recorded; restore the ledger's data folder and contract's from one backup"
            )

    async def commit(self) -> abci.ResponseCommit:
        """Have the executed block committed; on return contract has it on disk.

        Raises:
            StoresDisagree: contract has lost the state that it was executed on.
        """
        async with self._one:
            if self._executed is None:
                raise StoresDisagree("the consensus node commits a block that was not executed")
            block, executed = self._executed
            await self._application.commit(block)
            self._executed = None
            self._machine_version = executed.machine_version or self._machine_version
            self._collector.decided(block, executed)
            if executed.registry_changed:
                self.registry_changed.set()
        await self._collector.room()
        return abci.ResponseCommit(retain_height=self._recorded.recorder.retain_height)


def _report(request: abci.RequestFinalizeBlock) -> None:
    """Say who is proven to have broken the protocol; the block itself is the evidence."""
    for act in request.misbehavior:
        kind = abci.MisbehaviorType.Name(act.type).removeprefix("MISBEHAVIOR_TYPE_")
        MISBEHAVIOUR.labels(kind).inc()
        log.error(
            "validator_misbehaved",
            kind=kind,
            validator=act.validator.address.hex(),
            at_height=act.height,
            in_block=request.height,
        )
