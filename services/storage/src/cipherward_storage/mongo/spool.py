"""An upload on its way into GridFS: hashed in threads, committed as it goes, ended by one act."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog

from cipherward_storage.bodies import BodyDigest
from cipherward_storage.errors import (
    DigestDiffers,
    RecordErased,
    RecordExists,
    StoreAway,
    UploadInProgress,
)
from cipherward_storage.mongo import uploads
from cipherward_storage.mongo.chunks import Overtaken, write_chunks
from cipherward_storage.mongo.completion import complete
from cipherward_storage.mongo.place import LEASE_SECONDS, MongoPlace
from cipherward_storage.mongo.uploads import Turn
from cipherward_storage.records import PART_BYTES, StoredRecord

Result = TypeVar("Result")
log: structlog.stdlib.BoundLogger = structlog.get_logger()


class MongoSpool:
    """`Spool` over one body in GridFS and its document in `uploads`."""

    def __init__(
        self, place: MongoPlace, turn: Turn, digest: BodyDigest, committed: int, tail: bytes
    ) -> None:
        """Take an upload that is ours.

        Args:
            place: where it is kept.
            turn: ours.
            digest: has taken all that is committed.
            committed: length of that, bytes.
            tail: its bytes after the last whole part.
        """
        self._place = place
        self._turn = turn
        self._digest = digest
        self._received = self._committed = committed
        self._tail = bytearray(tail)
        self._chunk = committed // PART_BYTES  # number of the first chunk that is not written
        self._chunks: list[bytes] = []  # whole, not written yet
        self._writing = asyncio.Lock()
        self._running: set[asyncio.Future[Any]] = set()
        self._over = False  # nothing is to be kept: complete, refused, lost, or the store is away

    @property
    def received_bytes(self) -> int:
        """How much there is, counted from the start of the ciphertext."""
        return self._received

    @property
    def unsynced_bytes(self) -> int:
        """How much of it a power cut would take."""
        return self._received - self._committed

    async def append(self, parts: Sequence[bytes]) -> None:
        """Hash the next bytes in a thread, and write the parts that are whole."""
        await self._to_its_end(self._append(parts))

    async def sync(self) -> None:
        """Make what was appended before the call survive a power cut."""
        await self._to_its_end(self._sync())

    async def complete(self) -> StoredRecord:
        """Turn the upload into a record, after its last byte is written."""
        return await self._to_its_end(self._complete())

    async def close(self) -> None:
        """Keep what has arrived, and let others take the upload up."""
        if self._running:
            await asyncio.wait(set(self._running))
        if self._over:
            return
        try:
            if self.unsynced_bytes:
                await self._sync()
            await uploads.leave(self._place, self._turn)
        except (StoreAway, UploadInProgress) as error:
            # What is committed is kept; the lease ends by itself.
            log.warning("upload_left", reason=error.reason)

    async def keep(self) -> None:
        """Keep our turn until cancelled, or until it is lost: the next write then says so."""
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            try:
                await uploads.renew(self._place, self._turn)
            except StoreAway:
                continue
            except UploadInProgress:
                return

    async def _append(self, parts: Sequence[bytes]) -> None:
        await asyncio.to_thread(self._hash, parts)
        for part in parts:
            self._tail += part
            self._received += len(part)
            while len(self._tail) >= PART_BYTES:
                self._chunks.append(bytes(memoryview(self._tail)[:PART_BYTES]))
                del self._tail[:PART_BYTES]
        async with self._writing:
            await self._write_chunks()

    def _hash(self, parts: Sequence[bytes]) -> None:
        for part in parts:
            self._digest.update(part)

    async def _sync(self) -> None:
        async with self._writing:
            # Of one moment: bytes that arrive while we write are another sync's.
            received, tail = self._received, bytes(self._tail)
            await self._write_chunks()
            await uploads.save(self._place, self._turn, received, tail)
            self._committed = received

    async def _complete(self) -> StoredRecord:
        header = self._turn.header
        whole, table = self._digest.finish()
        anchor = header.anchor
        if self._received != anchor.ciphertext_bytes or whole != anchor.ciphertext_digest:
            await self._refuse()
            raise DigestDiffers("what arrived is not what the anchor names; send it from the start")
        async with self._writing:
            if self._tail:
                self._chunks.append(bytes(self._tail))
                self._tail.clear()
            await self._write_chunks()
        try:
            await complete(self._place, self._turn, table)
        except (RecordExists, RecordErased):
            await self._refuse()
            raise
        self._over, self._committed = True, self._received
        return StoredRecord(anchor, header.slot_digest, header.alliance_slot, header.kept, 0)

    async def _refuse(self) -> None:
        self._over = True
        await uploads.refuse(self._place, self._turn)

    async def _write_chunks(self) -> None:
        chunks, self._chunks = self._chunks, []
        turn = self._turn
        try:
            await write_chunks(self._place.database, turn.body, turn.epoch, self._chunk, chunks)
        except Overtaken:
            raise uploads.overtaken() from None
        self._chunk += len(chunks)

    async def _to_its_end(self, act: Coroutine[Any, Any, Result]) -> Result:
        """Return what `act` returns; it goes on when we are cancelled, and `close` waits for it."""
        running = asyncio.ensure_future(self._noticed(act))
        self._running.add(running)
        running.add_done_callback(self._ended)
        return await asyncio.shield(running)

    async def _noticed(self, act: Coroutine[Any, Any, Result]) -> Result:
        try:
            return await act
        except BaseException:  # whatever it was: what we hold is not what the database has
            self._over = True
            raise

    def _ended(self, running: asyncio.Future[Any]) -> None:
        self._running.discard(running)
        if not running.cancelled():
            running.exception()  # whoever still waits gets it; nobody else misses it


@asynccontextmanager
async def held(spool: MongoSpool) -> AsyncGenerator[MongoSpool]:
    """Keep the upload ours while the context is open, and its bytes when it is left."""
    keeping = asyncio.ensure_future(spool.keep())
    try:
        yield spool
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await spool.close()
