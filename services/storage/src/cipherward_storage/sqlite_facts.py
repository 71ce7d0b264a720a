"""What proven blocks have said, in SQLite: the embedded `ChainFacts`; how a block adds to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from cipherward_kit.database import Database
from cipherward_storage.effects import BlockEffects, RecordKey
from cipherward_storage.records import Anchor, AnchoredRecord


class SqliteChainFacts:
    """`ChainFacts` over the service's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def anchored(self, record_id: bytes) -> AnchoredRecord | None:
        """Return how a proven block anchored the record, or None."""

        def work(connection: sqlite3.Connection) -> tuple[bytes, bytes, int] | None:
            return connection.execute(
                "SELECT anchor, slot_digest, height FROM anchors WHERE record_id = ?", (record_id,)
            ).fetchone()

        row = await self._database.read(work)
        if row is None:
            return None
        anchor, slot_digest, height = row
        return AnchoredRecord(Anchor.parse(anchor), slot_digest, height)

    async def page(self, after: bytes, limit: int) -> Sequence[AnchoredRecord]:
        """Return up to `limit` anchors by ascending record id, those after the id `after`."""

        def work(connection: sqlite3.Connection) -> list[tuple[bytes, bytes, int]]:
            query = (
                "SELECT anchor, slot_digest, height FROM anchors WHERE record_id > ?"
                " ORDER BY record_id LIMIT ?"
            )
            return connection.execute(query, (after, limit)).fetchall()

        rows = await self._database.read(work)
        return [AnchoredRecord(Anchor.parse(row[0]), row[1], row[2]) for row in rows]

    async def began(self) -> int:
        """Return the height of the first block that was applied here; 0 before it."""
        return await self._database.read(_began)

    async def erased(self, record_id: bytes) -> bool:
        """Return whether a proven block ordered the record to be erased."""
        return await self._database.read(lambda connection: is_erased(connection, record_id))

    async def record_key(self, key_epoch: int) -> RecordKey | None:
        """Return the members' record key of an epoch, or None."""

        def work(connection: sqlite3.Connection) -> tuple[int, int, int, bytes] | None:
            return connection.execute(
                "SELECT key_epoch, sharing, threshold, public_key FROM record_keys"
                " WHERE key_epoch = ?",
                (key_epoch,),
            ).fetchone()

        row = await self._database.read(work)
        return None if row is None else RecordKey(*row)


def _began(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT height FROM began").fetchone()
    return 0 if row is None else row[0]


def is_erased(connection: sqlite3.Connection, record_id: bytes) -> bool:
    """Return whether the record's id is refused."""
    query = "SELECT 1 FROM erased WHERE record_id = ?"
    return connection.execute(query, (record_id,)).fetchone() is not None


def add_facts(connection: sqlite3.Connection, effects: BlockEffects) -> None:
    """Keep a block's anchors, the first of each record, and the newest sharing of each key."""
    connection.execute("INSERT INTO began VALUES (1, ?) ON CONFLICT DO NOTHING", (effects.height,))
    connection.executemany(
        "INSERT INTO anchors VALUES (?, ?, ?, ?) ON CONFLICT (record_id) DO NOTHING",
        [(a.anchor.record_id, a.anchor.octets, a.slot_digest, a.height) for a in effects.anchored],
    )
    connection.executemany(
        "INSERT INTO record_keys VALUES (?, ?, ?, ?) ON CONFLICT (key_epoch) DO UPDATE"
        " SET sharing = excluded.sharing, threshold = excluded.threshold"
        " WHERE excluded.sharing > sharing AND excluded.public_key = public_key",
        [(k.key_epoch, k.sharing, k.threshold, k.public_key) for k in effects.record_keys],
    )
