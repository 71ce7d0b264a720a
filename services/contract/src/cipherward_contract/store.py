"""The one truth on disk: state pairs, height, app hash, the last blocks' answers, and the local
index.

Everything that a block changes is written in one SQLite transaction. The functions here take the
connection of the running transaction (cipherward_kit.database), so that no write can happen outside
one.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cipherward_contract.entries import TRANSACTION, expiry_of

SCHEMA = (
    """
    CREATE TABLE state (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    -- when each remembered transaction id may be forgotten; follows from the state
    CREATE TABLE transaction_expiry (
        expires INTEGER NOT NULL, id BLOB NOT NULL, PRIMARY KEY (expires, id)
    ) WITHOUT ROWID;
    CREATE TABLE committed (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        height INTEGER NOT NULL,
        time_ns INTEGER NOT NULL,
        app_hash BLOB NOT NULL,
        genesis_digest BLOB NOT NULL
    );
    -- `checksum` is the SHA-256 of the answer: a damaged one is never given
    CREATE TABLE block (
        height INTEGER PRIMARY KEY,
        digest BLOB NOT NULL,
        answer BLOB NOT NULL,
        checksum BLOB NOT NULL
    );
    CREATE TABLE instance_index (
        sequence INTEGER PRIMARY KEY, object BLOB NOT NULL, instance BLOB NOT NULL UNIQUE
    );
    CREATE INDEX instance_by_object ON instance_index (object, sequence);
    CREATE TABLE disclosure (
        sequence INTEGER PRIMARY KEY,
        record BLOB NOT NULL,
        stage INTEGER NOT NULL,
        transaction_id BLOB NOT NULL,
        height INTEGER NOT NULL,
        time_ns INTEGER NOT NULL,
        member TEXT NOT NULL,
        role TEXT NOT NULL,
        purpose TEXT NOT NULL,
        instance BLOB NOT NULL,
        order_height INTEGER,
        order_index INTEGER,
        report_transaction_id BLOB NOT NULL,
        reason TEXT NOT NULL
    );
    CREATE INDEX disclosure_by_record ON disclosure (record, sequence);
    CREATE INDEX disclosure_by_order ON disclosure (order_height, order_index);
    -- one row a recipient; `member` is empty where it is the record's owner
    CREATE TABLE notice (
        sequence INTEGER PRIMARY KEY,
        member TEXT NOT NULL,
        record BLOB NOT NULL,
        kind TEXT NOT NULL,
        instance BLOB NOT NULL,
        height INTEGER NOT NULL,
        time_ns INTEGER NOT NULL,
        due INTEGER NOT NULL
    );
    CREATE INDEX notice_by_member ON notice (member, sequence);
    CREATE INDEX notice_by_record ON notice (record, sequence);
    """,
    """
    -- the first block of which this store's index has everything: later than 1 after a snapshot
    ALTER TABLE committed ADD COLUMN complete_from INTEGER NOT NULL DEFAULT 1;
    """,
)

# Pages of the state that the executing thread keeps in memory: the inner pages of a million keys
# and the pages of a block's writes; the rest is in the operating system's cache.
CACHE_KIBIBYTES = 32 * 1024
# What the write-ahead log is cut back to after it has grown beside a snapshot.
JOURNAL_BYTES = 64 * 1024 * 1024

TABLES = (
    "committed",
    "state",
    "transaction_expiry",
    "block",
    "instance_index",
    "disclosure",
    "notice",
)

# Twice what GetExecuted promises (64): a ledger that lags asks for at most one block.
BLOCKS_KEPT = 128


@dataclass(frozen=True, slots=True)
class Head:
    """The committed block; height 0 is the genesis.

    complete_from: the first block of which the local index has everything.
    """

    height: int
    time_ns: int
    app_hash: bytes
    genesis_digest: bytes
    complete_from: int = 1


@dataclass(frozen=True, slots=True)
class KeptBlock:
    """What ExecuteBlock answered for the block whose request has this digest."""

    height: int
    digest: bytes
    answer: bytes


class StoredState:
    """The committed pairs, as `cipherward_contract.state.Committed`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None."""
        row = self._connection.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs from `start` up to, not including, `end`, by ascending key."""
        yield from self._connection.execute(
            "SELECT key, value FROM state WHERE key >= ? AND key < ? ORDER BY key", (start, end)
        )


def load_head(connection: sqlite3.Connection) -> Head | None:
    """Return the committed block, or None before InitChain."""
    row = connection.execute(
        "SELECT height, time_ns, app_hash, genesis_digest, complete_from FROM committed"
    ).fetchone()
    return None if row is None else Head(*row)


def all_pairs(connection: sqlite3.Connection) -> Iterator[tuple[bytes, bytes]]:
    """Yield every pair of the state."""
    yield from connection.execute("SELECT key, value FROM state")


def load_block(connection: sqlite3.Connection, height: int) -> KeptBlock | None:
    """Return what is kept of a block, or None if nothing is, or only damaged bytes."""
    row = connection.execute(
        "SELECT digest, answer, checksum FROM block WHERE height = ?", (height,)
    ).fetchone()
    if row is None or hashlib.sha256(row[1]).digest() != row[2]:
        return None
    return KeptBlock(height, row[0], row[1])


def expired_transactions(connection: sqlite3.Connection, now: int, limit: int) -> list[bytes]:
    """Return the first ids (by expiry, then id) that expired before `now`, Unix seconds."""
    rows = connection.execute(
        "SELECT id FROM transaction_expiry WHERE expires < ? ORDER BY expires, id LIMIT ?",
        (now, limit),
    )
    return [row[0] for row in rows]


def save_head(connection: sqlite3.Connection, head: Head) -> None:
    """Write which block is committed."""
    connection.execute(
        "INSERT OR REPLACE INTO committed VALUES (1, ?, ?, ?, ?, ?)",
        (head.height, head.time_ns, head.app_hash, head.genesis_digest, head.complete_from),
    )


def clear_state(connection: sqlite3.Connection) -> None:
    """Drop everything: the store is as before InitChain."""
    for table in TABLES:
        connection.execute(f"DELETE FROM {table}")  # names of ours


def save_writes(connection: sqlite3.Connection, writes: Mapping[bytes, bytes | None]) -> None:
    """Write a block's pairs, and keep the times at which transaction ids may be forgotten."""
    _forget_expiries(connection, [key for key, value in writes.items() if value is None])
    connection.executemany(
        "DELETE FROM state WHERE key = ?", [(k,) for k, value in writes.items() if value is None]
    )
    connection.executemany(
        "INSERT OR REPLACE INTO state VALUES (?, ?)",
        sorted((key, value) for key, value in writes.items() if value is not None),
    )
    connection.executemany(
        "INSERT INTO transaction_expiry VALUES (?, ?)",
        [
            (expiry_of(value), key.removeprefix(TRANSACTION))
            for key, value in writes.items()
            if value is not None and key.startswith(TRANSACTION)
        ],
    )


def _forget_expiries(connection: sqlite3.Connection, deleted: list[bytes]) -> None:
    stored = StoredState(connection)
    gone: list[tuple[int, bytes]] = []
    for key in deleted:
        value = stored.get(key) if key.startswith(TRANSACTION) else None
        if value is not None:
            gone.append((expiry_of(value), key.removeprefix(TRANSACTION)))
    connection.executemany("DELETE FROM transaction_expiry WHERE expires = ? AND id = ?", gone)


def save_block(connection: sqlite3.Connection, block: KeptBlock) -> None:
    """Keep what was answered for a block, and drop what is too old."""
    connection.execute(
        "INSERT INTO block VALUES (?, ?, ?, ?)",
        (block.height, block.digest, block.answer, hashlib.sha256(block.answer).digest()),
    )
    connection.execute("DELETE FROM block WHERE height <= ?", (block.height - BLOCKS_KEPT,))


def block_digest(height: int, time_ns: int, transactions: Sequence[bytes]) -> bytes:
    """Return the name (32 bytes) of a decided block: of what ExecuteBlock was asked."""
    head = height.to_bytes(8, "big") + time_ns.to_bytes(12, "big", signed=True)
    inner = b"".join(hashlib.sha256(transaction).digest() for transaction in transactions)
    return hashlib.sha256(head + inner).digest()
