"""Bodies in GridFS: one chunk a part, so that a part is read, checked and sent as it was written.

GridFS' default, 255 KiB, would make four round trips of what is checked and sent as one; its
limit is a document of 16 MiB. The driver's own writer begins at 0 and ends in one go; ours goes on
where it stopped. What it leaves is GridFS: `bodies.files` has a body once it is complete, and any
tool of MongoDB's reads it; `epoch` in a chunk is ours.

A chunk bears the epoch of the lease under which it was written, and never gives way to a lower
one: a storage that was thought dead and wakes up overwrites nothing of its successor's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime

from pymongo import ReplaceOne
from pymongo.errors import BulkWriteError

from cipherward_storage.bodies import check_part
from cipherward_storage.mongo.database import Document, MongoDatabase, Session
from cipherward_storage.mongo.failures import DUPLICATE_KEY, bulk_numbers
from cipherward_storage.mongo.layout import CHUNKS, FILES, GARBAGE, RECORDS, UPLOADS
from cipherward_storage.records import PART_BYTES

# A body without a name is deleted at once, and again when nobody can write to it any more.
GARBAGE_SECONDS = 3600


class Overtaken(Exception):
    """A chunk was written under a later lease: this one is over."""


async def write_chunks(
    database: MongoDatabase, body: str, epoch: int, first: int, chunks: Sequence[bytes]
) -> None:
    """Write chunks `first` and following; returns when a majority has them.

    Raises:
        Overtaken: one of them was written under a later lease.
    """
    if not chunks:
        return
    requests = [
        ReplaceOne(
            {"files_id": body, "n": n, "epoch": {"$lte": epoch}},
            {"files_id": body, "n": n, "epoch": epoch, "data": chunk},
            upsert=True,
        )
        for n, chunk in enumerate(chunks, first)
    ]

    async def work() -> None:
        try:
            await database.bulk(CHUNKS, requests)
        except BulkWriteError as error:
            if bulk_numbers(error) == {DUPLICATE_KEY}:
                raise Overtaken from None
            raise

    await database.run(work)


async def read_chunk(database: MongoDatabase, body: str, number: int) -> bytes:
    """Return a chunk, or b"" if there is none."""
    wanted = {"files_id": body, "n": number}
    found = await database.run(
        lambda: database.collection(CHUNKS).find_one(wanted, {"data": 1, "_id": 0})
    )
    return b"" if found is None else found["data"]


async def read_body(
    database: MongoDatabase, body: str, table: bytes, length: int, first: int
) -> AsyncGenerator[bytes]:
    """Yield the parts from number `first` on, each checked; the next one is read ahead.

    Raises:
        RecordCorrupt: a part is not what was uploaded.
    """
    last = (length - 1) // PART_BYTES

    async def checked(number: int) -> bytes:
        part = await read_chunk(database, body, number)
        await asyncio.to_thread(check_part, part, table, length, number)
        return part

    ahead = asyncio.ensure_future(checked(first))
    try:
        for number in range(first, last + 1):
            part = await ahead
            if number < last:
                ahead = asyncio.ensure_future(checked(number + 1))
            yield part
    finally:
        ahead.cancel()
        await asyncio.gather(ahead, return_exceptions=True)


async def file_body(
    database: MongoDatabase, body: str, length: int, now: int, session: Session
) -> None:
    """Make the body a file of GridFS'."""
    row: Document = {
        "_id": body,
        "length": length,
        "chunkSize": PART_BYTES,
        "uploadDate": datetime.fromtimestamp(now, UTC),
        "filename": body,
    }
    files = database.collection(FILES)
    await files.replace_one({"_id": body}, row, upsert=True, session=session)


async def discard(database: MongoDatabase, body: str, now: int, session: Session) -> None:
    """Say that nobody will name the body any more; it is deleted later, whatever comes between."""
    garbage = database.collection(GARBAGE)
    await garbage.replace_one(
        {"_id": body}, {"_id": body, "since": now}, upsert=True, session=session
    )


async def delete_discarded(database: MongoDatabase, body: str) -> None:
    """Delete a discarded body, unless somebody names it after all."""

    async def work() -> None:
        for name in (RECORDS, UPLOADS):
            if await database.collection(name).find_one({"body": body}, {"_id": 1}) is not None:
                return
        await database.collection(FILES).delete_one({"_id": body})
        await database.collection(CHUNKS).delete_many({"files_id": body})

    await database.run(work)


async def sweep(database: MongoDatabase, now: int, limit: int) -> None:
    """Delete, for the last time, up to `limit` bodies that were discarded long ago."""
    over = {"since": {"$lt": now - GARBAGE_SECONDS}}
    garbage = await database.run(
        lambda: database.collection(GARBAGE).find(over).limit(limit).to_list(limit)
    )
    for one in garbage:
        await delete_discarded(database, one["_id"])
        await database.run(
            lambda body=one["_id"]: database.collection(GARBAGE).delete_one({"_id": body})
        )
