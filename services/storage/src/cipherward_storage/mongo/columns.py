"""Encrypted columns in MongoDB: the `ColumnStore` of production, and how a block adds to it.

A column is one document: it has at most 8 MiB, a document 16. So it is there whole or not at all,
on a server without transactions too.
"""

from __future__ import annotations

from pymongo import UpdateOne

from cipherward_storage.columns import ColumnName
from cipherward_storage.effects import BlockEffects
from cipherward_storage.errors import DataKeyRetired
from cipherward_storage.mongo.database import Document, MongoDatabase, Session
from cipherward_storage.mongo.layout import COLUMNS, RETIRED_KEYS
from cipherward_storage.mongo.place import MongoPlace
from cipherward_storage.mongo.writes import write_first


class MongoColumns:
    """`ColumnStore` over a database that several storages of one member may share."""

    def __init__(self, place: MongoPlace) -> None:
        self._database = place.database

    async def put(self, name: ColumnName, octets: bytes) -> None:
        """Keep octets, all or nothing.

        A key that is retired while we write keeps a column that nobody is sent: a sweep takes it.
        """
        row = UpdateOne(
            {"data_key": name.data_key, "digest": name.digest},
            {"$set": {"octets": octets}},
            upsert=True,
        )

        async def work() -> None:
            if await self._is_retired(name.data_key):
                raise DataKeyRetired("the data key of this column is over")
            await write_first(self._database, COLUMNS, [row], None)

        await self._database.run(work)

    async def find(self, name: ColumnName) -> bytes | None:
        """Return what is kept under a name, or None."""
        wanted = {"data_key": name.data_key, "digest": name.digest}

        async def work() -> Document | None:
            if await self._is_retired(name.data_key):
                return None
            return await self._database.collection(COLUMNS).find_one(wanted, {"octets": 1})

        row = await self._database.run(work)
        return None if row is None else row["octets"]

    async def sweep(self, limit: int) -> int:
        """Delete up to `limit` columns of data keys that are over."""

        async def work() -> int:
            columns = self._database.collection(COLUMNS)
            kept: list[bytes] = await columns.distinct("data_key")
            wanted: Document = {"_id": {"$in": kept}}
            retired = self._database.collection(RETIRED_KEYS).find(wanted)
            over = [row["_id"] async for row in retired]
            found = columns.find({"data_key": {"$in": over}}, {"_id": 1}).limit(limit)
            names = [row["_id"] async for row in found]
            deleted = await columns.delete_many({"_id": {"$in": names}})
            return deleted.deleted_count

        return await self._database.run(work)

    async def _is_retired(self, data_key: bytes) -> bool:
        retired = self._database.collection(RETIRED_KEYS)
        return await retired.find_one({"_id": data_key}) is not None


async def add_retired_keys(
    database: MongoDatabase, effects: BlockEffects, session: Session
) -> None:
    """Refuse the columns of these data keys from this block on."""
    requests = [
        UpdateOne({"_id": data_key}, {"$setOnInsert": {"height": effects.height}}, upsert=True)
        for data_key in effects.retired_keys
    ]
    await write_first(database, RETIRED_KEYS, requests, session)
