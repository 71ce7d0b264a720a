"""The chain's state in this process: one thread owns its tree and its writing connection.

ExecuteBlock keeps what it made in memory; Commit writes it in one transaction and then adopts it.
If the write fails, everything is loaded again from the disk, which is the truth.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.genesis import Genesis, GenesisMalformed
from cipherward_contract import metrics
from cipherward_contract.answers import Committed, answer_of
from cipherward_contract.blocks import Block
from cipherward_contract.catalogue import Catalogue
from cipherward_contract.ceremonies.kept_transcripts import Transcripts
from cipherward_contract.chain_rules import ChainRules
from cipherward_contract.disclosures import save_rows
from cipherward_contract.errors import (
    AnotherBlock,
    BlockNotKept,
    BlockTooLarge,
    ChainNotInitialised,
    GenesisDiffers,
    GenesisMalformedError,
    HeightGap,
    MachineVersionUnsupported,
    NotExecuted,
    StateNotEmpty,
)
from cipherward_contract.executor import FORGOTTEN_MAX, Outcome, execute
from cipherward_contract.figures import Figures
from cipherward_contract.genesis_state import GenesisUnusable, initial_pairs
from cipherward_contract.loading import Loaded, committed_rules, load_state
from cipherward_contract.machine_versions import NEWEST_VERSION
from cipherward_contract.proving import Prover
from cipherward_contract.state import State
from cipherward_contract.store import (
    CACHE_KIBIBYTES,
    JOURNAL_BYTES,
    Head,
    KeptBlock,
    StoredState,
    block_digest,
    clear_state,
    expired_transactions,
    load_block,
    load_head,
    save_block,
    save_head,
    save_writes,
)
from cipherward_contract.tree import StateTree, TreeChange
from cipherward_kit.database import Database

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Executed:
    """A block that is executed and not committed: its answer, and what Commit will write."""

    kept: KeptBlock
    head: Head
    outcome: Outcome
    change: TreeChange
    rules: ChainRules


class Chain:
    """What the ledger drives. Every method runs in the database's thread, one after another."""

    def __init__(
        self, database: Database, genesis_digest: bytes, *, version_max: int = NEWEST_VERSION
    ) -> None:
        """Use an open database.

        Args:
            genesis_digest: of the genesis file that this process was given; no other begins the
                chain.
            version_max: the newest machine version that this process executes.
        """
        self._database = database
        self._genesis_digest = genesis_digest
        self._version_max = version_max
        self._catalogue = Catalogue()
        self._transcripts = Transcripts()
        self._figures = Figures()
        self._loaded: Loaded | None = None
        self._executed: Executed | None = None

    @property
    def latest(self) -> tuple[int, ChainRules] | None:
        """The committed height and the rules after it; None before InitChain."""
        loaded = self._loaded
        return None if loaded is None else (loaded.head.height, loaded.rules)

    async def load(self) -> None:
        """Rebuild the tree from the disk, once at start.

        Raises:
            StateCorrupt: the pairs do not have the committed root.
            StateOfAnotherGenesis: it was begun with another genesis.
        """
        await self._database.read(self._load)

    async def init_chain(self, document: bytes) -> bytes:
        """Make the state of height 0, or find that it was made from this genesis; return its root.

        Raises:
            GenesisMalformedError, GenesisDiffers.
        """
        return await self._write(lambda connection: self._init(connection, document))

    async def replace(self, work: Callable[[sqlite3.Connection], Loaded | None]) -> None:
        """Take what `work` leaves on the disk as the state, or raise `StateNotEmpty`."""
        await self._write(lambda connection: self._replace(connection, work))

    async def committed(self) -> Committed | None:
        """Return what is committed; None before InitChain."""
        return await self._database.read(self._committed)

    async def execute(self, height: int, time_ns: int, transactions: Sequence[bytes]) -> bytes:
        """Execute the next block, and return the serialised ExecuteBlockResponse.

        Raises:
            HeightGap, AnotherBlock, ChainNotInitialised, BlockTooLarge, MachineVersionUnsupported.
        """
        return await self._database.read(
            lambda connection: self._execute(connection, height, time_ns, transactions)
        )

    async def commit(self, height: int) -> None:
        """Make the executed block durable.

        Raises:
            NotExecuted, HeightGap.
        """
        await self._write(lambda connection: self._commit(connection, height))

    async def executed(self, height: int) -> bytes:
        """Return the serialised answer of a recent committed block, or raise `BlockNotKept`."""
        kept = await self._database.read(lambda connection: load_block(connection, height))
        if kept is None:
            raise BlockNotKept(f"block {height} is not kept", height=height)
        return kept.answer

    async def on_committed(self, work: Callable[[Prover], R]) -> R:
        """Return what `work` makes of the committed state, between two blocks.

        Raises:
            ChainNotInitialised: there is none; and whatever `work` raises.
        """
        return await self._database.read(lambda c: work(Prover(c, self._need())))

    async def prove(self, keys: Sequence[bytes]) -> pb.ProvenState:
        """Return proofs of what the committed state holds under `keys`, against one root."""
        return await self.on_committed(lambda prover: prover.prove(keys))

    async def _write(self, work: Callable[[sqlite3.Connection], R]) -> R:
        try:
            return await self._database.write(work)
        except sqlite3.Error:
            await self._database.read(self._load)
            raise

    # What follows runs in the database's thread.

    def _load(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
        connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
        self._executed = self._loaded = None
        self._loaded = load_state(connection, self._genesis_digest)
        if self._loaded is not None:
            self._figures.begin(connection, self._loaded)

    def _init(self, connection: sqlite3.Connection, document: bytes) -> bytes:
        try:
            genesis = Genesis.parse(document)
            pairs = initial_pairs(genesis)
        except (GenesisMalformed, GenesisUnusable) as error:
            raise GenesisMalformedError(f"the genesis cannot be used: {error}") from error
        digest = genesis.digest
        held = load_head(connection)
        if digest != self._genesis_digest or (held and held.genesis_digest != digest):
            raise GenesisDiffers("this service was begun or configured with another genesis")
        if held is not None:
            return StateTree(pairs.items()).root  # that of height 0 follows from the genesis alone
        clear_state(connection)  # what a snapshot that was never completed has left
        tree = StateTree(pairs.items())
        save_writes(connection, pairs)
        head = Head(0, genesis.time_ns, tree.root, digest)
        save_head(connection, head)
        self._loaded = Loaded(head, committed_rules(connection), tree)
        return tree.root

    def _replace(
        self, connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], Loaded | None]
    ) -> None:
        if self._loaded is not None and self._loaded.head.height:
            raise StateNotEmpty("blocks have made a state here: a snapshot does not replace it")
        replaced = work(connection)
        self._loaded, self._executed = replaced, None
        if replaced is not None:
            self._figures.begin(connection, replaced)

    def _committed(self, connection: sqlite3.Connection) -> Committed | None:
        loaded = self._loaded
        if loaded is None:
            return None
        block = self._block(connection, loaded, loaded.head.height, loaded.head.time_ns)
        return Committed.of(block, loaded)

    def _block(
        self, connection: sqlite3.Connection, loaded: Loaded, height: int, time_ns: int
    ) -> Block:
        state = State(StoredState(connection))
        kept = self._transcripts
        return Block(height, time_ns, loaded.rules, self._catalogue, state, transcripts=kept)

    def _need(self) -> Loaded:
        if self._loaded is None:
            raise ChainNotInitialised("the chain has not begun: InitChain comes first")
        return self._loaded

    def _execute(
        self,
        connection: sqlite3.Connection,
        height: int,
        time_ns: int,
        transactions: Sequence[bytes],
    ) -> bytes:
        loaded = self._need()
        if sum(map(len, transactions)) > loaded.rules.block_bytes_max:
            raise BlockTooLarge(
                f"a block holds at most {loaded.rules.block_bytes_max} bytes of transactions",
                bytes_max=loaded.rules.block_bytes_max,
            )
        digest = block_digest(height, time_ns, transactions)
        again = self._again(connection, loaded, height, digest)
        if again is not None:
            return again
        version = loaded.rules.version_at(height)
        if version > self._version_max:
            raise MachineVersionUnsupported.at(height, version, self._version_max)
        started = time.perf_counter()
        block = self._block(connection, loaded, height, time_ns)
        expired = expired_transactions(connection, block.now, FORGOTTEN_MAX)
        outcome = execute(block, transactions, expired)
        change = loaded.tree.apply(outcome.writes.items())
        answer = answer_of(block, outcome, loaded, change)
        head = Head(
            height, time_ns, change.root, loaded.head.genesis_digest, loaded.head.complete_from
        )
        kept = KeptBlock(height, digest, answer)
        self._executed = Executed(kept, head, outcome, change, block.rules)
        metrics.BLOCK_SECONDS.labels("execute").observe(time.perf_counter() - started)
        return kept.answer

    def _again(
        self, connection: sqlite3.Connection, loaded: Loaded, height: int, digest: bytes
    ) -> bytes | None:
        """Return the answer that was given for this very block, or None if it is to be executed."""
        if height == loaded.head.height + 1:
            if self._executed is None:
                return None
            known = self._executed.kept
        else:
            known = load_block(connection, height) if height == loaded.head.height else None
            if known is None:
                raise HeightGap.between(height, loaded.head.height)
        if known.digest != digest:
            raise AnotherBlock(f"another block {height} was executed", height=height)
        return known.answer

    def _commit(self, connection: sqlite3.Connection, height: int) -> None:
        loaded, executed = self._loaded, self._executed
        if loaded is not None and height == loaded.head.height and height:
            return
        if loaded is None or (executed is None and height == loaded.head.height + 1):
            raise NotExecuted(f"block {height} has not been executed", height=height)
        if executed is None or height != executed.head.height:
            raise HeightGap.between(height, loaded.head.height)
        started = time.perf_counter()
        save_writes(connection, executed.outcome.writes)
        save_rows(connection, height, executed.head.time_ns, executed.outcome.rows)
        save_block(connection, executed.kept)
        save_head(connection, executed.head)
        loaded.tree.adopt(executed.change)
        loaded.head, loaded.rules, self._executed = executed.head, executed.rules, None
        self._figures.committed(connection, loaded, executed.outcome)
        metrics.BLOCK_SECONDS.labels("commit").observe(time.perf_counter() - started)
