"""The recorder: keeps what a consensus engine beside the ledger has decided and contract executed.

One commit a block: the block, its outcome, its index, its validators if they changed. Storing
block h proves h - 1. Blocks come in order; what the ledger was too slow to record before it
ended is fetched and recorded after a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from cipherward.chain.v1 import block_pb2 as chain_pb
from cipherward.chain.v1 import transaction_pb2 as tx_pb
from cipherward.comet.v1 import types_pb2 as comet
from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward_chain.comet import (
    ValidatorSet,
    data_hash,
    header_hash,
    parse_commit,
    parse_header,
    results_hash,
)
from cipherward_chain.errors import ChainError
from cipherward_chain.light import verify_commit
from cipherward_chain.rejections import ValidatorsDiffer
from cipherward_chain.transactions import transaction_hash, transaction_id
from cipherward_ledger.blockstore import BlockStore, DecidedBlock, prove
from cipherward_ledger.clock import NANOSECONDS
from cipherward_ledger.errors import BlockCorrupt, BlockUnknown, StoreCorrupt, StoresDisagree
from cipherward_ledger.history import Term
from cipherward_ledger.mempool import Mempool
from cipherward_ledger.metrics import BLOCK_INTERVAL, COMMITTED, show_tip
from cipherward_ledger.proven import ProvenBlocks
from cipherward_ledger.rows import Head, Name, Outcome
from cipherward_ledger.tip import Position


@dataclass(frozen=True, slots=True)
class _Last:
    """The newest recorded block, with what the next one must certify."""

    block: DecidedBlock
    executed: contract_pb.ExecuteBlockResponse
    validators: ValidatorSet


class Recorder:
    """Records decided and executed blocks. `load` once; then one task records, in order."""

    def __init__(
        self, store: BlockStore, proven: ProvenBlocks, mempool: Mempool, trusted: ValidatorSet
    ) -> None:
        """Describe the recorder; `trusted` is the set of the genesis."""
        self._store = store
        self._proven = proven
        self._mempool = mempool
        self._trusted = trusted
        self._last: _Last | None = None

    @property
    def height(self) -> int:
        """The newest recorded block, or where recording begins; 0 on a new chain."""
        return self._last.block.height if self._last else self._store.begun_height

    @property
    def first_height(self) -> int:
        """The oldest block that is kept; 0 before the first."""
        return self._store.first_height

    @property
    def retain_height(self) -> int:
        """The oldest block that the engine must keep, too; 0 keeps all."""
        return self._store.first_height if self._store.prunes else 0

    async def load(self) -> None:
        """Read where recording ended, so that what is stored can be served.

        Raises:
            StoreCorrupt: the newest block, its outcome or the validators do not read back.
        """
        try:
            await self._store.open()
            height = await self._store.height()
            if height:
                block = await self._store.load(height)
                executed = await self._store.outcome(height)
                self._last = _Last(block, executed, self._store.validators.at(height))
        except (BlockCorrupt, BlockUnknown, LookupError) as error:
            raise StoreCorrupt(f"{error}; restore the ledger's data folder from a backup") from None
        if self._last is not None:
            self._stand(self._last)

    async def record(
        self,
        block: DecidedBlock,
        executed: contract_pb.ExecuteBlockResponse,
        validators: ValidatorSet,
    ) -> None:
        """Store a block; on return it is on disk, and the block before it is proven.

        A height that was recorded before is ignored.

        Args:
            executed: what contract answered for the block, and has committed.
            validators: the set that signed it.

        Raises:
            StoresDisagree: a block is missing before it, or it does not follow from what is
                recorded, or its commit is not valid.
            StoreUnwritable: the disk is full or fails; nothing was stored.
        """
        if block.height <= self.height:
            return
        if block.height != self.height + 1:
            raise StoresDisagree(
                f"block {block.height} cannot be recorded after {self.height}: restore the "
                "ledger's data folder and contract's from one backup"
            )
        names = await asyncio.to_thread(_examine, block, validators, self._last)
        outcome = Outcome(block.height, executed.SerializeToString())
        await self._store.append(block, names, validators, outcome)
        last, self._last = self._last, _Last(block, executed, validators)
        if last is not None:
            announced = b"" if validators == last.validators else validators.to_bytes()
            head = Head(block.header, block.commit)
            proven = prove(last.block, last.executed, head, announced)
            self._proven.remember(last.block.height, proven)
            BLOCK_INTERVAL.observe((block.time_ns - last.block.time_ns) / NANOSECONDS)
        self._mempool.remove([name.id for name in names])
        COMMITTED.inc(len(block.transactions))
        self._stand(self._last)

    async def begin_at(
        self,
        height: int,
        changes: Sequence[chain_pb.ValidatorChange],
        validators: ValidatorSet,
    ) -> None:
        """Begin an empty store after a state that was synced: the next block is `height` + 1.

        Args:
            changes: every change of the set since the genesis, the one that the header of
                `height` announced included.
            validators: the set of `height` + 1, to which the changes lead.

        Raises:
            StoresDisagree: the store is not empty, or the changes do not lead to the set.
        """
        if self._last is not None:
            raise StoresDisagree("a state was synced into a ledger that has blocks of its own")
        try:
            terms = await asyncio.to_thread(terms_from, changes, self._trusted, height)
        except ChainError as error:
            raise StoresDisagree(f"the synced validators are not the chain's: {error}") from None
        if terms[-1].validators != validators:
            raise StoresDisagree("the changes do not lead to the synced validators")
        await self._store.begin_at(height, terms)

    async def changes(self) -> list[chain_pb.ValidatorChange]:
        """Return every recorded change of the validators, by ascending height."""
        return self._store.validators.changes_to(self.height)

    def _stand(self, last: _Last) -> None:
        block, executed = last.block, last.executed
        show_tip(block.height, block.time_ns, block.commit)
        self._proven.tip.move(Position.after(block.height, block.time_ns, executed))


def _examine(block: DecidedBlock, validators: ValidatorSet, last: _Last | None) -> list[Name]:
    """Hold a block to its validators and to the block before it; return its transactions' names.

    Every follower would refuse what is refused here, so it must not be stored.
    """
    try:
        header, commit = parse_header(block.header), parse_commit(block.commit)
        verify_commit(header, commit, validators)
    except ChainError as error:
        raise _misfit(block, str(error)) from None
    if header.height != block.height or data_hash(block.transactions) != header.data_hash:
        raise _misfit(block, "its transactions are not those of its header")
    if last is not None:
        before = comet.Header.FromString(last.block.header)
        certified = (header_hash(before), last.executed.app_hash, before.next_validators_hash)
        found = (header.last_block_id.hash, header.app_hash, header.validators_hash)
        if found != certified:
            raise _misfit(block, "it does not follow the block and the state before it")
        if header.last_results_hash != results_hash(last.executed.results):
            raise _misfit(block, "it certifies other results than contract's")
    return list(_names(block.transactions))


def _names(transactions: Sequence[bytes]) -> Iterator[Name]:
    """Yield the names of what are transactions; other bytes, which contract refuses, have none."""
    for position, raw in enumerate(transactions):
        try:
            body = tx_pb.Transaction.FromString(raw).body
        except DecodeError:
            continue
        yield Name(transaction_id(body), transaction_hash(raw), position)


def _misfit(block: DecidedBlock, why: str) -> StoresDisagree:
    return StoresDisagree(
        f"block {block.height} of the consensus node cannot be recorded: {why}; restore the "
        "ledger's data folder and contract's from one backup"
    )


def terms_from(
    changes: Sequence[chain_pb.ValidatorChange], trusted: ValidatorSet, height: int
) -> list[Term]:
    """Return the terms that signed changes lead to from the trusted set, up to `height` + 1.

    Cost: one signature a validator and change.

    Raises:
        ChainError: a change does not follow from those before it.
    """
    terms = [Term(1, trusted, None)]
    for change in changes:
        header = parse_header(change.header)
        announced = ValidatorSet.from_bytes(change.validators)
        before = terms[-1]
        verify_commit(header, parse_commit(change.commit), before.validators)
        in_order = before.first_height <= header.height <= height
        if not in_order or announced.hash() != header.next_validators_hash:
            raise ValidatorsDiffer("a change announces another set, or is out of order")
        terms.append(Term(header.height + 1, announced, change))
    return terms
