"""The rows of the block store: how each is written, and how it is held to what was written.

What is read back differently raises `BlockCorrupt`, and is counted and logged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from cipherward.chain.v1 import block_pb2 as chain
from cipherward_chain.comet import ValidatorSet
from cipherward_ledger.errors import BlockCorrupt, BlockPruned, BlockUnknown
from cipherward_ledger.history import Term
from cipherward_ledger.metrics import CORRUPT
from cipherward_ledger.schema import sealed

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Head:
    """A block without its transactions: its serialised header and commit."""

    header: bytes
    seal: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What contract answered for a block: a serialised ExecuteBlockResponse."""

    height: int
    executed: bytes


class Name(NamedTuple):
    """A transaction of a block: its id, the hash of its bytes, and its place.

    A tuple, since thousands a second are made, in a third of a dataclass's time.
    """

    id: bytes
    hash: bytes
    position: int


def insert_block(connection: sqlite3.Connection, height: int, head: Head, body: bytes) -> None:
    """Write a block; `body` is its serialised Data."""
    digest = sealed(height, (head.header, head.seal))
    connection.execute(
        "INSERT INTO blocks (height, header, seal, body, digest) VALUES (?, ?, ?, ?, ?)",
        (height, head.header, head.seal, body, digest),
    )


def insert_names(connection: sqlite3.Connection, height: int, names: Sequence[Name]) -> None:
    """Write a block's index; an id that an earlier block holds stays that block's."""
    connection.executemany(
        "INSERT OR IGNORE INTO transactions (id, hash, height, position) VALUES (?, ?, ?, ?)",
        [(name.id, name.hash, height, name.position) for name in names],
    )


def insert_outcome(connection: sqlite3.Connection, outcome: Outcome) -> None:
    """Write an outcome, or write it again."""
    connection.execute(
        "INSERT OR REPLACE INTO outcomes (height, executed, digest) VALUES (?, ?, ?)",
        (outcome.height, outcome.executed, sealed(outcome.height, (outcome.executed,))),
    )


def insert_term(connection: sqlite3.Connection, term: Term) -> None:
    """Write a term of validators."""
    change = term.change or chain.ValidatorChange()
    parts = (term.validators.to_bytes(), change.header, change.commit)
    connection.execute(
        "INSERT INTO validators (first_height, validators, header, seal, digest) "
        "VALUES (?, ?, ?, ?, ?)",
        (term.first_height, *parts, sealed(term.first_height, parts)),
    )


def read_head(connection: sqlite3.Connection, height: int) -> Head:
    """Return a block's header and commit; raise `BlockUnknown` if there is none."""
    row = connection.execute(
        "SELECT header, seal, digest FROM blocks WHERE height = ?", (height,)
    ).fetchone()
    if row is None:
        raise BlockUnknown(f"no proven block {height}", height=height)
    header, seal, digest = (_octets(value) for value in row)
    if sealed(height, (header, seal)) != digest:
        raise corrupt("header")
    return Head(header, seal)


def read_body(connection: sqlite3.Connection, height: int) -> bytes:
    """Return the Data of a block that is there; who parses it holds it to the data hash."""
    row = connection.execute("SELECT body FROM blocks WHERE height = ?", (height,)).fetchone()
    return _octets(row[0])


def read_outcome(connection: sqlite3.Connection, height: int) -> bytes:
    """Return a block's outcome; raise `BlockUnknown` if there is none yet."""
    row = connection.execute(
        "SELECT executed, digest FROM outcomes WHERE height = ?", (height,)
    ).fetchone()
    if row is None:
        raise BlockUnknown(f"no proven block {height}", height=height)
    executed, digest = (_octets(value) for value in row)
    if sealed(height, (executed,)) != digest:
        raise corrupt("outcome")
    return executed


def read_term(connection: sqlite3.Connection, first_height: int) -> Term:
    """Return the term that begins at a height."""
    row = connection.execute(
        "SELECT validators, header, seal, digest FROM validators WHERE first_height = ?",
        (first_height,),
    ).fetchone()
    if row is None:
        raise corrupt("validators")
    validators, header, seal, digest = (_octets(value) for value in row)
    if sealed(first_height, (validators, header, seal)) != digest:
        raise corrupt("validators")
    change = chain.ValidatorChange(header=header, commit=seal, validators=validators)
    return Term(first_height, ValidatorSet.from_bytes(validators), change if header else None)


def read_terms(connection: sqlite3.Connection) -> list[Term]:
    """Return every term, by ascending height."""
    rows = connection.execute("SELECT first_height FROM validators ORDER BY first_height")
    return [read_term(connection, height) for (height,) in rows.fetchall()]


def corrupt(what: str) -> BlockCorrupt:
    """Count and log that something does not read back; return the refusal to raise."""
    CORRUPT.inc()
    log.error("stored_block_corrupt", what=what)
    return BlockCorrupt("a stored block does not read back as it was stored; it is not served")


def pruned(height: int, first_height: int) -> BlockPruned:
    """Return the refusal of a block that is older than the oldest that is kept."""
    return BlockPruned(
        f"block {height} is no longer kept here; the oldest is {first_height}",
        height=height,
        first_height=first_height,
    )


def _octets(value: object) -> bytes:
    """Return a BLOB; a damaged page can make any type of it."""
    if not isinstance(value, bytes):
        raise corrupt("type")
    return value
