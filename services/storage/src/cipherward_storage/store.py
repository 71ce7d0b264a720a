"""The ports to what is kept: records and their bytes, and what proven blocks made of them.

Adapters: `sqlite_records.SqliteRecordStore`, `sqlite_chain.SqliteChainStore` and
`sqlite_facts.SqliteChainFacts` (embedded), their namesakes in `mongo` (production); `stores`
chooses. Other ports stand beside their users: `guardian`, `erasures`, `slot_renewal`. Each adapter
is held to the same suite of tests. All ports of one deployment share one place: what `apply` writes
is what the others find.

Every act raises `StoreAway` when a store elsewhere does not answer. What it was about is then done
or not done, never half, and the act may be repeated: an upload goes on at `committed_bytes`, and a
block that was applied changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from cipherward_member.reports import OrderKey, ReportStore
from cipherward_storage.effects import BlockEffects, RecordKey, Release
from cipherward_storage.records import AnchoredRecord, StoredRecord, UploadHeader, UploadState


class Spool(Protocol):
    """An upload that is being written by one task. Leaving its context keeps what has arrived."""

    @property
    def received_bytes(self) -> int:
        """How much there is, counted from the start of the ciphertext."""
        ...

    @property
    def unsynced_bytes(self) -> int:
        """How much of it a power cut would take."""
        ...

    async def append(self, parts: Sequence[bytes]) -> None:
        """Take the next bytes; the sum of all never exceeds the anchor's length.

        Raises:
            DiskFull: there is no room.
            UploadInProgress: another storage took the upload over, after this one was silent.
        """
        ...

    async def sync(self) -> None:
        """Make what was appended before the call survive a power cut. May run beside `append`."""
        ...

    async def complete(self) -> StoredRecord:
        """End the upload: the record is there from now on, whole and durable.

        Raises:
            DigestDiffers: the bytes are not the anchor's; the upload is gone.
            RecordExists: another record took the id meanwhile; the upload is gone.
            RecordErased: the id was erased meanwhile; the upload is gone.
        """
        ...


class RecordStore(Protocol):
    """Records and their ciphertext, and uploads on their way to become records."""

    async def find(self, record_id: bytes) -> StoredRecord | None:
        """Return the record, or None."""
        ...

    async def page(self, after: bytes, limit: int) -> Sequence[StoredRecord]:
        """Return up to `limit` records by ascending id, those after the id `after`."""
        ...

    async def upload(self, request_id: str) -> UploadState | None:
        """Return how far the upload is, or None."""
        ...

    def write(self, header: UploadHeader, offset: int) -> AbstractAsyncContextManager[Spool]:
        """Open an upload for writing, from the start (0) or where it stopped.

        Raises, on entry:
            UploadInProgress: it is open already, here or in another storage of this member.
            UploadDiffers: the request id has another header.
            WrongOffset: neither 0 nor `committed_bytes`.
            DiskFull: the announced length does not fit.
            RecordErased: the record's id is refused.
            SlotKeyRetired: the slot key of `header.kept` is not in use any more; wrap it anew.
        """
        ...

    def read(self, record_id: bytes, offset: int) -> AsyncGenerator[bytes]:
        """Yield the ciphertext from `offset` on, in order, at most PART_BYTES at a time.

        Every part was compared with what was uploaded before it is yielded.

        Raises:
            RecordUnknown: there is no such record.
            OffsetOutOfRange: the offset is beyond the end.
            RecordCorrupt: what is stored is not what was uploaded.
        """
        ...

    async def remove_expired(self, before: int, limit: int) -> int:
        """Delete what nobody anchored: records stored, and uploads touched, before a time.

        Args:
            before: unix seconds. What is open for writing stays.
            limit: at most so many of each.

        Returns:
            How many were deleted.
        """
        ...


class SlotKeyRetired(Exception):
    """A slot was wrapped under a key that is about to be destroyed."""


class ChainStore(Protocol):
    """What proven blocks made here, and how far the chain was followed: one transaction a block."""

    @property
    def reports(self) -> ReportStore:
        """What no block holds yet of the reports that `apply` has added."""
        ...

    async def checkpoint(self) -> bytes:
        """Return where to go on, as the last applied block left it, or b"" before the first."""
        ...

    async def apply(self, effects: BlockEffects) -> None:
        """Make all effects of a block and its checkpoint durable together.

        A block that was applied before changes nothing: what it made first stays.
        """
        ...

    async def release(self, order: OrderKey) -> Release | None:
        """Return what the order released, or None."""
        ...


class ChainFacts(Protocol):
    """What proven blocks have said so far, for whoever checks something against it."""

    async def anchored(self, record_id: bytes) -> AnchoredRecord | None:
        """Return how a proven block anchored the record, or None; also after its erasure."""
        ...

    async def page(self, after: bytes, limit: int) -> Sequence[AnchoredRecord]:
        """Return up to `limit` anchors by ascending record id, those after the id `after`."""
        ...

    async def began(self) -> int:
        """Return the height of the first block that was applied here; 0 before it.

        Of what earlier blocks said, nothing is known here.
        """
        ...

    async def erased(self, record_id: bytes) -> bool:
        """Return whether a proven block ordered the record to be erased."""
        ...

    async def record_key(self, key_epoch: int) -> RecordKey | None:
        """Return the members' record key of an epoch, or None: it is not in force."""
        ...
