"""Pruning: old blocks leave the ledger's database, a few at a time, and its file shrinks.

What stays for ever: the terms of the validators, with the headers that announced them.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from cipherward.chain.v1 import transaction_pb2 as tx
from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.comet import header_time_ns
from cipherward_chain.transactions import transaction_id
from cipherward_chain.wire import NotExact
from cipherward_ledger.clock import NANOSECONDS

# Blocks, and ids, that one commit prunes: more than one of each that it adds, so that pruning
# catches up after the setting was lowered, and few enough that no commit takes much longer.
BLOCKS_MAX = 8
IDS_MAX = 2_000
# Free pages (of 4 KiB) that stay in the file, since the next blocks use them; and how many of
# those beyond are given back in one commit: a block of 2 MiB twice over.
FREE_PAGES_KEPT = 1_024
# How many times the blocks that are kept anyway may be kept for a snapshot's sake.
SNAPSHOT_PATIENCE = 8
FREE_PAGES_MAX = 1_024


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept.

    blocks: how many of the newest blocks at least; 0 keeps all.
    seconds: blocks that are younger than the newest by less than this are kept, too: as long as a
        transaction may be submitted again its id is known.
    """

    blocks: int
    seconds: int


KEEP_ALL = Retention(0, 0)


def prune(
    connection: sqlite3.Connection,
    height: int,
    time_ns: int,
    retention: Retention,
    keep_after: int = 0,
) -> int | None:
    """Delete some of the blocks that need not be kept; part of the commit that stores a block.

    Args:
        height, time_ns: of the block that is being stored.
        keep_after: the height of a snapshot, after which blocks are kept, too, unless it has grown
            so old that snapshots are no longer made; 0: there is none.

    Returns:
        the oldest height that is left, or None if nothing was deleted.
    """
    if not retention.blocks:
        return None
    kept_from = height - retention.blocks + 1
    if keep_after and height - keep_after < SNAPSHOT_PATIENCE * retention.blocks:
        kept_from = min(kept_from, keep_after + 1)
    rows = connection.execute(
        "SELECT height, header, body FROM blocks WHERE height < ? ORDER BY height LIMIT ?",
        (kept_from, BLOCKS_MAX),
    ).fetchall()
    oldest, ids = None, 0
    for old, header, body in rows:
        before_ns = _time_ns(header)
        if before_ns + retention.seconds * NANOSECONDS > time_ns or ids >= IDS_MAX:
            break
        ids += _delete(connection, old, body)
        connection.execute("DELETE FROM expired WHERE expires_ns < ?", (before_ns,))
        oldest = old + 1
    _give_back(connection)
    return oldest


def _give_back(connection: sqlite3.Connection) -> None:
    """Give free pages back to the disk; the file shrinks at the next checkpoint."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    for _ in range(min(free - FREE_PAGES_KEPT, FREE_PAGES_MAX)):
        connection.execute("PRAGMA incremental_vacuum(1)")  # 7 us; of more it would do one, too


def _delete(connection: sqlite3.Connection, height: int, body: object) -> int:
    """Delete a block with its index; return how many ids that were."""
    ids = _ids(body)
    connection.executemany(
        "DELETE FROM transactions WHERE id = ? AND height = ?", [(one, height) for one in ids]
    )
    connection.execute("DELETE FROM blocks WHERE height = ?", (height,))
    connection.execute("DELETE FROM outcomes WHERE height = ?", (height,))
    return len(ids)


def _ids(body: object) -> list[bytes]:
    """Return the ids of a stored body; of a damaged one those that can be read.

    What stays in the index names a block that is gone, which is answered like an unknown id.
    """
    found: list[bytes] = []
    try:
        for raw in comet.Data.FromString(body).txs if isinstance(body, bytes) else ():
            found.append(transaction_id(tx.Transaction.FromString(raw).body))
    except DecodeError:
        pass
    return found


def _time_ns(header: object) -> int:
    """Return a stored header's time; 0, which is long ago, of one that cannot be read."""
    try:
        return header_time_ns(comet.Header.FromString(header)) if isinstance(header, bytes) else 0
    except (DecodeError, NotExact):
        return 0
