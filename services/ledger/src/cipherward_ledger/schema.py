"""The ledger's database: blocks, their outcomes, the index of transactions, and the outbox.

One file, because one commit must do several of these at once: a block is stored with its index,
with the outcome of the block before it, and with its transactions taken from the outbox.

Blocks and outcomes carry a digest of their row (`sealed`): what does not read back as it was
stored is refused.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from cipherward_kit.database import Database
from cipherward_ledger.errors import GenesisDiffers

FILE_NAME = "ledger.sqlite"

SCHEMA: tuple[str, ...] = (
    """
    CREATE TABLE chain (only INTEGER PRIMARY KEY CHECK (only = 1), genesis_digest BLOB NOT NULL);
    CREATE TABLE blocks (
        height INTEGER PRIMARY KEY,
        header BLOB NOT NULL,
        seal BLOB NOT NULL,
        block BLOB NOT NULL,
        digest BLOB NOT NULL
    );
    CREATE TABLE outcomes (
        height INTEGER PRIMARY KEY,
        executed BLOB NOT NULL,
        digest BLOB NOT NULL
    );
    CREATE TABLE transactions (
        id BLOB PRIMARY KEY,
        hash BLOB NOT NULL,
        height INTEGER NOT NULL,
        position INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE outbox (
        sequence INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        hash BLOB NOT NULL,
        expires_ns INTEGER NOT NULL,
        content BLOB NOT NULL
    );
    CREATE TABLE expired (id BLOB PRIMARY KEY, expires_ns INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX expired_by_time ON expired (expires_ns);
    """,
)


def open_database(folder: Path) -> Database:
    """Return the ledger's database in its data folder; enter it to open it."""
    return Database(folder / FILE_NAME, SCHEMA)


def sealed(height: int, parts: Sequence[bytes]) -> bytes:
    """Return a stored row's digest: SHA-256 over height and length-prefixed parts."""
    digest = hashlib.sha256(height.to_bytes(8, "big"))
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


async def bind_genesis(database: Database, digest: bytes) -> None:
    """Mark the database with the genesis on first use.

    Raises:
        GenesisDiffers: it was made for another genesis, though the chain's name is the same.
    """

    def bind(connection: sqlite3.Connection) -> bytes:
        connection.execute("INSERT OR IGNORE INTO chain VALUES (1, ?)", (digest,))
        (bound,) = connection.execute("SELECT genesis_digest FROM chain").fetchone()
        return bytes(bound)

    if await database.write(bind) != digest:
        raise GenesisDiffers(
            "the data folder belongs to a chain of the same name with another genesis; "
            "give the genesis file that it was made with, or choose another folder"
        )
