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
from cipherward_storage.errors import DigestDiffers, DiskFull, RecordExists
from cipherward_storage.records import StoredRecord, UploadHeader, digest_of

# What a write answers when there is no room left for this user.
NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT))


@dataclass(frozen=True, slots=True)
class Place:
    """Where uploads are kept.

    quota_bytes: of all records and uploads under way. clock: unix seconds, never behind the
    newest block time.
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
        """
        body = await asyncio.to_thread(place.bodies.create)
        begun = _begin(header, body.name, place)
        try:
            await place.database.write_grouped(begun)
        except BaseException as error:
            os.close(body.descriptor)
            if isinstance(error, DiskFull):  # else the row may be there: the next start looks
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
        if not await self._place.database.write_grouped(lambda db: self._switch(db, table)):
            await self._refuse()
            raise RecordExists("another record took this id meanwhile")
        self._end, self._committed = _End.COMPLETE, self._received
        return StoredRecord(anchor, self._header.slot, 0)

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

    def _switch(self, connection: sqlite3.Connection, table: bytes) -> bool:
        """Make the record and end the upload; False if the id is taken."""
        anchor, slot = self._header.anchor, self._header.slot
        row = (
            anchor.record_id,
            anchor.octets,
            slot,
            digest_of(slot),
            self._body.name,
            anchor.ciphertext_bytes,
            table,
            self._place.clock(),
        )
        inserted = connection.execute(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row
        )
        if inserted.rowcount == 0:
            return False
        connection.execute(
            "UPDATE uploads SET body = NULL, committed_bytes = ciphertext_bytes"
            " WHERE request_id = ?",
            (self._header.request_id,),
        )
        return True


def _begin(header: UploadHeader, body: str, place: Place) -> Callable[[sqlite3.Connection], None]:
    length = header.anchor.ciphertext_bytes
    row = (
        header.request_id,
        header.anchor.record_id,
        header.anchor.octets,
        header.slot,
        body,
        length,
        place.clock(),
    )

    def work(connection: sqlite3.Connection) -> None:
        (promised,) = connection.execute("SELECT promised_bytes FROM use").fetchone()
        if promised + length > place.quota_bytes:
            raise DiskFull("the quota of this storage is used up", bytes_wanted=length)
        connection.execute("INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?, 0, ?)", row)

    return work


async def _save_committed(place: Place, request_id: str, size: int) -> None:
    values = (size, place.clock(), request_id)
    update = "UPDATE uploads SET committed_bytes = ?, touched_at = ? WHERE request_id = ?"
    await place.database.write_grouped(lambda db: db.execute(update, values).rowcount)
