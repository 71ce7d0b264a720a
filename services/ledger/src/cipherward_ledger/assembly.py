"""The ledger put together: this module is the whole dependency graph behind the gRPC face."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cipherward_chain.authorization import Signer
from cipherward_chain.genesis import Genesis
from cipherward_chain.solo import SoloProposer
from cipherward_kit.drain import Drain
from cipherward_kit.readiness import Readiness
from cipherward_ledger.admission import Admission
from cipherward_ledger.application import CONDITION as CONTRACT_CONDITION
from cipherward_ledger.application import ContractApplication
from cipherward_ledger.beginning import AllianceFiles, Beginning
from cipherward_ledger.blockstore import BlockStore
from cipherward_ledger.checks import Rules
from cipherward_ledger.clock import Clock
from cipherward_ledger.comet.engine import (
    NODE_CONDITION,
    CometEngine,
    Intake,
    NodeSettings,
    Views,
)
from cipherward_ledger.comet.execution import Recorded
from cipherward_ledger.comet.waking import wake
from cipherward_ledger.mempool import Bounds, Mempool
from cipherward_ledger.outbox import Outbox
from cipherward_ledger.peers import Peers
from cipherward_ledger.presentations import PresentationVerifier
from cipherward_ledger.proven import ProvenBlocks
from cipherward_ledger.pruning import Retention
from cipherward_ledger.publishing.config import PublishingConfig
from cipherward_ledger.publishing.publisher import open_publisher
from cipherward_ledger.receipts import Receipts
from cipherward_ledger.recording import Recorder
from cipherward_ledger.schema import bind_genesis, open_database
from cipherward_ledger.service import LedgerService
from cipherward_ledger.skew import SkewWatch
from cipherward_ledger.solo import Pace, SoloEngine, Stores
from cipherward_ledger.ticker import Ticker, Validators
from cipherward_ledger.tip import Position, Tip
from cipherward_ledger.traces import TransactionTraces
from cipherward_ledger.verification import Verifier


@dataclass(frozen=True, slots=True)
class Chain:
    """Which chain, and with which keys.

    document: the genesis, byte for byte.
    engine: solo's one validator, or what the member's consensus node is started from.
    signer: the member, who signs ticks.
    """

    genesis: Genesis
    document: bytes
    engine: SoloProposer | NodeSettings
    signer: Signer


@dataclass(frozen=True, slots=True)
class Limits:
    """What the settings say, beside the genesis."""

    pending: Bounds
    gather_seconds: float
    block_transactions_max: int
    retain_blocks: int = 0  # 0 keeps all


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the process around the ledger gives it.

    registered: told the members' authorities (PEM by id) and of which height they are, at the start
        and whenever a block changed the registry.
    files: what those who join are told from.
    traces: of this member's requests.
    """

    readiness: Readiness
    drain: Drain
    clock: Clock
    registered: Callable[[Mapping[str, str], int], None] | None = None
    files: AllianceFiles | None = None
    traces: TransactionTraces = field(default_factory=TransactionTraces)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What both engines are made from."""

    blocks: BlockStore
    proven: ProvenBlocks
    outbox: Outbox
    application: ContractApplication
    verifier: Verifier
    validators: Validators


@asynccontextmanager
async def open_ledger(
    folder: Path,
    chain: Chain,
    limits: Limits,
    peers: Peers,
    around: Surroundings,
    publishing: PublishingConfig | None = None,
) -> AsyncGenerator[LedgerService]:
    """Open the stores in `folder` and run the ledger while the context is open.

    Args:
        folder: the ledger's own, locked for this process.
        chain: which chain, and with which keys.
        limits: what the settings say.
        peers: contract and identity.
        around: readiness, drain, clock, and who follows the registry.
        publishing: how proven blocks are published, if they are.

    Raises:
        CannotStart: in a group, from whatever task noticed it.
    """
    genesis, clock = chain.genesis, around.clock
    async with open_database(folder) as database:
        await bind_genesis(database, genesis.digest)
        tip = Tip(Position(0, genesis.time_ns, b"", None))
        retention = Retention(limits.retain_blocks, genesis.parameters.expiry_seconds_max)
        blocks = BlockStore(database, retention)
        proven = ProvenBlocks(blocks, tip, around.traces)
        outbox = Outbox(database, Mempool(limits.pending))
        application = ContractApplication(
            peers.contract, chain.document, clock, around.readiness, around.registered
        )
        presentations = PresentationVerifier(peers.identity)
        verifier = Verifier(_rules(genesis), presentations)
        parts = _Parts(blocks, proven, outbox, application, verifier, Validators())
        engine = _engine(chain, limits, around, parts)
        admission = Admission(verifier, outbox, application, tip, clock, around.traces)
        ticker = Ticker(admission, tip, clock, chain.signer, genesis.chain_id, parts.validators)
        skew = SkewWatch(tip, clock, around.readiness, genesis.parameters.fresh_seconds)
        await engine.load()
        no_block_before = _block_time(chain, clock, tip)
        await outbox.restore(no_block_before())
        publisher = None
        if publishing is not None:
            publisher = await open_publisher(publishing, genesis.chain_id, proven)
        work = [
            engine.run(),
            outbox.run(),
            outbox.run_expiry(clock, no_block_before),
            presentations.run(),
            ticker.run(),
            skew.run(),
        ]
        if isinstance(chain.engine, NodeSettings):
            views = (tip, parts.validators)
            work.append(wake(genesis, chain.signer, admission, clock, around.readiness, views))
        if publisher is not None:
            work.append(publisher.run())
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(one) for one in work]
                yield LedgerService(
                    Beginning(genesis, chain.document, peers.contract, around.files),
                    admission,
                    outbox.mempool,
                    Receipts(outbox, proven),
                    proven,
                    around.drain,
                )
                for task in running:
                    task.cancel()
        finally:
            verifier.close()


def conditions(genesis: Genesis) -> tuple[str, ...]:
    """Return what must be true before the ledger of this chain is ready."""
    if genesis.engine == "cometbft":
        return (CONTRACT_CONDITION, NODE_CONDITION)
    return (CONTRACT_CONDITION,)


def _rules(genesis: Genesis) -> Rules:
    parameters = genesis.parameters
    return Rules(
        chain_id=genesis.chain_id,
        transaction_bytes_max=parameters.transaction_bytes_max,
        acts_max=parameters.acts_max,
        expiry_seconds_max=parameters.expiry_seconds_max,
    )


def _engine(
    chain: Chain, limits: Limits, around: Surroundings, parts: _Parts
) -> SoloEngine | CometEngine:
    """Return the engine that the genesis names; `chain.engine` is for it."""
    application, clock = parts.application, around.clock
    if isinstance(chain.engine, NodeSettings):
        trusted, mempool = chain.genesis.validators, parts.outbox.mempool
        recorder = Recorder(parts.blocks, parts.proven, mempool, trusted)
        return CometEngine(
            (chain.genesis, chain.document),
            application,
            Recorded(recorder, parts.blocks),
            Intake(parts.verifier, mempool, clock),
            chain.engine,
            Views(around.readiness, parts.proven.tip, parts.validators, parts.proven),
        )
    pace = Pace(
        heartbeat_seconds=chain.genesis.parameters.heartbeat_seconds,
        gather_seconds=limits.gather_seconds,
        transactions_max=limits.block_transactions_max,
        bytes_max=chain.genesis.parameters.block_bytes_max,
    )
    stores = Stores(parts.blocks, parts.proven, parts.outbox)
    return SoloEngine(chain.engine, application, stores, clock, pace)


def _block_time(chain: Chain, clock: Clock, tip: Tip) -> Callable[[], int]:
    """Return what tells a time that no block from now on is before.

    Solo makes the blocks by this clock. With consensus a block's time is that of the votes for the
    block before it.
    """
    if isinstance(chain.engine, NodeSettings):
        return lambda: tip.position.time_ns
    return clock.now_ns
