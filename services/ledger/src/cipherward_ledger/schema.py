"""The ledger's database: blocks, their outcomes, who validated them, the index of transactions, and
the outbox.

One file, because one commit must do several of these at once: a block is stored with its index,
with an outcome, and with its transactions taken from the outbox.

Blocks, outcomes and terms of validators carry a digest of their row (`sealed`): what does not read
back as it was stored is refused.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from cipherward_kit.database import Database
from cipherward_ledger.errors import GenesisDiffers, StoreUnwritable

R = TypeVar("R")

FILE_NAME = "ledger.sqlite"

SCHEMA: tuple[str, ...] = (
    """
    CREATE TABLE chain (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        genesis_digest BLOB NOT NULL,
        begun_height INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE blocks (
        height INTEGER PRIMARY KEY,
        header BLOB NOT NULL,
        seal BLOB NOT NULL,
        body BLOB NOT NULL,
        digest BLOB NOT NULL
    );
    CREATE TABLE outcomes (
        height INTEGER PRIMARY KEY,
        executed BLOB NOT NULL,
        digest BLOB NOT NULL
    );
    CREATE TABLE validators (
        first_height INTEGER PRIMARY KEY,
        validators BLOB NOT NULL,
        header BLOB NOT NULL,
        seal BLOB NOT NULL,
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
    """Return the ledger's database in its data folder; enter it to open it.

    Raises:
        StoreUnwritable: the file cannot be made.
    """
    path = folder / FILE_NAME
    if not path.exists() or not path.stat().st_size:
        # Only before its first page is written can a file be told to shrink when rows are pruned.
        try:
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            raise _unwritable(error) from None
    return Database(path, SCHEMA)


def sealed(height: int, parts: Sequence[bytes]) -> bytes:
    """Return a stored row's digest: SHA-256 over height and length-prefixed parts."""
    digest = hashlib.sha256(height.to_bytes(8, "big"))
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


async def write(database: Database, work: Callable[[sqlite3.Connection], R]) -> R:
    """Run `work` in one transaction; on return it is on disk.

    Raises:
        StoreUnwritable: the disk is full or fails; nothing of it is written.
    """
    try:
        return await database.write(work)
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):  # a mistake of ours
        raise
    except sqlite3.DatabaseError as error:
        raise _unwritable(error) from None


def _unwritable(error: sqlite3.DatabaseError) -> StoreUnwritable:
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StoreUnwritable(
        f"the ledger's database cannot be written ({name}: {error}); nothing that was answered "
        "is lost: make room on the data folder's disk, or repair it, and start again"
    )


async def bind_genesis(database: Database, digest: bytes) -> None:
    """Mark the database with the genesis on first use.

    Raises:
        GenesisDiffers: it was made for another genesis, though the chain's name is the same.
        StoreUnwritable: the disk is full or fails.
    """

    def bind(connection: sqlite3.Connection) -> bytes:
        connection.execute(
            "INSERT OR IGNORE INTO chain (only, genesis_digest) VALUES (1, ?)", (digest,)
        )
        (bound,) = connection.execute("SELECT genesis_digest FROM chain").fetchone()
        return bytes(bound)

    if await write(database, bind) != digest:
        raise GenesisDiffers(
            "the data folder belongs to a chain of the same name with another genesis; "
            "give the genesis file that it was made with, or choose another folder"
        )
