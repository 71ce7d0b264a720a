"""The ledger put together: this module is the whole dependency graph behind the gRPC face."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cipherward_chain.authorization import Signer
from cipherward_chain.genesis import Genesis
from cipherward_chain.solo import SoloProposer
from cipherward_kit.drain import Drain
from cipherward_kit.readiness import Readiness
from cipherward_ledger.admission import Admission
from cipherward_ledger.application import ContractApplication
from cipherward_ledger.blockstore import BlockStore
from cipherward_ledger.checks import Rules
from cipherward_ledger.clock import Clock
from cipherward_ledger.mempool import Bounds, Mempool
from cipherward_ledger.outbox import Outbox
from cipherward_ledger.peers import Peers
from cipherward_ledger.presentations import PresentationVerifier
from cipherward_ledger.proven import ProvenBlocks
from cipherward_ledger.receipts import Receipts
from cipherward_ledger.schema import bind_genesis, open_database
from cipherward_ledger.service import ChainName, LedgerService
from cipherward_ledger.solo import Pace, SoloEngine, Stores
from cipherward_ledger.ticker import Ticker
from cipherward_ledger.tip import Position, Tip


@dataclass(frozen=True, slots=True)
class Chain:
    """Which chain, and with which keys.

    document: the genesis, byte for byte.
    proposer: the one validator.
    signer: the member, who signs ticks.
    """

    genesis: Genesis
    document: bytes
    proposer: SoloProposer
    signer: Signer


@dataclass(frozen=True, slots=True)
class Limits:
    """What the settings say, beside the genesis."""

    pending: Bounds
    gather_seconds: float
    block_transactions_max: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the process around the ledger gives it."""

    readiness: Readiness
    drain: Drain
    clock: Clock


@asynccontextmanager
async def open_ledger(
    folder: Path, chain: Chain, limits: Limits, peers: Peers, around: Surroundings
) -> AsyncGenerator[LedgerService]:
    """Open the stores in `folder` and run the ledger while the context is open.

    Raises:
        GenesisDiffers, StoresDisagree, StoreCorrupt: in a group, from whatever task noticed it.
    """
    genesis, parameters = chain.genesis, chain.genesis.parameters
    rules = Rules(
        chain_id=genesis.chain_id,
        transaction_bytes_max=parameters.transaction_bytes_max,
        acts_max=parameters.acts_max,
        expiry_seconds_max=parameters.expiry_seconds_max,
    )
    pace = Pace(
        heartbeat_seconds=parameters.heartbeat_seconds,
        gather_seconds=limits.gather_seconds,
        transactions_max=limits.block_transactions_max,
        bytes_max=parameters.block_bytes_max,
    )
    clock = around.clock
    async with open_database(folder) as database:
        await bind_genesis(database, genesis.digest)
        tip = Tip(Position(0, genesis.time_ns, b"", None))
        blocks = BlockStore(database)
        proven = ProvenBlocks(blocks, tip)
        outbox = Outbox(database, Mempool(limits.pending))
        application = ContractApplication(peers.contract, chain.document, clock, around.readiness)
        engine = SoloEngine(
            chain.proposer, application, Stores(blocks, proven, outbox), clock, pace
        )
        presentations = PresentationVerifier(peers.identity)
        admission = Admission(rules, outbox, presentations, application, tip, clock)
        ticker = Ticker(admission, tip, clock, chain.signer, genesis.chain_id)
        await outbox.restore(clock.now_ns())
        await engine.load()
        try:
            async with asyncio.TaskGroup() as group:
                running = [
                    group.create_task(work)
                    for work in (
                        engine.run(),
                        outbox.run(),
                        outbox.run_expiry(clock),
                        presentations.run(),
                        ticker.run(),
                    )
                ]
                yield LedgerService(
                    ChainName(genesis.chain_id, genesis.engine),
                    admission,
                    outbox.mempool,
                    Receipts(outbox, proven, genesis.validators),
                    proven,
                    around.drain,
                )
                for task in running:
                    task.cancel()
        finally:
            admission.close()
