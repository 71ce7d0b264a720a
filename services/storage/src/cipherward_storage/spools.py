"""An upload in a file: written and hashed in threads, committed as it goes, ended by one switch."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from cipherward_kit.database import Database
from cipherward_storage.bodies import Bodies, OpenBody
from cipherward_storage.descriptors import Descriptor
from cipherward_storage.errors import DigestDiffers, DiskFull, RecordErased, RecordExists
from cipherward_storage.records import StoredRecord, UploadHeader
from cipherward_storage.sqlite_facts import is_erased
from cipherward_storage.store import SlotKeyRetired

# What a write answers when there is no room left for this user.
NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT))
REFUSALS = (DiskFull, RecordErased, SlotKeyRetired)  # nothing was written


@dataclass(frozen=True, slots=True)
class Place:
    """Where uploads are kept.

    quota_bytes: of all records, uploads under way and columns. clock: unix seconds, never behind
    the newest block time.
    """

    database: Database
    bodies: Bodies
    quota_bytes: int
    clock: Callable[[], int]


class _End(Enum):
    OPEN = "the bytes so far are kept for a resumption"
    COMPLETE = "they are a record"
    REFUSED = "they are deleted"


class FileSpool:
    """`Spool` over one body file and its row in `uploads`."""

    def __init__(self, header: UploadHeader, place: Place, body: OpenBody) -> None:
        """Take an open body whose row exists; use `begin` or `resume`."""
        self._header = header
        self._place = place
        self._body = body
        self._file = Descriptor(body.descriptor)
        self._received = self._committed = body.size
        self._end = _End.OPEN

    @classmethod
    async def begin(cls, header: UploadHeader, place: Place) -> FileSpool:
        """Start a new upload: its row survives a power cut from here on, its bytes once synced.

        Raises:
            DiskFull: the announced length would exceed the quota.
            RecordErased: the record's id is refused.
            SlotKeyRetired: the header's slot key is not in use any more.
        """
        body = await asyncio.to_thread(place.bodies.create)
        begun = _begin(header, body.name, place)
        try:
            await place.database.write_grouped(begun)
        except BaseException as error:
            os.close(body.descriptor)
            if isinstance(error, REFUSALS):  # else the row may be there: the next start looks
                await asyncio.to_thread(place.bodies.delete, (body.name,))
            raise
        return cls(header, place, body)

    @classmethod
    async def resume(cls, header: UploadHeader, place: Place, name: str, offset: int) -> FileSpool:
        """Go on with an upload at `offset`, its committed length or 0; hashes what is there."""
        if offset == 0:  # before the file is cut: the row never says more than the file has
            await _save_committed(place, header.request_id, 0)
        return cls(header, place, await asyncio.to_thread(place.bodies.reopen, name, offset))

    @property
    def received_bytes(self) -> int:
        """How much there is, counted from the start of the ciphertext."""
        return self._received

    @property
    def unsynced_bytes(self) -> int:
        """How much of it a power cut would take."""
        return self._received - self._committed

    @property
    def missing_bytes(self) -> int:
        """How much is still to come."""
        return self._header.anchor.ciphertext_bytes - self._received

    async def append(self, parts: Sequence[bytes]) -> None:
        """Write and hash the next bytes in a thread."""
        try:
            await self._file.run(self._append, parts)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise DiskFull("the disk is full") from None

    async def sync(self) -> None:
        """Make what was appended before the call survive a power cut."""
        size = self._received
        await self._file.run(self._place.bodies.flush, self._body.name)
        await _save_committed(self._place, self._header.request_id, size)
        self._committed = size

    async def complete(self) -> StoredRecord:
        """Turn the upload into a record, in one transaction after the last byte is on disk."""
        anchor = self._header.anchor
        whole, table = self._body.digest.finish()
        if self._received != anchor.ciphertext_bytes or whole != anchor.ciphertext_digest:
            await self._refuse()
            raise DigestDiffers("what arrived is not what the anchor names; send it from the start")
        await self._file.run(self._place.bodies.flush, self._body.name)
        try:
            await self._place.database.write_grouped(lambda db: self._switch(db, table))
        except (RecordExists, RecordErased):
            await self._refuse()
            raise
        self._end, self._committed = _End.COMPLETE, self._received
        header = self._header
        return StoredRecord(anchor, header.slot_digest, header.alliance_slot, header.kept, 0)

    async def close(self) -> None:
        """Close the file, keeping an open upload's bytes."""
        try:
            await self._file.idle()
            if self._end is _End.OPEN and self.unsynced_bytes:
                await self.sync()
        finally:
            self._file.close()
        if self._end is _End.REFUSED:
            await asyncio.to_thread(self._place.bodies.delete, (self._body.name,))

    def _append(self, descriptor: int, parts: Sequence[bytes]) -> None:
        for part in parts:
            rest = memoryview(part)
            while len(rest):  # a write may take less than it was given
                rest = rest[os.write(descriptor, rest) :]
            self._body.digest.update(part)
            self._received += len(part)

    async def _refuse(self) -> None:
        request_id = (self._header.request_id,)
        delete = "DELETE FROM uploads WHERE request_id = ?"
        await self._place.database.write_grouped(lambda db: db.execute(delete, request_id).rowcount)
        self._end = _End.REFUSED

    def _switch(self, connection: sqlite3.Connection, table: bytes) -> None:
        """Make the record and end the upload. Its slot is the row's: renewed since it began."""
        record_id, request_id = self._header.anchor.record_id, self._header.request_id
        if is_erased(connection, record_id):
            raise RecordErased("the record of this id was erased")
        inserted = connection.execute(
            "INSERT INTO records (record_id, anchor, slot_digest, alliance_slot, key_number, kept,"
            " body, ciphertext_bytes, part_tags, stored_at)"
            " SELECT record_id, anchor, slot_digest, alliance_slot, key_number, kept, body,"
            " ciphertext_bytes, ?, ? FROM uploads WHERE request_id = ? ON CONFLICT DO NOTHING",
            (table, self._place.clock(), request_id),
        )
        if inserted.rowcount == 0:
            raise RecordExists("another record took this id meanwhile")
        connection.execute(
            "UPDATE uploads SET body = NULL, committed_bytes = ciphertext_bytes, key_number = 0,"
            " kept = x'' WHERE request_id = ?",
            (request_id,),
        )


def _begin(header: UploadHeader, body: str, place: Place) -> Callable[[sqlite3.Connection], None]:
    length = header.anchor.ciphertext_bytes
    row = (
        header.request_id,
        header.anchor.record_id,
        header.anchor.octets,
        header.slot_digest,
        header.alliance_slot,
        header.kept.key_number,
        header.kept.octets,
        body,
        length,
        place.clock(),
    )

    def work(connection: sqlite3.Connection) -> None:
        if is_erased(connection, header.anchor.record_id):
            raise RecordErased("the record of this id was erased")
        query = "SELECT promised_bytes, key_floor FROM use"
        promised, floor = connection.execute(query).fetchone()
        if header.kept.key_number < floor:
            raise SlotKeyRetired
        if promised + length > place.quota_bytes:
            raise DiskFull("the quota of this storage is used up", bytes_wanted=length)
        connection.execute("INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)", row)

    return work


async def _save_committed(place: Place, request_id: str, size: int) -> None:
    values = (size, place.clock(), request_id)
    update = "UPDATE uploads SET committed_bytes = ?, touched_at = ? WHERE request_id = ?"
    await place.database.write_grouped(lambda db: db.execute(update, values).rowcount)
