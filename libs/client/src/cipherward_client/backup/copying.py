"""Consistent copies of databases that are in use, and what the copies say about themselves."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cipherward_chain.checkpoint import Checkpoint, CheckpointMalformed
from cipherward_chain.comet import HeaderMalformed, header_hash, parse_header
from cipherward_client.backup.errors import StoreChanging, StoreDamaged
from cipherward_client.backup.stores import CONTRACT_DATABASE, LEDGER_DATABASE

BUSY_SECONDS: Final = 5.0  # a service holds its lock for one commit
# The two snapshots of a chain's stores lie microseconds apart; a block takes a tenth of a second.
TRIES_MAX: Final = 10


def copy_databases(pairs: Sequence[tuple[Path, Path]]) -> None:
    """Copy databases, all as they are at about one moment, while services write to them. Blocks.

    Args:
        pairs: (database, copy); a copy must not be there yet, and has mode 0600.

    Raises:
        StoreDamaged: a copy is not sound.
    """
    copies = [copy for _, copy in pairs]
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(_held(source))) for source, _ in pairs]
        for connection, copy in zip(opened, copies, strict=True):
            os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            with closing(sqlite3.connect(copy, isolation_level=None)) as target:
                connection.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")  # one file, whole in itself
            _require_sound(copy)


def _held(path: Path) -> sqlite3.Connection:
    """Open a database and hold its state of now: what is written later is not read here."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
    )
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def copy_chain(contract: tuple[Path, Path], ledger: tuple[Path, Path]) -> None:
    """Copy both stores of a chain so that they fit together. Blocks.

    Raises:
        StoreChanging: they did not, each time.
        StoreDamaged: a copy is not sound.
    """
    for _ in range(TRIES_MAX):
        copy_databases((contract, ledger))
        if read_chain(contract[1], ledger[1]).fits:
            return
        for _, copy in (contract, ledger):
            copy.unlink()
    raise StoreChanging("ledger and contract")


@dataclass(frozen=True, slots=True)
class ChainCopy:
    """The two stores of a chain.

    height: of the newest block; 0: none. executed: of the state; root: its root.
    genesis: digests of the documents that both were begun with.
    """

    ledger: Path
    height: int
    executed: int
    root: bytes
    genesis: frozenset[bytes]

    @property
    def fits(self) -> bool:
        """Whether a ledger can go on with them: it executes one block again at most."""
        return self.height - self.executed in (0, 1)

    def header_hash(self, height: int) -> bytes | None:
        """Return the hash of a stored header, None if it is not kept."""
        raw = self._header(height)
        return None if raw is None else header_hash(parse_header(raw))

    def require_root(self) -> None:
        """Hold the state's root against the header that certifies it, where that is kept.

        Raises:
            StoreDamaged: it is another one, or the header cannot be read.
        """
        try:
            raw = self._header(self.executed + 1)
            differs = raw is not None and parse_header(raw).app_hash != self.root
        except HeaderMalformed as error:
            raise StoreDamaged(f"{LEDGER_DATABASE}: {error}") from None
        if differs:
            raise StoreDamaged(f"{CONTRACT_DATABASE}: its root is not the one in the next block")

    def _header(self, height: int) -> bytes | None:
        with closing(sqlite3.connect(self.ledger)) as connection:
            query = "SELECT header FROM blocks WHERE height = ?"
            row = connection.execute(query, (height,)).fetchone()
        return None if row is None else bytes(row[0])


def read_chain(contract: Path, ledger: Path) -> ChainCopy:
    """Return what copies of a chain's stores say.

    Raises:
        StoreDamaged: one of them cannot be read.
    """
    committed = _row(contract, "SELECT height, app_hash, genesis_digest FROM committed")
    (height,) = _row(ledger, "SELECT COALESCE(MAX(height), 0) FROM blocks")
    (begun,) = _row(ledger, "SELECT genesis_digest FROM chain")
    executed, root, genesis = committed
    return ChainCopy(
        ledger, height, executed, bytes(root), frozenset((bytes(genesis), bytes(begun)))
    )


def read_place(database: Path) -> Checkpoint | None:
    """Return where a store that follows the chain stands; None before the first block.

    Raises:
        StoreDamaged: it does not say, or is not sound.
    """
    _require_sound(database)
    (stored,) = _row(database, "SELECT checkpoint FROM position")
    try:
        return Checkpoint.from_bytes(bytes(stored)) if stored else None
    except CheckpointMalformed as error:
        raise StoreDamaged(f"{database.name}: {error}") from None


def _require_sound(database: Path) -> None:
    if _row(database, "PRAGMA quick_check") != ("ok",):
        raise StoreDamaged(database.name)


def _row(database: Path, query: str) -> tuple[Any, ...]:
    try:
        with closing(sqlite3.connect(database)) as connection:
            row = connection.execute(query).fetchone()
    except sqlite3.DatabaseError as error:
        raise StoreDamaged(f"{database.name}: {error}") from None
    if row is None:
        raise StoreDamaged(f"{database.name} is empty")
    return row
