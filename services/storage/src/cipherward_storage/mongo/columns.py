"""Encrypted columns in MongoDB: the `ColumnStore` of production, and how a block adds to it.

A column is one document: it has at most 8 MiB, a document 16. So it is there whole or not at all,
on a server without transactions too.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from bson import Int64
from pymongo import UpdateOne
from pymongo.errors import DuplicateKeyError

from cipherward_storage.columns import ColumnName
from cipherward_storage.effects import BlockEffects
from cipherward_storage.errors import DataKeyRetired
from cipherward_storage.mongo.database import Document, MongoDatabase, Session
from cipherward_storage.mongo.layout import COLUMNS, RETIRED_KEYS
from cipherward_storage.mongo.place import MongoPlace
from cipherward_storage.mongo.quota import give_back, take_room
from cipherward_storage.mongo.writes import write_first


class MongoColumns:
    """`ColumnStore` over a database that several storages of one member may share."""

    def __init__(self, place: MongoPlace) -> None:
        self._database = place.database
        self._quota_bytes = place.quota_bytes

    async def put(self, name: ColumnName, octets: bytes) -> None:
        """Keep octets, all or nothing.

        A key that is retired while we write keeps a column that nobody is sent: a sweep takes it.
        """
        wanted: Document = {"data_key": name.data_key, "digest": name.digest}
        length = len(octets)
        row = {**wanted, "octets": octets, "ciphertext_bytes": Int64(length)}

        async def work(session: Session) -> None:
            if await self._is_retired(name.data_key, session):
                raise DataKeyRetired("the data key of this column is over")
            columns = self._database.collection(COLUMNS)
            # What is there under the name has the same octets, or is damaged: its room is ours.
            kept = await columns.update_one(wanted, {"$set": {"octets": octets}}, session=session)
            if kept.matched_count:
                return
            await take_room(self._database, length, self._quota_bytes, session)
            try:
                await columns.insert_one(dict(row), session=session)
            except DuplicateKeyError:
                if session is None:  # else the whole transaction is undone
                    await give_back(self._database, length, session)
                raise

        with suppress(DuplicateKeyError):  # another storage has kept the same one this moment
            await self._database.atomically(work)

    async def find(self, name: ColumnName) -> bytes | None:
        """Return what is kept under a name, or None."""
        wanted = {"data_key": name.data_key, "digest": name.digest}

        async def work() -> Document | None:
            if await self._is_retired(name.data_key, None):
                return None
            return await self._database.collection(COLUMNS).find_one(wanted, {"octets": 1})

        row = await self._database.run(work)
        return None if row is None else row["octets"]

    async def names(self, after: ColumnName | None, limit: int) -> Sequence[ColumnName]:
        """Return up to `limit` names by ascending data key and digest, those after `after`."""
        wanted: Document = {}
        if after is not None:
            later = {"data_key": after.data_key, "digest": {"$gt": after.digest}}
            wanted = {"$or": [{"data_key": {"$gt": after.data_key}}, later]}

        async def work() -> list[Document]:
            found = self._database.collection(COLUMNS).find(wanted, {"data_key": 1, "digest": 1})
            ordered = found.sort([("data_key", 1), ("digest", 1)]).limit(limit)
            return await ordered.to_list(limit)

        rows = await self._database.run(work)
        return [ColumnName(row["data_key"], row["digest"]) for row in rows]

    async def sweep(self, limit: int) -> int:
        """Delete up to `limit` columns of data keys that are over."""

        async def work(session: Session) -> int:
            columns = self._database.collection(COLUMNS)
            kept: list[bytes] = await columns.distinct("data_key", session=session)
            wanted: Document = {"_id": {"$in": kept}}
            retired = self._database.collection(RETIRED_KEYS).find(wanted, session=session)
            over = [row["_id"] async for row in retired]
            fields: Document = {"ciphertext_bytes": 1}
            found = columns.find({"data_key": {"$in": over}}, fields, session=session)
            gone = 0
            async for row in found.limit(limit):
                deleted = await columns.delete_one({"_id": row["_id"]}, session=session)
                if deleted.deleted_count:  # else another storage has swept it, and given back
                    await give_back(self._database, row["ciphertext_bytes"], session)
                    gone += 1
            return gone

        return await self._database.atomically(work)

    async def _is_retired(self, data_key: bytes, session: Session) -> bool:
        retired = self._database.collection(RETIRED_KEYS)
        return await retired.find_one({"_id": data_key}, session=session) is not None


async def add_retired_keys(
    database: MongoDatabase, effects: BlockEffects, session: Session
) -> None:
    """Refuse the columns of these data keys from this block on."""
    requests = [
        UpdateOne({"_id": data_key}, {"$setOnInsert": {"height": effects.height}}, upsert=True)
        for data_key in effects.retired_keys
    ]
    await write_first(database, RETIRED_KEYS, requests, session)
