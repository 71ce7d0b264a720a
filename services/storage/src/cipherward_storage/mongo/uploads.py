"""Uploads as documents: begun, taken up, saved and removed, each step one atomic act.

`epoch` grows by one whenever somebody opens the upload; whoever opened it before has lost it and
changes nothing any more, by its document or by its chunks. `tail` holds the committed bytes after
the last whole part, so that chunks are written once and whole.

On a server without transactions the steps of an act are done in the order that is written here,
and a stop after any of them is safe:

- `begin`: promise room, insert the upload, look at the slot keys' floor again. In between: room
  that is promised to nobody, until it is counted anew.
- `restart`: discard the old body, name the new one. In between: a discarded body that is named; it
  stays.
- `remove`: discard the body, delete the upload, give back its room. In between: as above.
- `completion.complete`: keep the lease, file the body, insert the record with the upload's slot,
  look whether that was moved, end the upload. In between: an upload whose body is a record's;
  `load` ends it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from cipherward_storage.errors import RecordErased, UploadInProgress
from cipherward_storage.mongo.chunks import delete_discarded, discard
from cipherward_storage.mongo.database import Document, Session
from cipherward_storage.mongo.facts import is_erased
from cipherward_storage.mongo.layout import RECORDS, UPLOADS
from cipherward_storage.mongo.place import MongoPlace
from cipherward_storage.mongo.quota import Wanted, check_floor, give_back, promise
from cipherward_storage.records import Anchor, KeptSlot, UploadHeader, UploadState
from cipherward_storage.store import SlotKeyRetired

ENDED: Document = {
    "body": "",
    "tail": "",
    "instance": "",
    "leased_until": "",
    "key_number": "",
    "kept": "",
}


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload as it stands in the database. `body` is None once it is complete."""

    header: UploadHeader
    body: str | None
    committed_bytes: int
    epoch: int

    @property
    def state(self) -> UploadState:
        """How far it is, as the port tells."""
        return UploadState(self.header, self.committed_bytes, self.body is None)


@dataclass(frozen=True, slots=True)
class Turn:
    """An upload that is ours to write, while nobody else has opened it."""

    header: UploadHeader
    body: str
    epoch: int

    @property
    def mine(self) -> Document:
        """What is true of the document while it is our turn."""
        return {"_id": self.header.request_id, "epoch": self.epoch}


def overtaken() -> UploadInProgress:
    """Return what a writer is told whose turn is over."""
    return UploadInProgress("another stream writes this upload")


def erased() -> RecordErased:
    """Return what is said about the id of an erased record."""
    return RecordErased("the record of this id was erased")


async def load(place: MongoPlace, request_id: str) -> Upload | None:
    """Return the upload, or None."""
    database = place.database

    async def work() -> Document | None:
        uploads = database.collection(UPLOADS)
        row = await uploads.find_one({"_id": request_id}, {"tail": 0})
        if row is None or database.transactions or "body" not in row:
            return row
        wanted = {"body": row["body"]}
        if await database.collection(RECORDS).find_one(wanted, {"_id": 1}) is None:
            return row
        await uploads.update_one({"_id": request_id, **wanted}, completed(row["ciphertext_bytes"]))
        return await uploads.find_one({"_id": request_id}, {"tail": 0})

    row = await database.run(work)
    return None if row is None else _upload(row)


async def begin(place: MongoPlace, header: UploadHeader) -> Turn:
    """Start a new upload.

    Raises:
        DiskFull: the announced length would exceed the quota.
        RecordErased: the record's id is refused.
        SlotKeyRetired: the header's slot key is not in use any more.
        UploadInProgress: another stream began it this very moment.
    """
    turn = Turn(header, secrets.token_hex(16), 1)
    length = header.anchor.ciphertext_bytes
    row: Document = {
        **turn.mine,
        "record_id": header.anchor.record_id,
        "anchor": header.anchor.octets,
        "slot_digest": header.slot_digest,
        "alliance_slot": header.alliance_slot,
        "key_number": header.kept.key_number,
        "kept": header.kept.octets,
        "body": turn.body,
        "ciphertext_bytes": length,
        "committed_bytes": 0,
        "tail": b"",
        "touched_at": place.clock(),
        **place.lease(),
    }

    wanted = Wanted(length, place.quota_bytes, header.kept.key_number)

    async def work(session: Session) -> None:
        if await is_erased(place.database, header.anchor.record_id, session):
            raise erased()
        await promise(place.database, wanted, session)
        try:
            await place.database.collection(UPLOADS).insert_one(row, session=session)
        except DuplicateKeyError:
            if session is None:  # else the whole transaction is undone
                await give_back(place.database, length, session)
            raise

    try:
        await place.database.atomically(work)
    except DuplicateKeyError:
        raise overtaken() from None
    if not place.database.transactions:
        await _look_at_floor_again(place, turn)
    return turn


