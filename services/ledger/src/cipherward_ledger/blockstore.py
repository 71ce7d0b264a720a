"""Blocks on disk, each verified when it is read.

A row's header and commit are under a digest; the block's body is under the part-set hash that the
commit signs; an outcome is under a digest. So any changed byte is noticed, and refused.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from google.protobuf.message import DecodeError

from cipherward.chain.v1 import block_pb2 as chain
from cipherward.comet.v1 import types_pb2 as comet
from cipherward.contract.v1 import contract_service_pb2 as contract
from cipherward_chain.comet import header_time_ns, part_set
from cipherward_chain.solo import SoloBlock
from cipherward_kit.database import Database
from cipherward_ledger.errors import BlockCorrupt, BlockUnknown
from cipherward_ledger.mempool import Entry
from cipherward_ledger.metrics import CORRUPT
from cipherward_ledger.outbox import remove_included
from cipherward_ledger.schema import sealed

R = TypeVar("R")

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DecidedBlock:
    """A block whose commit is signed, with its transactions at hand."""

    sealed: SoloBlock
    transactions: tuple[bytes, ...]

    @property
    def height(self) -> int:
        """The block's height."""
        return self.sealed.height

    @property
    def time_ns(self) -> int:
        """The block's time, Unix nanoseconds."""
        return self.sealed.time_ns


@dataclass(frozen=True, slots=True)
class Outcome:
    """What contract answered for a block: a serialised ExecuteBlockResponse."""

    height: int
    executed: bytes


@dataclass(frozen=True, slots=True)
class _Head:
    """A block's row without its body, verified."""

    header: bytes
    seal: bytes


class BlockStore:
    """The chain's blocks in the ledger's database, append-only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def height(self) -> int:
        """Return the height of the newest block, 0 if there is none."""

        def newest(connection: sqlite3.Connection) -> int:
            (height,) = connection.execute("SELECT COALESCE(MAX(height), 0) FROM blocks").fetchone()
            return int(height)

        return await self._reading(newest)

    async def append(
        self, block: SoloBlock, entries: list[Entry], outcome_before: Outcome | None
    ) -> None:
        """Store a block, its index and the outcome of the block before it, in one commit.

        In the same commit the block's transactions leave the outbox. On return it is on disk.
        """

        def store(connection: sqlite3.Connection) -> None:
            if outcome_before is not None:
                _insert_outcome(connection, outcome_before)
            digest = sealed(block.height, (block.header, block.commit))
            connection.execute(
                "INSERT INTO blocks (height, header, seal, block, digest) VALUES (?, ?, ?, ?, ?)",
                (block.height, block.header, block.commit, block.block, digest),
            )
            connection.executemany(
                "INSERT INTO transactions (id, hash, height, position) VALUES (?, ?, ?, ?)",
                [(e.id, e.hash, block.height, place) for place, e in enumerate(entries)],
            )
            remove_included(connection, [entry.id for entry in entries])

        await self._database.write(store)

    async def load(self, height: int) -> DecidedBlock:
        """Return a stored block.

        Raises:
            BlockUnknown: there is none of that height.
            BlockCorrupt: it does not read back as it was stored.
        """

        def read(connection: sqlite3.Connection) -> tuple[_Head, bytes]:
            return _read_head(connection, height), _read_body(connection, height)

        head, body = await self._reading(read)
        return await self._verifying(lambda: _block(height, head, body))

    async def proven(self, height: int) -> chain.ProvenBlock:
        """Return a block with what certifies it.

        Raises:
            BlockUnknown: there is no such block, or it is not proven yet.
            BlockCorrupt: something of it does not read back as it was stored.
        """

        def read(connection: sqlite3.Connection) -> tuple[_Head, bytes, bytes, _Head]:
            following, head = _read_head(connection, height + 1), _read_head(connection, height)
            body, executed = _read_body(connection, height), _read_outcome(connection, height)
            return head, body, executed, following

        head, body, executed, following = await self._reading(read)

        def build() -> chain.ProvenBlock:
            block = _block(height, head, body)
            answer = contract.ExecuteBlockResponse.FromString(executed)
            return prove(block, answer, following.header, following.seal)

        return await self._verifying(build)

    async def _reading(self, function: Callable[[sqlite3.Connection], R]) -> R:
        try:
            return await self._database.read(function)
        except sqlite3.DatabaseError as error:  # SQLite noticed a damaged page before we did
            raise _corrupt(type(error).__name__) from None

    async def _verifying(self, function: Callable[[], R]) -> R:
        """Run a check of up to 2 MiB off the loop."""
        try:
            return await asyncio.to_thread(function)
        except DecodeError:
            raise _corrupt("DecodeError") from None


def prove(
    block: DecidedBlock,
    executed: contract.ExecuteBlockResponse,
    next_header: bytes,
    next_commit: bytes,
) -> chain.ProvenBlock:
    """Return a block proven: with its outcome and its successor's header and commit."""
    proven = chain.ProvenBlock(
        header=block.sealed.header,
        transactions=block.transactions,
        results=executed.results,
        orders=executed.orders,
        next_header=next_header,
        next_commit=next_commit,
    )
    if executed.HasField("orders_proof"):
        proven.orders_proof.CopyFrom(executed.orders_proof)
    return proven


def _insert_outcome(connection: sqlite3.Connection, outcome: Outcome) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO outcomes (height, executed, digest) VALUES (?, ?, ?)",
        (outcome.height, outcome.executed, sealed(outcome.height, (outcome.executed,))),
    )


def _read_head(connection: sqlite3.Connection, height: int) -> _Head:
    row = connection.execute(
        "SELECT header, seal, digest FROM blocks WHERE height = ?", (height,)
    ).fetchone()
    if row is None:
        raise BlockUnknown(f"no proven block {height}", height=height)
    header, seal, digest = (_octets(value) for value in row)
    if sealed(height, (header, seal)) != digest:
        raise _corrupt("header")
    return _Head(header, seal)


def _read_body(connection: sqlite3.Connection, height: int) -> bytes:
    row = connection.execute("SELECT block FROM blocks WHERE height = ?", (height,)).fetchone()
    return _octets(row[0])


def _read_outcome(connection: sqlite3.Connection, height: int) -> bytes:
    row = connection.execute(
        "SELECT executed, digest FROM outcomes WHERE height = ?", (height,)
    ).fetchone()
    if row is None:
        raise BlockUnknown(f"no proven block {height}", height=height)
    executed, digest = (_octets(value) for value in row)
    if sealed(height, (executed,)) != digest:
        raise _corrupt("outcome")
    return executed


def _block(height: int, head: _Head, body: bytes) -> DecidedBlock:
    named = comet.Commit.FromString(head.seal).block_id
    if part_set(body) != named.part_set_header:
        raise _corrupt("body")
    block = comet.Block.FromString(body)
    time_ns = header_time_ns(block.header)
    return DecidedBlock(
        SoloBlock(height, time_ns, head.header, body, head.seal), tuple(block.data.txs)
    )


def _octets(value: object) -> bytes:
    """Return a BLOB; a damaged page can make any type of it."""
    if not isinstance(value, bytes):
        raise _corrupt("type")
    return value


def _corrupt(what: str) -> BlockCorrupt:
    CORRUPT.inc()
    log.error("stored_block_corrupt", what=what)
    return BlockCorrupt("a stored block does not read back as it was stored; it is not served")
