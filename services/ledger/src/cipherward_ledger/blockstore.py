"""Blocks on disk, each verified when it is read.

A row's header and commit are under a digest; its transactions are under the header's data hash; an
outcome is under a digest. So any changed byte is noticed, and refused.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import DecodeError

from cipherward.chain.v1 import block_pb2 as chain
from cipherward.comet.v1 import types_pb2 as comet
from cipherward.contract.v1 import contract_service_pb2 as contract
from cipherward_chain.comet import ValidatorSet, data_hash, header_time_ns, parse_header
from cipherward_chain.wire import exact_bytes
from cipherward_kit.database import Database
from cipherward_ledger import rows
from cipherward_ledger.errors import BlockUnknown
from cipherward_ledger.history import Term, ValidatorHistory
from cipherward_ledger.outbox import remove_included
from cipherward_ledger.pruning import KEEP_ALL, Retention, prune
from cipherward_ledger.rows import Head, Name, Outcome
from cipherward_ledger.schema import write

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class DecidedBlock:
    """A block whose commit is signed: serialised Header and Commit, with its transactions.

    `commit` is of this very header, not the one before it.
    """

    height: int
    time_ns: int
    header: bytes
    commit: bytes
    transactions: tuple[bytes, ...]


class BlockStore:
    """The chain's blocks in the ledger's database: new ones are appended, the oldest pruned.

    `open` it before anything but a read of one block.
    """

    def __init__(self, database: Database, retention: Retention = KEEP_ALL) -> None:
        self._database = database
        self._retention = retention
        self.validators = ValidatorHistory()
        self._first_height = 0
        self._begun_height = 0
        # Whoever restores a snapshot of this height fetches the blocks after it here; 0: nobody.
        self.keep_after = 0

    @property
    def first_height(self) -> int:
        """The oldest block that is kept; 0 before the first."""
        return self._first_height

    @property
    def begun_height(self) -> int:
        """The block before the first that this store ever held: 0, or where a state was synced."""
        return self._begun_height

    @property
    def prunes(self) -> bool:
        """Whether old blocks are deleted."""
        return bool(self._retention.blocks)

    async def open(self) -> None:
        """Read what is kept in memory.

        Raises:
            BlockCorrupt: the validators do not read back.
        """

        def read(connection: sqlite3.Connection) -> tuple[int, int, list[Term]]:
            (first,) = connection.execute("SELECT COALESCE(MIN(height), 0) FROM blocks").fetchone()
            row = connection.execute("SELECT begun_height FROM chain").fetchone()
            return int(first), int(row[0]) if row else 0, rows.read_terms(connection)

        self._first_height, self._begun_height, terms = await self._reading(read)
        self.validators = ValidatorHistory()
        for term in terms:
            self.validators.add(term)

    async def height(self) -> int:
        """Return the height of the newest block, 0 if there is none."""

        def newest(connection: sqlite3.Connection) -> int:
            (height,) = connection.execute("SELECT COALESCE(MAX(height), 0) FROM blocks").fetchone()
            return int(height)

        return await self._reading(newest)

    async def append(
        self,
        block: DecidedBlock,
        names: Sequence[Name],
        validators: ValidatorSet,
        outcome: Outcome | None,
    ) -> None:
        """Store a block and what belongs to it, in one commit; on return it is on disk.

        In the same commit its transactions leave the outbox, a change of validators is noted, and
        some of the oldest blocks are pruned.

        Args:
            block: the one after the newest.
            names: of its transactions.
            validators: the set that signed it.
            outcome: of this block, or of the one before; whichever the caller has.

        Raises:
            StoreUnwritable: the disk is full or fails; nothing was stored.
        """

        def store(connection: sqlite3.Connection) -> tuple[Term | None, int | None]:
            term = self._new_term(connection, block.height, validators)
            if term is not None:
                rows.insert_term(connection, term)
            if outcome is not None:
                rows.insert_outcome(connection, outcome)
            body = exact_bytes(comet.Data(txs=block.transactions))
            rows.insert_block(connection, block.height, Head(block.header, block.commit), body)
            rows.insert_names(connection, block.height, names)
            remove_included(connection, [name.id for name in names])
            return term, self._prune(connection, block)

        term, pruned_to = await write(self._database, store)
        if term is not None:
            self.validators.add(term)
        self._first_height = pruned_to or self._first_height or block.height

    async def begin_at(self, height: int, terms: Sequence[Term]) -> None:
        """Note in an empty store that its first block will be the one after `height`."""

        def note(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE chain SET begun_height = ?", (height,))
            connection.execute("DELETE FROM validators")
            for term in terms:
                rows.insert_term(connection, term)

        await write(self._database, note)
        await self.open()

    async def load(self, height: int) -> DecidedBlock:
        """Return a stored block.

        Raises:
            BlockUnknown: there is none of that height.
            BlockCorrupt: it does not read back as it was stored.
        """

        def read(connection: sqlite3.Connection) -> tuple[Head, bytes]:
            return rows.read_head(connection, height), rows.read_body(connection, height)

        head, body = await self._reading(read)
        return await self._verifying(lambda: _block(height, head, body))

    async def outcome(self, height: int) -> contract.ExecuteBlockResponse:
        """Return the stored outcome of a block.

        Raises:
            BlockUnknown: none is stored.
            BlockCorrupt: it does not read back as it was stored.
        """
        executed = await self._reading(lambda connection: rows.read_outcome(connection, height))
        return await self._verifying(lambda: contract.ExecuteBlockResponse.FromString(executed))

    async def proven(self, height: int) -> chain.ProvenBlock:
        """Return a block with what certifies it.

        Raises:
            BlockUnknown: there is no such block, or it is not proven yet.
            BlockCorrupt: something of it does not read back as it was stored.
        """

        def read(connection: sqlite3.Connection) -> tuple[Head, bytes, bytes, Head, bytes]:
            following = rows.read_head(connection, height + 1)
            head = rows.read_head(connection, height)
            announced = b""
            if _validators_hash(head) != _validators_hash(following):
                announced = rows.read_term(connection, height + 1).validators.to_bytes()
            body = rows.read_body(connection, height)
            return head, body, rows.read_outcome(connection, height), following, announced

        head, body, executed, following, announced = await self._reading(read)

        def build() -> chain.ProvenBlock:
            block = _block(height, head, body)
            answer = contract.ExecuteBlockResponse.FromString(executed)
            return prove(block, answer, following, announced)

        return await self._verifying(build)

    async def light(self, height: int) -> chain.LightBlock:
        """Return a signed header with the validators who signed it.

        A header that announced other validators is kept for ever.

        Raises:
            BlockPruned: it was older than what is kept.
            BlockUnknown: there is no such block.
            BlockCorrupt: it does not read back as it was stored.
        """
        announcing = self.validators.announced_by(height)
        if announcing is not None:
            head = Head(announcing.header, announcing.commit)
        else:
            try:
                head = await self._reading(lambda connection: rows.read_head(connection, height))
            except BlockUnknown:
                first = self._first_height
                if 0 < height < first:
                    raise rows.pruned(height, first) from None
                raise
        signers = self.validators.at(height)
        return chain.LightBlock(header=head.header, commit=head.seal, validators=signers.to_bytes())

    def _new_term(
        self, connection: sqlite3.Connection, height: int, validators: ValidatorSet
    ) -> Term | None:
        """Return the term that begins with the block of `height`, if one does."""
        if self.validators.newest is None:
            return Term(height, validators, None)
        if self.validators.newest == validators:
            return None
        before = rows.read_head(connection, height - 1)
        change = chain.ValidatorChange(
            header=before.header, commit=before.seal, validators=validators.to_bytes()
        )
        return Term(height, validators, change)

    def _prune(self, connection: sqlite3.Connection, block: DecidedBlock) -> int | None:
        return prune(connection, block.height, block.time_ns, self._retention, self.keep_after)

    async def _reading(self, function: Callable[[sqlite3.Connection], R]) -> R:
        try:
            return await self._database.read(function)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            # SQLite noticed a damaged page before we did; its message may quote that.
            raise rows.corrupt(type(error).__name__) from None

    async def _verifying(self, function: Callable[[], R]) -> R:
        """Run a check of up to 2 MiB off the loop."""
        try:
            return await asyncio.to_thread(function)
        except DecodeError:
            raise rows.corrupt("DecodeError") from None


def prove(
    block: DecidedBlock,
    executed: contract.ExecuteBlockResponse,
    following: Head,
    announced: bytes = b"",
) -> chain.ProvenBlock:
    """Return a block proven.

    Args:
        executed: its outcome.
        following: header and commit of the block after it.
        announced: the serialised validators of the block after it, if others than its own.
    """
    proven = chain.ProvenBlock(
        header=block.header,
        transactions=block.transactions,
        results=executed.results,
        orders=executed.orders,
        next_header=following.header,
        next_commit=following.seal,
        next_validators=announced,
    )
    if executed.HasField("orders_proof"):
        proven.orders_proof.CopyFrom(executed.orders_proof)
    return proven


def _validators_hash(head: Head) -> bytes:
    return comet.Header.FromString(head.header).validators_hash


def _block(height: int, head: Head, body: bytes) -> DecidedBlock:
    header = parse_header(head.header)
    transactions = tuple(comet.Data.FromString(body).txs)
    if data_hash(transactions) != header.data_hash:
        raise rows.corrupt("body")
    time_ns = header_time_ns(header)
    return DecidedBlock(height, time_ns, head.header, head.seal, transactions)
