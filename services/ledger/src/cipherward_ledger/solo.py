"""Solo: the embedded consensus engine of one validator.

Order of a block, so that a kill at any instant loses nothing and applies nothing twice:

1. make it from its parent's outcome, sign it (nobody has seen it);
2. store block, commit and index durably, with the parent's outcome: from here on it is decided,
   and its parent is proven;
3. contract executes it and commits.

After a kill the stores differ by at most that last step, which is done again from the stored block.
A block with transactions is followed at once by one that proves it; an idle chain makes an empty
block every heartbeat.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.comet import parse_header, results_hash
from cipherward_chain.solo import Executed, SoloProposer
from cipherward_ledger.application import Committed, ContractApplication
from cipherward_ledger.blockstore import BlockStore, DecidedBlock, prove
from cipherward_ledger.clock import NANOSECONDS, Clock, first_of
from cipherward_ledger.errors import BlockCorrupt, BlockUnknown, StoreCorrupt, StoresDisagree
from cipherward_ledger.metrics import BLOCK_INTERVAL, COMMITTED, show_tip
from cipherward_ledger.outbox import Outbox
from cipherward_ledger.proven import ProvenBlocks
from cipherward_ledger.rows import Head, Name, Outcome
from cipherward_ledger.tip import Position

# CometBFT's least step between two block times (types.TimeIotaMs).
TIME_STEP_NS = 1_000_000
# A new chain makes two blocks at once, a restarted one a single one: so followers have, as soon
# as the ledger is up, a proven block whose successor's time is fresh.
FIRST_BLOCKS, RESTART_BLOCKS = 2, 1
# What a block's bytes hold besides its transactions: header and commit of one validator take about
# 1 KiB, and the block's own tags and lengths a few bytes.
BLOCK_FRAME_BYTES = 4_096

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pace:
    """When blocks are made and how large they may be."""

    heartbeat_seconds: float
    gather_seconds: float
    transactions_max: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class Stores:
    """Where the engine's blocks come from and go to."""

    blocks: BlockStore
    proven: ProvenBlocks
    outbox: Outbox


@dataclass(frozen=True, slots=True)
class _Last:
    """The newest block with its outcome."""

    block: DecidedBlock
    executed: pb.ExecuteBlockResponse


