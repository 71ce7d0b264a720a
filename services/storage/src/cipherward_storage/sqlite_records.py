"""Records and uploads in SQLite and files: the embedded `RecordStore`."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cipherward_kit.database import Database
from cipherward_storage.bodies import Bodies, read_part
from cipherward_storage.descriptors import Descriptor
from cipherward_storage.errors import (
    DiskFull,
    OffsetOutOfRange,
    RecordUnknown,
    UploadDiffers,
    UploadInProgress,
    WrongOffset,
)
from cipherward_storage.place import Room
from cipherward_storage.records import (
    PART_BYTES,
    Anchor,
    KeptSlot,
    StoredRecord,
    UploadHeader,
    UploadState,
)
from cipherward_storage.spools import FileSpool, Place

Clock = Callable[[], int]
# Anchor, digest of the author's slot, the members' slot, slot key, kept slot, anchored height.
RecordRow = tuple[bytes, bytes, bytes, int, bytes, int]

FIND = (
    "SELECT r.anchor, r.slot_digest, r.alliance_slot, r.key_number, r.kept, coalesce(a.height, 0)"
    " FROM records r LEFT JOIN anchors a"
    " ON a.record_id = r.record_id AND a.anchor = r.anchor AND a.slot_digest = r.slot_digest"
)


class SqliteRecordStore:
    """`RecordStore` over the service's database and a folder of bodies; enter it to open.

    One process uses a folder: what is open for writing is known in memory.
    """

    def __init__(self, database: Database, folder: Path, room: Room, clock: Clock) -> None:
        """Describe the store.

        Args:
            database: open, with `schema.SCHEMA`.
            folder: of the bodies.
            room: how much may be stored.
            clock: unix seconds; never behind the newest block time.
        """
        self._database = database
        self.bodies = Bodies(folder)
        self._room = room
        self._clock = clock
        self._writing: dict[str, FileSpool | None] = {}  # None while it is being opened

    async def __aenter__(self) -> SqliteRecordStore:
        """Open the folder and forget whatever a crash left half done."""
        await asyncio.to_thread(self.bodies.open)
        named = await self._database.read(_named_bodies)
        missing = await asyncio.to_thread(self.bodies.delete_all_but, named)
        await self._database.write(
            lambda connection: connection.executemany(
                "DELETE FROM uploads WHERE body = ?", [(name,) for name in missing]
            )
        )
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Nothing is left open: spools and readers are contexts of their own."""

    async def find(self, record_id: bytes) -> StoredRecord | None:
        """Return the record, or None."""

        def work(connection: sqlite3.Connection) -> RecordRow | None:
            return connection.execute(f"{FIND} WHERE r.record_id = ?", (record_id,)).fetchone()

        row = await self._database.read(work)
        return None if row is None else _record(row)

    async def page(self, after: bytes, limit: int) -> Sequence[StoredRecord]:
        """Return up to `limit` records by ascending id, those after the id `after`."""

        def work(connection: sqlite3.Connection) -> list[RecordRow]:
            query = f"{FIND} WHERE r.record_id > ? ORDER BY r.record_id LIMIT ?"
            return connection.execute(query, (after, limit)).fetchall()

        return [_record(row) for row in await self._database.read(work)]

    async def upload(self, request_id: str) -> UploadState | None:
        """Return how far the upload is, or None."""
        row = await self._database.read(lambda connection: _upload_row(connection, request_id))
        return None if row is None else row.state(request_id)

    @asynccontextmanager
    async def write(self, header: UploadHeader, offset: int) -> AsyncGenerator[FileSpool]:
        """Open an upload for writing, from the start (0) or where it stopped."""
        request_id = header.request_id
        if request_id in self._writing:
            raise UploadInProgress("another stream writes this upload")
        self._writing[request_id] = None
        try:
            spool = await self._open_spool(header, offset)
            self._writing[request_id] = spool
            try:
                yield spool
            finally:
                await spool.close()
        finally:
            del self._writing[request_id]

    async def read(self, record_id: bytes, offset: int) -> AsyncGenerator[bytes]:
        """Yield the verified ciphertext from `offset` on; the next part is read ahead."""

        def work(connection: sqlite3.Connection) -> tuple[str, int, bytes] | None:
            return connection.execute(
                "SELECT body, ciphertext_bytes, part_tags FROM records WHERE record_id = ?",
                (record_id,),
            ).fetchone()

        row = await self._database.read(work)
        if row is None:
            raise RecordUnknown("there is no such record here")
        body, length, table = row
        if offset > length:
            raise OffsetOutOfRange(f"the record has {length} bytes", ciphertext_bytes=length)
        first, last = offset // PART_BYTES, (length - 1) // PART_BYTES
        if offset == length:
            return
        file = Descriptor(await asyncio.to_thread(self.bodies.open_to_read, body))
        try:
            ahead = file.start(read_part, table, length, first)
            for number in range(first, last + 1):
                part = await asyncio.shield(ahead)
                if number < last:
                    ahead = file.start(read_part, table, length, number + 1)
                yield part[offset % PART_BYTES :] if number == first else part
        finally:
            file.close()

    async def remove_expired(self, before: int, limit: int) -> int:
        """Delete records that nobody anchored and uploads that nobody went on with."""
        writing = list(self._writing)
        bodies, rows = await self._database.write(
            lambda connection: _forget_expired(connection, before, limit, writing)
        )
        await asyncio.to_thread(self.bodies.delete, bodies)
        return rows

    async def _open_spool(self, header: UploadHeader, offset: int) -> FileSpool:
        row = await self._database.read(lambda db: _upload_row(db, header.request_id))
        if row is not None and row.state(header.request_id).header != header:
            raise UploadDiffers("this request id belongs to an upload with another header")
        committed = 0 if row is None else row.committed_bytes
        if offset not in (0, committed) or (row is not None and row.body is None):
            raise WrongOffset(f"{committed} bytes are on disk", committed_bytes=committed)
        length = header.anchor.ciphertext_bytes
        await asyncio.to_thread(self.check_disk, length - offset)
        place = Place(self._database, self.bodies, self._room.quota_bytes, self._clock)
        if row is None or row.body is None:
            return await FileSpool.begin(header, place)
        return await FileSpool.resume(header, place, row.body, offset)

    def check_disk(self, wanted: int) -> None:
        """Refuse what would not leave the reserve free, uploads under way counted in full.

        Raises:
            DiskFull: it would not.
        """
        spools = [spool for spool in self._writing.values() if spool is not None]
        outstanding = sum(spool.missing_bytes for spool in spools)
        if self.bodies.free_bytes() - outstanding - wanted < self._room.reserve_bytes:
            raise DiskFull("the disk is full down to its reserve", bytes_wanted=wanted)