async def _look_at_floor_again(place: MongoPlace, turn: Turn) -> None:
    """Undo an upload that came while the floor was raised, and perhaps was not seen by who did."""
    number = turn.header.kept.key_number
    try:
        await place.database.run(lambda: check_floor(place.database, number, None))
    except SlotKeyRetired:
        await refuse(place, turn)
        raise


async def take_up(place: MongoPlace, upload: Upload) -> tuple[Turn, int, bytes]:
    """Open an upload; return our turn, the committed length and the bytes after the last part.

    Raises:
        UploadInProgress: somebody else's lease of it runs.
    """
    wanted = {
        "_id": upload.header.request_id,
        "epoch": upload.epoch,
        "body": upload.body,
        **place.takeable(),
    }
    change = {"$inc": {"epoch": 1}, "$set": {**place.lease(), "touched_at": place.clock()}}

    async def work() -> Document | None:
        return await place.database.collection(UPLOADS).find_one_and_update(
            wanted, change, return_document=ReturnDocument.AFTER
        )

    row = await place.database.run(work)
    if row is None:
        raise overtaken()
    turn = Turn(upload.header, row["body"], row["epoch"])
    return turn, row["committed_bytes"], row["tail"]


async def restart(place: MongoPlace, turn: Turn) -> Turn:
    """Forget what has arrived; the bytes to come have a body of their own."""
    anew = replace(turn, body=secrets.token_hex(16))

    async def work(session: Session) -> None:
        await discard(place.database, turn.body, place.clock(), session)
        change: Document = {"body": anew.body, "committed_bytes": 0, "tail": b""}
        await change_ours(place, turn, {"$set": change}, session)

    await place.database.atomically(work)
    await delete_discarded(place.database, turn.body)
    return anew


async def save(place: MongoPlace, turn: Turn, committed: int, tail: bytes) -> None:
    """Commit what has arrived: all whole parts are in chunks, the rest is `tail`."""
    change: Document = {
        "committed_bytes": committed,
        "tail": tail,
        "touched_at": place.clock(),
        **place.lease(),
    }
    await place.database.run(lambda: change_ours(place, turn, {"$set": change}, None))


async def renew(place: MongoPlace, turn: Turn) -> None:
    """Keep our turn for another lease."""
    change: Document = {"touched_at": place.clock(), **place.lease()}
    await place.database.run(lambda: change_ours(place, turn, {"$set": change}, None))


async def leave(place: MongoPlace, turn: Turn) -> None:
    """End our turn; the upload can be taken up by anybody."""
    uploads = place.database.collection(UPLOADS)
    change = {"$unset": {"instance": "", "leased_until": ""}}
    await place.database.run(lambda: uploads.update_one(turn.mine, change))


async def refuse(place: MongoPlace, turn: Turn) -> None:
    """Delete the upload and what has arrived."""
    await remove(place, turn, turn.mine)


async def remove(place: MongoPlace, turn: Turn, still: Document) -> bool:
    """Delete the upload if `still` is true of it, and its body; return whether it was."""
    database = place.database

    async def work(session: Session) -> bool:
        if await database.collection(UPLOADS).find_one(still, {"_id": 1}, session=session) is None:
            return False
        await discard(database, turn.body, place.clock(), session)
        deleted = await database.collection(UPLOADS).delete_one(still, session=session)
        if deleted.deleted_count:
            await give_back(database, turn.header.anchor.ciphertext_bytes, session)
        return bool(deleted.deleted_count)

    removed = await database.atomically(work)
    if removed:
        await delete_discarded(database, turn.body)
    return removed


async def change_ours(place: MongoPlace, turn: Turn, change: Document, session: Session) -> None:
    uploads = place.database.collection(UPLOADS)
    changed = await uploads.update_one(turn.mine, change, session=session)
    if not changed.matched_count:
        raise overtaken()


def completed(length: int) -> Document:
    return {"$set": {"committed_bytes": length}, "$unset": ENDED}


def _upload(row: Document) -> Upload:
    header = UploadHeader(
        row["_id"],
        Anchor.parse(row["anchor"]),
        row["slot_digest"],
        row["alliance_slot"],
        KeptSlot(row.get("key_number", 0), row.get("kept", b"")),
    )
    return Upload(header, row.get("body"), row["committed_bytes"], row["epoch"])
