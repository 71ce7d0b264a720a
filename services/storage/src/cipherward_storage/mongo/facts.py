"""What proven blocks have said, in MongoDB: the `ChainFacts` of production; what a block adds."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import UpdateOne

from cipherward_storage.effects import BlockEffects, RecordKey
from cipherward_storage.mongo.database import Document, MongoDatabase, Session
from cipherward_storage.mongo.layout import ANCHORS, ERASED, HOME, POSITION, RECORD_KEYS, RECORDS
from cipherward_storage.mongo.place import MongoPlace
from cipherward_storage.mongo.writes import write_first
from cipherward_storage.records import Anchor, AnchoredRecord


class MongoChainFacts:
    """`ChainFacts` over the member's database."""

    def __init__(self, place: MongoPlace) -> None:
        self._database = place.database

    async def anchored(self, record_id: bytes) -> AnchoredRecord | None:
        """Return how a proven block anchored the record, or None."""
        row = await self._one(ANCHORS, {"_id": record_id})
        return None if row is None else _anchored(row)

    async def page(self, after: bytes, limit: int) -> Sequence[AnchoredRecord]:
        """Return up to `limit` anchors by ascending record id, those after the id `after`."""

        async def work() -> list[Document]:
            # An empty id would come after all others: MongoDB orders bytes by length first.
            wanted = {"_id": {"$gt": after}} if after else {}
            found = self._database.collection(ANCHORS).find(wanted).sort("_id", 1)
            return await found.limit(limit).to_list(limit)

        return [_anchored(row) for row in await self._database.run(work)]

    async def began(self) -> int:
        """Return the height of the first block that was applied here; 0 before it."""
        row = await self._one(HOME, {"_id": POSITION})
        return 0 if row is None else row.get("began", 0)

    async def erased(self, record_id: bytes) -> bool:
        """Return whether a proven block ordered the record to be erased."""
        return await self._one(ERASED, {"_id": record_id}) is not None

    async def record_key(self, key_epoch: int) -> RecordKey | None:
        """Return the members' record key of an epoch, or None."""
        row = await self._one(RECORD_KEYS, {"_id": key_epoch})
        if row is None:
            return None
        return RecordKey(key_epoch, row["sharing"], row["threshold"], row["public_key"])

    async def _one(self, name: str, wanted: Document) -> Document | None:
        return await self._database.run(lambda: self._database.collection(name).find_one(wanted))


def _anchored(row: Document) -> AnchoredRecord:
    return AnchoredRecord(Anchor.parse(row["anchor"]), row["slot_digest"], row["height"])


async def is_erased(database: MongoDatabase, record_id: bytes, session: Session) -> bool:
    """Return whether the record's id is refused; use it inside `run` or `atomically`."""
    erased = database.collection(ERASED)
    return await erased.find_one({"_id": record_id}, {"_id": 1}, session=session) is not None


async def add_facts(database: MongoDatabase, effects: BlockEffects, session: Session) -> None:
    """Keep a block's anchors, the first of each record, and the newest sharing of each key."""
    fresh = {"_id": POSITION, "began": {"$exists": False}}
    home = database.collection(HOME)
    await home.update_one(fresh, {"$set": {"began": effects.height}}, session=session)
    await _anchor(database, effects, session)
    for key in effects.record_keys:
        fields: Document = {"sharing": key.sharing, "threshold": key.threshold}
        first = UpdateOne(
            {"_id": key.key_epoch},
            {"$setOnInsert": {**fields, "public_key": key.public_key}},
            upsert=True,
        )
        await write_first(database, RECORD_KEYS, [first], session)
        older = {
            "_id": key.key_epoch,
            "public_key": key.public_key,
            "sharing": {"$lt": key.sharing},
        }
        keys = database.collection(RECORD_KEYS)
        await keys.update_one(older, {"$set": fields}, session=session)


async def _anchor(database: MongoDatabase, effects: BlockEffects, session: Session) -> None:
    """Keep anchors, the first of each record; then note them in the records that they mean."""
    anchors = [
        UpdateOne(
            {"_id": found.anchor.record_id},
            {
                "$setOnInsert": {
                    "anchor": found.anchor.octets,
                    "slot_digest": found.slot_digest,
                    "height": found.height,
                }
            },
            upsert=True,
        )
        for found in effects.anchored
    ]
    await write_first(database, ANCHORS, anchors, session)
    meant: list[Document] = [
        {
            "_id": found.anchor.record_id,
            "anchor": found.anchor.octets,
            "slot_digest": found.slot_digest,
        }
        for found in effects.anchored
    ]
    if not meant:
        return
    held = [
        row["_id"]
        async for row in database.collection(ANCHORS).find(
            {"$or": meant}, {"_id": 1}, session=session
        )
    ]
    noted = [
        UpdateOne(one, {"$unset": {"unanchored_since": ""}}) for one in meant if one["_id"] in held
    ]
    await write_first(database, RECORDS, noted, session)
