"""Erasures in MongoDB: the `ErasureStore` of production, and how a block adds to it."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import UpdateOne

from cipherward_member.reports import OrderKey, Report
from cipherward_storage.effects import BlockEffects, Erasure
from cipherward_storage.mongo.chunks import delete_discarded, discard
from cipherward_storage.mongo.database import Document, MongoDatabase, Session
from cipherward_storage.mongo.layout import ERASED, ORDERS, RECORDS, UPLOADS
from cipherward_storage.mongo.place import MongoPlace
from cipherward_storage.mongo.quota import give_back
from cipherward_storage.mongo.writes import write_first

FIELDS = {"body": 1, "ciphertext_bytes": 1, "key_number": 1}


class MongoErasures:
    """`ErasureStore` over a database that several storages of one member may share.

    Each of them carries erasures out; whoever comes second finds nothing left to delete.
    """

    def __init__(self, place: MongoPlace) -> None:
        self._place = place
        self._database = place.database

    async def unfinished(self, limit: int) -> Sequence[Erasure]:
        """Return up to `limit` erasures of this custodian that are not reported, oldest first."""

        async def work() -> list[Document]:
            found = self._database.collection(ERASED).find({"unfinished": True})
            return await found.sort("height", 1).limit(limit).to_list(limit)

        return [
            Erasure(
                OrderKey(row["height"], row["number"]),
                row["order_digest"],
                row["_id"],
                row["ours"],
                row["key_number"],
            )
            for row in await self._database.run(work)
        ]

    async def erase(self, erasure: Erasure) -> int:
        """Note the slot keys, then delete documents and bodies; all of it may be repeated."""
        record_id = erasure.record_id
        found = await self._database.run(lambda: self._found(record_id))
        highest = max((row.get("key_number", 0) for _, row in found), default=0)
        key_number = await self._noted(record_id, highest)
        for name, row in found:
            await self._delete(name, row)
        return key_number

    async def finish(self, erasure: Erasure, report: Report) -> None:
        """Note that nothing is left to do, and let the report be sent."""
        key = report.order
        fields: Document = {
            "report": {"outcome": report.outcome.value, "digest": report.digest, "pending": True}
        }
        insert = UpdateOne(
            {"height": key.height, "number": key.index}, {"$setOnInsert": fields}, upsert=True
        )

        async def work(session: Session) -> None:
            erased = self._database.collection(ERASED)
            open_yet = {"_id": erasure.record_id, "unfinished": True}
            if await erased.find_one(open_yet, {"_id": 1}, session=session) is None:
                return
            # The report first: a stop in between, without transactions, does both again.
            await write_first(self._database, ORDERS, [insert], session)
            await erased.update_one(open_yet, {"$unset": {"unfinished": ""}}, session=session)

        await self._database.atomically(work)

    async def _found(self, record_id: bytes) -> list[tuple[str, Document]]:
        records, uploads = (self._database.collection(name) for name in (RECORDS, UPLOADS))
        found = [(RECORDS, row) async for row in records.find({"_id": record_id}, FIELDS)]
        return found + [
            (UPLOADS, row) async for row in uploads.find({"record_id": record_id}, FIELDS)
        ]

    async def _noted(self, record_id: bytes, highest: int) -> int:
        async def work() -> Document | None:
            erased = self._database.collection(ERASED)
            await erased.update_one({"_id": record_id}, {"$max": {"key_number": highest}})
            return await erased.find_one({"_id": record_id}, {"key_number": 1})

        row = await self._database.run(work)
        return highest if row is None else row["key_number"]

    async def _delete(self, name: str, row: Document) -> None:
        body: str | None = row.get("body")

        async def work(session: Session) -> None:
            if body is not None:
                await discard(self._database, body, self._place.clock(), session)
            collection = self._database.collection(name)
            deleted = await collection.delete_one({"_id": row["_id"]}, session=session)
            # A complete upload has no body of its own, and its bytes are counted once.
            if deleted.deleted_count and body is not None:
                await give_back(self._database, row["ciphertext_bytes"], session)

        await self._database.atomically(work)
        if body is not None:
            await delete_discarded(self._database, body)


async def add_erasures(database: MongoDatabase, effects: BlockEffects, session: Session) -> None:
    """Refuse the ids from this block on; who is not the custodian has nothing left to do."""
    erasures: list[UpdateOne] = []
    for one in effects.erased:
        fields: Document = {
            "height": one.order.height,
            "number": one.order.index,
            "order_digest": one.order_digest,
            "ours": one.ours,
            "key_number": 0,
        }
        if one.ours:
            fields["unfinished"] = True
        erasures.append(UpdateOne({"_id": one.record_id}, {"$setOnInsert": fields}, upsert=True))
    await write_first(database, ERASED, erasures, session)
