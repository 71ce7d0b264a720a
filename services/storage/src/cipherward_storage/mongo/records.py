"""Records and uploads in MongoDB: the `RecordStore` of production."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager

from cipherward_storage.bodies import BodyDigest
from cipherward_storage.errors import (
    OffsetOutOfRange,
    RecordCorrupt,
    RecordUnknown,
    UploadDiffers,
    WrongOffset,
)
from cipherward_storage.mongo import uploads
from cipherward_storage.mongo.chunks import (
    delete_discarded,
    discard,
    read_body,
    read_chunk,
    sweep,
)
from cipherward_storage.mongo.database import Document, Session
from cipherward_storage.mongo.layout import ANCHORS, RECORDS, UPLOADS
from cipherward_storage.mongo.place import MongoPlace
from cipherward_storage.mongo.quota import give_back, recount
from cipherward_storage.mongo.spool import MongoSpool, held
from cipherward_storage.mongo.uploads import Turn
from cipherward_storage.records import (
    PART_BYTES,
    Anchor,
    KeptSlot,
    StoredRecord,
    UploadHeader,
    UploadState,
)

DESCRIPTION = {"anchor": 1, "slot_digest": 1, "alliance_slot": 1, "key_number": 1, "kept": 1}


class MongoRecordStore:
    """`RecordStore` over a database that several storages of one member may share.

    What is open for writing is known to all by its lease, and to us at once.
    """

    def __init__(self, place: MongoPlace) -> None:
        self._place = place
        self._writing: set[str] = set()

    async def find(self, record_id: bytes) -> StoredRecord | None:
        """Return the record, or None."""
        database = self._place.database
        wanted = {"_id": record_id}
        row = await database.run(lambda: database.collection(RECORDS).find_one(wanted, DESCRIPTION))
        found = await self._described([] if row is None else [row])
        return found[0] if found else None

    async def page(self, after: bytes, limit: int) -> Sequence[StoredRecord]:
        """Return up to `limit` records by ascending id, those after the id `after`."""
        database = self._place.database

        async def work() -> list[Document]:
            # An empty id would come after all others: MongoDB orders bytes by length first.
            wanted = {"_id": {"$gt": after}} if after else {}
            found = database.collection(RECORDS).find(wanted, DESCRIPTION).sort("_id", 1)
            return await found.limit(limit).to_list(limit)

        return await self._described(await database.run(work))

    async def upload(self, request_id: str) -> UploadState | None:
        """Return how far the upload is, or None."""
        upload = await uploads.load(self._place, request_id)
        return None if upload is None else upload.state

    @asynccontextmanager
    async def write(self, header: UploadHeader, offset: int) -> AsyncGenerator[MongoSpool]:
        """Open an upload for writing, from the start (0) or where it stopped."""
        request_id = header.request_id
        if request_id in self._writing:
            raise uploads.overtaken()
        self._writing.add(request_id)
        try:
            async with held(await self._open_spool(header, offset)) as spool:
                yield spool
        finally:
            self._writing.discard(request_id)

    async def read(self, record_id: bytes, offset: int) -> AsyncGenerator[bytes]:
        """Yield the verified ciphertext from `offset` on; the next part is read ahead."""
        row = await self._body_of(record_id)
        if row is None:
            raise RecordUnknown("there is no such record here")
        length: int = row["ciphertext_bytes"]
        if offset > length:
            raise OffsetOutOfRange(f"the record has {length} bytes", ciphertext_bytes=length)
        if offset == length:
            return
        begin = offset % PART_BYTES
        body = read_body(
            self._place.database, row["body"], row["part_tags"], length, offset // PART_BYTES
        )
        try:
            async with aclosing(body) as parts:
                async for part in parts:
                    yield part[begin:] if begin else part
                    begin = 0
        except RecordCorrupt:
            now = await self._body_of(record_id)
            if now is None or now["body"] != row["body"]:  # deleted under our hands
                raise RecordUnknown("there is no such record here any more") from None
            raise

    async def remove_expired(self, before: int, limit: int) -> int:
        """Delete records that nobody anchored and uploads that nobody went on with."""
        removed = await self._remove_uploads(before, limit)
        removed += await self._remove_records(before, limit)
        await sweep(self._place.database, self._place.clock(), limit)
        if not self._place.database.transactions:
            await recount(self._place.database)
        return removed

    async def _open_spool(self, header: UploadHeader, offset: int) -> MongoSpool:
        place = self._place
        upload = await uploads.load(place, header.request_id)
        if upload is not None and upload.header != header:
            raise UploadDiffers("this request id belongs to an upload with another header")
        _check_offset(offset, 0 if upload is None else upload.committed_bytes)
        if upload is None:
            return MongoSpool(place, await uploads.begin(place, header), BodyDigest(), 0, b"")
        if upload.body is None:
            raise _wrong_offset(upload.committed_bytes)
        turn, committed, tail = await uploads.take_up(place, upload)
        try:
            _check_offset(offset, committed)  # whoever had it may have gone on in between
            if offset == 0:
                turn = await uploads.restart(place, turn)
                return MongoSpool(place, turn, BodyDigest(), 0, b"")
            digest = await self._digest(turn, committed, tail)
        except (WrongOffset, asyncio.CancelledError):
            await uploads.leave(place, turn)
            raise
        return MongoSpool(place, turn, digest, committed, tail)

    async def _digest(self, turn: Turn, committed: int, tail: bytes) -> BodyDigest:
        """Return the digest of what is committed, read again.

        Raises:
            WrongOffset: some of it is gone; the upload can start from 0 only.
        """
        digest = BodyDigest()
        for number in range(committed // PART_BYTES):
            part = await read_chunk(self._place.database, turn.body, number)
            if len(part) != PART_BYTES:
                await uploads.restart(self._place, turn)
                raise _wrong_offset(0)
            await asyncio.to_thread(digest.update, part)
        await asyncio.to_thread(digest.update, tail)
        return digest

    async def _body_of(self, record_id: bytes) -> Document | None:
        database = self._place.database
        wanted, fields = {"_id": record_id}, {"body": 1, "ciphertext_bytes": 1, "part_tags": 1}
        return await database.run(lambda: database.collection(RECORDS).find_one(wanted, fields))

    async def _described(self, rows: Sequence[Document]) -> list[StoredRecord]:
        if not rows:
            return []
        anchored = await self._anchors(row["_id"] for row in rows)
        return [
            StoredRecord(
                Anchor.parse(row["anchor"]),
                row["slot_digest"],
                row["alliance_slot"],
                KeptSlot(row["key_number"], row["kept"]),
                anchored.get((row["_id"], row["anchor"], row["slot_digest"]), 0),
            )
            for row in rows
        ]

    async def _anchors(self, record_ids: Iterable[bytes]) -> dict[tuple[bytes, bytes, bytes], int]:
        """Return the heights of anchors, by all that an anchor says of its record."""
        database, wanted = self._place.database, {"_id": {"$in": list(record_ids)}}

        async def work() -> list[Document]:
            return [row async for row in database.collection(ANCHORS).find(wanted)]

        return {
            (row["_id"], row["anchor"], row["slot_digest"]): row["height"]
            for row in await database.run(work)
        }

    async def _remove_uploads(self, before: int, limit: int) -> int:
        place = self._place
        over: Document = {
            "touched_at": {"$lt": before},
            "_id": {"$nin": sorted(self._writing)},
            "$or": [
                {"leased_until": {"$exists": False}},
                {"leased_until": {"$lt": place.clock()}},
            ],
        }
        rows = await place.database.run(
            lambda: (
                place.database.collection(UPLOADS)
                .find(over, {"_id": 1})
                .limit(limit)
                .to_list(limit)
            )
        )
        removed = 0
        for request_id in [row["_id"] for row in rows]:
            upload = await uploads.load(place, request_id)
            if upload is None:
                continue
            still = {**over, "_id": request_id, "epoch": upload.epoch}
            if upload.body is None:
                gone = await place.database.run(
                    lambda still=still: place.database.collection(UPLOADS).delete_one(still)
                )
                removed += gone.deleted_count
            else:
                removed += await uploads.remove(
                    place, Turn(upload.header, upload.body, upload.epoch), still
                )
        return removed

    async def _remove_records(self, before: int, limit: int) -> int:
        database = self._place.database
        over = {"unanchored_since": {"$lt": before}}
        fields = {"anchor": 1, "slot_digest": 1, "body": 1, "ciphertext_bytes": 1}

        async def work() -> list[Document]:
            records = database.collection(RECORDS).find(over, fields)
            return await records.limit(limit).to_list(limit)

        rows = await database.run(work)
        anchored = await self._anchors(row["_id"] for row in rows)
        return sum(
            [
                await self._remove_record(row, over)
                for row in rows
                if not await self._noted(row, anchored)
            ]
        )

    async def _noted(self, row: Document, anchored: dict[tuple[bytes, bytes, bytes], int]) -> bool:
        """Tell whether a record is anchored, and note in it that it is.

        Its anchor and the record may have come at once, each before the other was seen.
        """
        if (row["_id"], row["anchor"], row["slot_digest"]) not in anchored:
            return False
        database = self._place.database
        noted = {"$unset": {"unanchored_since": ""}}
        await database.run(
            lambda: database.collection(RECORDS).update_one({"_id": row["_id"]}, noted)
        )
        return True

    async def _remove_record(self, row: Document, over: Document) -> int:
        database, body = self._place.database, row["body"]

        async def work(session: Session) -> int:
            await discard(database, body, self._place.clock(), session)
            records = database.collection(RECORDS)
            still = {"_id": row["_id"], "body": body, **over}
            deleted = await records.delete_one(still, session=session)
            if deleted.deleted_count:
                await give_back(database, row["ciphertext_bytes"], session)
            return deleted.deleted_count

        removed = await database.atomically(work)
        if removed:
            await delete_discarded(database, body)
        return removed


def _check_offset(offset: int, committed: int) -> None:
    if offset not in (0, committed):
        raise _wrong_offset(committed)


def _wrong_offset(committed: int) -> WrongOffset:
    return WrongOffset(f"{committed} bytes are on disk", committed_bytes=committed)