@dataclass(frozen=True, slots=True)
class _UploadRow:
    anchor: bytes
    slot_digest: bytes
    alliance_slot: bytes
    key_number: int
    kept: bytes
    body: str | None  # None: complete
    committed_bytes: int

    def state(self, request_id: str) -> UploadState:
        header = UploadHeader(
            request_id,
            Anchor.parse(self.anchor),
            self.slot_digest,
            self.alliance_slot,
            KeptSlot(self.key_number, self.kept),
        )
        return UploadState(header, self.committed_bytes, self.body is None)


def _upload_row(connection: sqlite3.Connection, request_id: str) -> _UploadRow | None:
    row = connection.execute(
        "SELECT anchor, slot_digest, alliance_slot, key_number, kept, body, committed_bytes"
        " FROM uploads WHERE request_id = ?",
        (request_id,),
    ).fetchone()
    return None if row is None else _UploadRow(*row)


def _record(row: RecordRow) -> StoredRecord:
    anchor, slot_digest, alliance_slot, key_number, kept, anchored_height = row
    return StoredRecord(
        Anchor.parse(anchor),
        slot_digest,
        alliance_slot,
        KeptSlot(key_number, kept),
        anchored_height,
    )


def _named_bodies(connection: sqlite3.Connection) -> set[str]:
    query = "SELECT body FROM records UNION ALL SELECT body FROM uploads WHERE body IS NOT NULL"
    return {name for (name,) in connection.execute(query)}


def _forget_expired(
    connection: sqlite3.Connection, before: int, limit: int, writing: Sequence[str]
) -> tuple[list[str], int]:
    """Delete the rows; return the bodies that they named, and how many rows there were."""
    marks = ", ".join("?" * len(writing))
    uploads = connection.execute(
        "SELECT request_id, body FROM uploads WHERE touched_at < ?"
        f" AND request_id NOT IN ({marks}) LIMIT ?",
        (before, *writing, limit),
    ).fetchall()
    records = connection.execute(
        "SELECT r.record_id, r.body FROM records r WHERE r.stored_at < ?"
        " AND NOT EXISTS (SELECT 1 FROM anchors a WHERE a.record_id = r.record_id"
        " AND a.anchor = r.anchor AND a.slot_digest = r.slot_digest) LIMIT ?",
        (before, limit),
    ).fetchall()
    connection.executemany("DELETE FROM uploads WHERE request_id = ?", [(u[0],) for u in uploads])
    connection.executemany("DELETE FROM records WHERE record_id = ?", [(r[0],) for r in records])
    bodies = [body for _, body in (*uploads, *records) if body is not None]
    return bodies, len(uploads) + len(records)
