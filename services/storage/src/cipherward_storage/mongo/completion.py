"""The end of an upload in MongoDB: it becomes a record, in one act."""

from __future__ import annotations

from pymongo.errors import DuplicateKeyError

from cipherward_storage.errors import RecordExists
from cipherward_storage.mongo.chunks import file_body
from cipherward_storage.mongo.database import Document, Session
from cipherward_storage.mongo.facts import is_erased
from cipherward_storage.mongo.layout import ANCHORS, RECORDS, UPLOADS
from cipherward_storage.mongo.place import MongoPlace
from cipherward_storage.mongo.uploads import Turn, change_ours, completed, erased, overtaken

SLOT = {"key_number": 1, "kept": 1}


async def complete(place: MongoPlace, turn: Turn, table: bytes) -> None:
    """Turn the upload into a record; all its chunks are written.

    Its slot is the document's, which was moved to another slot key if one came since.

    Raises:
        RecordExists: another record took the id meanwhile.
        RecordErased: the id was erased meanwhile.
        UploadInProgress: our turn is over.
    """
    database, anchor, digest = place.database, turn.header.anchor, turn.header.slot_digest
    row: Document = {
        "_id": anchor.record_id,
        "anchor": anchor.octets,
        "slot_digest": digest,
        "alliance_slot": turn.header.alliance_slot,
        "body": turn.body,
        "ciphertext_bytes": anchor.ciphertext_bytes,
        "part_tags": table,
    }

    async def work(session: Session) -> None:
        now = place.clock()
        await change_ours(place, turn, {"$set": {"touched_at": now, **place.lease()}}, session)
        if await is_erased(database, anchor.record_id, session):
            raise erased()
        await file_body(database, turn.body, anchor.ciphertext_bytes, now, session)
        means = {"_id": anchor.record_id, "anchor": anchor.octets, "slot_digest": digest}
        anchored = await database.collection(ANCHORS).find_one(means, {"_id": 1}, session=session)
        since: Document = {} if anchored else {"unanchored_since": now}
        slot = await _slot(place, turn, session)
        records = database.collection(RECORDS)
        await records.insert_one({**row, **since, **slot}, session=session)
        if session is None:  # it may have been moved while the record was not seen there yet
            again = await _slot(place, turn, session)
            await records.update_one({"_id": anchor.record_id, **slot}, {"$set": again})
        await change_ours(place, turn, completed(anchor.ciphertext_bytes), session)

    try:
        await database.atomically(work)
    except DuplicateKeyError:
        raise RecordExists("another record took this id meanwhile") from None


async def _slot(place: MongoPlace, turn: Turn, session: Session) -> Document:
    """Return the fields of the upload's kept slot as they are now."""
    uploads = place.database.collection(UPLOADS)
    row = await uploads.find_one(turn.mine, {**SLOT, "_id": 0}, session=session)
    if row is None or "kept" not in row:
        raise overtaken()
    return row