class SoloEngine:
    """Makes the chain's blocks, alone. `load` once, then `run`."""

    def __init__(
        self,
        proposer: SoloProposer,
        application: ContractApplication,
        stores: Stores,
        clock: Clock,
        pace: Pace,
    ) -> None:
        self._proposer = proposer
        self._application = application
        self._stores = stores
        self._tip = stores.proven.tip
        self._mempool = stores.outbox.mempool
        self._clock = clock
        self._pace = pace
        self._stored: DecidedBlock | None = None  # the newest stored block, before the resumption
        self._blocks_due = 0
        self._beat_due_ns = 0

    async def load(self) -> None:
        """Read where the stored chain ends, so that its blocks can be served; contract may be away.

        Raises:
            StoreCorrupt: the newest block, or the validators, do not read back.
        """
        try:
            await self._stores.blocks.open()
            height = await self._stores.blocks.height()
            if height:
                self._stored = await self._stores.blocks.load(height)
        except (BlockCorrupt, BlockUnknown) as error:
            raise StoreCorrupt(f"{error}; restore the ledger's data folder from a backup") from None
        if self._stored is not None:
            before = parse_header(self._stored.header).app_hash
            self._tip.move(Position(height, self._stored.time_ns, before, None))

    async def run(self) -> None:
        """Bring contract to the stored chain's end, then make blocks for ever.

        Raises:
            GenesisDiffers, StoresDisagree: contract holds another chain's state.
            StoreUnwritable: the disk is full or fails; the block that could not be stored was seen
                by nobody, and its transactions are in the outbox.
        """
        genesis, last = await self._resume()
        while True:
            if not self._blocks_due and not len(self._mempool):
                await first_of(self._mempool.arrived(), self._clock.sleep_until(self._beat_due_ns))
                if len(self._mempool) and self._pace.gather_seconds:
                    await self._clock.sleep(self._pace.gather_seconds)
            made = await self._next(genesis, last)
            last = made or last

    async def _resume(self) -> tuple[Committed, _Last | None]:
        """Hand-shake: contract stands where the stored chain ends, or executes its last block."""
        stored = self._stored
        committed = await self._application.start(stored.height if stored else 0)
        last = None
        if stored is not None:
            if committed.height < stored.height:
                log.info("replaying_block", height=stored.height)
                if parse_header(stored.header).app_hash != committed.app_hash:
                    raise StoresDisagree(
                        f"contract's state at height {committed.height} is not the one that "
                        f"block {stored.height} was made on; restore both from one backup"
                    )
                executed = await self._application.apply(stored)
            else:
                executed = await self._application.executed(stored.height)
                if executed.app_hash != committed.app_hash:
                    raise StoresDisagree("contract's state is not that of its newest block")
            last = _Last(stored, executed)
        self._application.agreed()
        self._arrive(last, committed)
        self._blocks_due = RESTART_BLOCKS if last else FIRST_BLOCKS
        return committed, last

    async def _next(self, genesis: Committed, last: _Last | None) -> _Last | None:
        """Make the next block if there is a reason for one; return it with its outcome."""
        before = self._tip.position
        now_ns = self._clock.now_ns()
        time_ns = max(before.time_ns + TIME_STEP_NS, now_ns)
        await self._stores.outbox.drop_expired(time_ns)
        entries = self._mempool.take(
            time_ns=time_ns,
            count_max=self._pace.transactions_max,
            size_max=self._pace.bytes_max - BLOCK_FRAME_BYTES,
        )
        if not entries and not self._blocks_due and now_ns < self._beat_due_ns:
            return None  # what arrived has expired
        contents = [entry.content for entry in entries]
        sealed = await asyncio.to_thread(
            self._proposer.next_block,
            last.block if last else None,
            _certified(genesis, last),
            contents,
            time_ns,
        )
        outcome = None
        if last is not None:
            outcome = Outcome(last.block.height, last.executed.SerializeToString())
        block = DecidedBlock(
            sealed.height, sealed.time_ns, sealed.header, sealed.commit, tuple(contents)
        )
        names = [Name(entry.id, entry.hash, place) for place, entry in enumerate(entries)]
        await self._stores.blocks.append(block, names, self._proposer.validators, outcome)
        if last is not None:
            proven = prove(last.block, last.executed, Head(block.header, block.commit))
            self._stores.proven.remember(last.block.height, proven)
        BLOCK_INTERVAL.observe((time_ns - before.time_ns) / NANOSECONDS)
        COMMITTED.inc(len(entries))
        self._tip.move(Position(block.height, time_ns, before.app_hash, before.next_timer_ns))
        made = _Last(block, await self._application.apply(block))
        self._blocks_due = 1 if entries else max(0, self._blocks_due - 1)
        self._arrive(made, genesis)
        return made

    def _arrive(self, last: _Last | None, genesis: Committed) -> None:
        """Stand on a block with its outcome, or at the genesis."""
        beat_ns = round(self._pace.heartbeat_seconds * NANOSECONDS)
        if last is None:
            start = self._tip.position
            self._tip.move(Position(0, start.time_ns, genesis.app_hash, genesis.next_timer_ns))
            return
        block, executed = last.block, last.executed
        show_tip(block.height, block.time_ns, block.commit)
        # A clock that was set back must not silence the chain until it has caught up.
        self._beat_due_ns = min(block.time_ns, self._clock.now_ns()) + beat_ns
        self._tip.move(Position.after(block.height, block.time_ns, executed))


def _certified(genesis: Committed, last: _Last | None) -> Executed:
    """Return what the next header certifies."""
    if last is None:
        return Executed(genesis.app_hash)
    executed = last.executed
    return Executed(executed.app_hash, results_hash(executed.results), executed.machine_version)
