"""The quota: one number, kept in the transaction that takes or gives back room.

A server without transactions may be stopped between the number and the document that it counts:
the number is then too high, never the quota exceeded, until `recount` counts anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from bson import Int64

from cipherward_storage.errors import DiskFull
from cipherward_storage.mongo.database import MongoDatabase, Session
from cipherward_storage.mongo.layout import COLUMNS, HOME, RECORDS, UPLOADS, USE
from cipherward_storage.store import SlotKeyRetired


@dataclass(frozen=True, slots=True)
class Wanted:
    """Room for an upload. length: bytes. quota: of all. key_number: of the upload's slot key."""

    length: int
    quota: int
    key_number: int


async def promise(database: MongoDatabase, wanted: Wanted, session: Session) -> None:
    """Take room for an upload, whose slot key must be in use.

    Raises:
        DiskFull: the quota would be exceeded.
        SlotKeyRetired: the slot key is below the floor.
    """
    taken = await database.collection(HOME).update_one(
        {
            "_id": USE,
            "promised_bytes": {"$lte": wanted.quota - wanted.length},
            "key_floor": {"$lte": wanted.key_number},
        },
        {"$inc": {"promised_bytes": Int64(wanted.length), "version": 1}},
        session=session,
    )
    if not taken.matched_count:
        await check_floor(database, wanted.key_number, session)
        raise DiskFull("the quota of this storage is used up", bytes_wanted=wanted.length)


async def take_room(database: MongoDatabase, length: int, quota: int, session: Session) -> None:
    """Take room for a column.

    Raises:
        DiskFull: the quota would be exceeded.
    """
    taken = await database.collection(HOME).update_one(
        {"_id": USE, "promised_bytes": {"$lte": quota - length}},
        {"$inc": {"promised_bytes": Int64(length), "version": 1}},
        session=session,
    )
    if not taken.matched_count:
        raise DiskFull("the quota of this storage is used up", bytes_wanted=length)


async def check_floor(database: MongoDatabase, key_number: int, session: Session) -> None:
    """Raise `SlotKeyRetired` if nothing is taken under that slot key any more."""
    use = await database.collection(HOME).find_one({"_id": USE}, session=session)
    if use is not None and use["key_floor"] > key_number:
        raise SlotKeyRetired


async def give_back(database: MongoDatabase, length: int, session: Session) -> None:
    """Give back the room of a record, an upload or a column that is gone."""
    await database.collection(HOME).update_one(
        {"_id": USE},
        {"$inc": {"promised_bytes": Int64(-length), "version": 1}},
        session=session,
    )


async def recount(database: MongoDatabase) -> None:
    """Count what is there, and put that into the number unless it moved meanwhile.

    For servers without transactions. An upload that begins in this very instant may be missed
    until the next count.
    """

    async def work() -> None:
        home = database.collection(HOME)
        use = await home.find_one({"_id": USE})
        if use is None:
            return
        counted = 0
        open_uploads = {"body": {"$exists": True}}
        for name, wanted in ((RECORDS, {}), (UPLOADS, open_uploads), (COLUMNS, {})):
            group = {"_id": None, "bytes": {"$sum": "$ciphertext_bytes"}}
            found = database.collection(name).aggregate([{"$match": wanted}, {"$group": group}])
            counted += sum([int(row["bytes"]) async for row in found])
        await home.update_one(
            {"_id": USE, "version": use["version"]}, {"$set": {"promised_bytes": Int64(counted)}}
        )

    await database.run(work)
