"""Uploads: one stream of parts becomes a record, in one go or in several.

Receiving, hashing with writing, and syncing run beside each other. Whatever ends a stream early
leaves the bytes that arrived on disk: the client asks how many (GetUpload) and goes on from there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from cipherward_chain.acts import SUITE_SHARED
from cipherward_kit.errors import ServiceError, first_cause
from cipherward_storage.alliance_slots import AllianceSlots
from cipherward_storage.errors import (
    RecordErased,
    RecordExists,
    RecordTooLarge,
    UploadDiffers,
    UploadMalformed,
    UploadStalled,
    UploadUnknown,
)
from cipherward_storage.metrics import UPLOADED_BYTES, UPLOADS
from cipherward_storage.records import (
    PART_BYTES,
    KeptSlot,
    StoredRecord,
    UploadHeader,
    UploadOffer,
    UploadState,
    digest_of,
)
from cipherward_storage.slots import CustodianSlots
from cipherward_storage.store import ChainFacts, RecordStore, SlotKeyRetired, Spool

# A part is one encrypted chunk of the client: 1 MiB of plaintext and its overhead.
UPLOAD_PART_BYTES_MAX = PART_BYTES + 4096
# Parts between the stream and the disk: enough to keep both busy, 3 MiB of memory a stream.
WAITING_PARTS_MAX = 3
# A crash costs at most about this much again (a lost connection nothing); the disk keeps up with
# the network, and the last sync is short.
SYNC_BYTES = 16 * 1024 * 1024

# A slot key is retired once a week; an upload that meets that twice in a row is not there.
WRAPPINGS_MAX = 3

REQUEST_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class UploadBounds:
    """record_bytes_max: longest ciphertext. stall_seconds: the longest silence of a client."""

    record_bytes_max: int
    stall_seconds: float


@dataclass(frozen=True, slots=True)
class SlotChecks:
    """Who checks the slots of an upload.

    member: the custodian's id: only its records are taken. custodian: opens and keeps what is
    sealed to it. alliance: checks what is encapsulated to the members.
    """

    member: str
    custodian: CustodianSlots
    alliance: AllianceSlots


class Uploads:
    """Takes the uploads of one custodian."""

    def __init__(
        self, store: RecordStore, facts: ChainFacts, checks: SlotChecks, bounds: UploadBounds
    ) -> None:
        """Describe the uploads.

        Args:
            store: where they go.
            facts: which ids are refused.
            checks: of the slots, and whose records are taken.
            bounds: of size and silence.
        """
        self._store = store
        self._facts = facts
        self._checks = checks
        self._bounds = bounds

    async def progress(self, request_id: str) -> UploadState:
        """Return how far an upload is, or raise `UploadUnknown`."""
        state = await self._store.upload(request_id)
        if state is None:
            raise UploadUnknown("there is no such upload; start it with offset 0")
        return state

    async def receive(
        self, offer: UploadOffer, offset: int, parts: AsyncIterator[bytes]
    ) -> StoredRecord:
        """Store the record that `offer` announces, from `parts` and what is on disk already.

        A record that is stored already is answered as such, without reading the parts.

        Raises:
            UploadMalformed, RecordTooLarge, SlotRejected: the offer cannot be taken.
            RecordKeyUnknown: it cannot be taken yet, or names a key that there never was.
            RecordExists: another record has the id.
            RecordErased: the id is refused for ever.
            UploadDiffers, WrongOffset, UploadInProgress: it does not go on where it stopped.
            UploadMalformed, UploadStalled, DigestDiffers: the parts are wrong.
            DiskFull: there is no room.
        """
        self._check(offer)
        anchor = offer.anchor
        if await self._facts.erased(anchor.record_id):
            raise RecordErased("the record of this id was erased")
        header = await self._accepted(offer)
        stored = await self._stored_already(header)
        if stored is not None:
            UPLOADS.labels("repeated").inc()
            return stored
        async with self._opened(offer, header, offset) as spool:
            await self._take_all(spool, anchor.ciphertext_bytes, parts)
            if spool.received_bytes < anchor.ciphertext_bytes:
                raise UploadMalformed(
                    f"the stream ended after {spool.received_bytes} bytes; go on from there",
                    received_bytes=spool.received_bytes,
                )
            record = await spool.complete()
        UPLOADS.labels("stored").inc()
        UPLOADED_BYTES.inc(anchor.ciphertext_bytes - offset)
        return record

    async def _accepted(self, offer: UploadOffer) -> UploadHeader:
        """Check both slots; return the header with the custodian's as it will be kept."""
        await self._checks.alliance.check(offer.anchor, offer.alliance_slot)
        return UploadHeader(
            offer.request_id,
            offer.anchor,
            digest_of(offer.slot),
            offer.alliance_slot,
            await self._kept(offer),
        )

    async def _kept(self, offer: UploadOffer) -> KeptSlot:
        return await asyncio.to_thread(self._checks.custodian.take, offer.anchor, offer.slot)

    @asynccontextmanager
    async def _opened(
        self, offer: UploadOffer, header: UploadHeader, offset: int
    ) -> AsyncGenerator[Spool]:
        """Open the upload; its slot is wrapped anew when its slot key was retired meanwhile."""
        for attempt in range(1, WRAPPINGS_MAX + 1):
            async with AsyncExitStack() as stack:
                try:
                    spool = await stack.enter_async_context(self._store.write(header, offset))
                except SlotKeyRetired:
                    if attempt == WRAPPINGS_MAX:
                        raise
                    header = replace(header, kept=await self._kept(offer))
                    continue
                yield spool
                return

    def _check(self, offer: UploadOffer) -> None:
        anchor = offer.anchor
        if REQUEST_ID.fullmatch(offer.request_id) is None:
            raise UploadMalformed("request_id is not a UUID in lower case")
        if anchor.custodian != self._checks.member:
            raise UploadMalformed(f"the anchor names {anchor.custodian} as custodian")
        if anchor.suite != SUITE_SHARED:
            raise UploadMalformed(f"suite {anchor.suite} is not taken", suite=anchor.suite)
        if anchor.ciphertext_bytes > self._bounds.record_bytes_max:
            raise RecordTooLarge(
                f"a record has at most {self._bounds.record_bytes_max} bytes",
                record_bytes_max=self._bounds.record_bytes_max,
            )

    async def _stored_already(self, header: UploadHeader) -> StoredRecord | None:
        state = await self._store.upload(header.request_id)
        if state is not None and state.header != header:
            raise UploadDiffers("this request id belongs to an upload with another header")
        record = await self._store.find(header.anchor.record_id)
        if record is None:
            return None
        offered = (header.anchor, header.slot_digest, header.alliance_slot)
        if (record.anchor, record.slot_digest, record.alliance_slot) != offered:
            raise RecordExists("another record is stored under this id")
        return record

    async def _take_all(self, spool: Spool, length: int, parts: AsyncIterator[bytes]) -> None:
        """Write parts until the stream ends, receiving while the disk works."""
        waiting: asyncio.Queue[bytes] = asyncio.Queue(WAITING_PARTS_MAX)
        try:
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(_write_all(waiting, spool))
                room = length - spool.received_bytes
                async for part in self._in_time(parts):
                    room -= len(part)
                    _check_part(part, room)
                    await waiting.put(part)
                await waiting.put(b"")  # the end: no part is empty
                await writing
        except BaseExceptionGroup as failures:
            raise _cause(failures) from None

    async def _in_time(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(self._bounds.stall_seconds):
                    part = await anext(parts, None)
            except TimeoutError:
                raise UploadStalled("the client sends nothing; go on with the upload") from None
            if part is None:
                return
            yield part


def _check_part(part: bytes, room: int) -> None:
    if not part:
        raise UploadMalformed("a part is empty")
    if len(part) > UPLOAD_PART_BYTES_MAX:
        raise UploadMalformed(
            f"a part has at most {UPLOAD_PART_BYTES_MAX} bytes",
            part_bytes_max=UPLOAD_PART_BYTES_MAX,
        )
    if room < 0:
        raise UploadMalformed("the stream is longer than the anchor says")


async def _write_all(waiting: asyncio.Queue[bytes], spool: Spool) -> None:
    """Append what comes until the empty part; sync beside it, one sync at a time."""
    async with asyncio.TaskGroup() as group:
        syncing: asyncio.Task[None] | None = None
        ended = False
        while not ended:
            parts = [await waiting.get()]
            while not waiting.empty():
                parts.append(waiting.get_nowait())
            if not parts[-1]:
                ended = True
                parts.pop()
            await spool.append(parts)
            idle = syncing is None or syncing.done()
            if idle and not ended and spool.unsynced_bytes >= SYNC_BYTES:
                syncing = group.create_task(spool.sync())


def _cause(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what the client is told: a refusal if there is one, else the first failure."""
    refusals, others = failures.split(ServiceError)
    return first_cause(refusals or others or failures)
