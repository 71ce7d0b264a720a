"""Slots in MongoDB, as they are moved from key to key: the `SlotStore` of production.

The floor stands in the document that every new upload changes, so that an upload under an old key
and a floor that is being raised are one after the other. Without transactions an upload looks at
the floor again once it is there (`uploads.begin`).
"""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import UpdateOne
from pymongo.errors import DuplicateKeyError

from cipherward_storage.mongo.database import Document
from cipherward_storage.mongo.layout import HOME, RECORDS, RENEWING, SLOT_KEYS, UPLOADS, USE
from cipherward_storage.mongo.place import MongoPlace
from cipherward_storage.mongo.writes import write_first
from cipherward_storage.records import KeptSlot
from cipherward_storage.slot_renewal import LivingSlot

# A look of the renewal's comes every ten minutes at most; a batch takes a second.
RENEWING_SECONDS = 60
FIELDS = {"record_id": 1, "key_number": 1, "kept": 1}


class MongoSlots:
    """`SlotStore` over a database that several storages of one member may share."""

    def __init__(self, place: MongoPlace) -> None:
        self._place = place
        self._database = place.database

    async def ours(self) -> bool:
        """Take or keep the turn of whoever renews."""
        wanted = {"_id": RENEWING, **self._place.takeable()}
        lease = {"$set": self._place.lease(RENEWING_SECONDS)}

        async def work() -> bool:
            try:
                await self._database.collection(HOME).update_one(wanted, lease, upsert=True)
            except DuplicateKeyError:  # it is there and not takeable
                return False
            return True

        return await self._database.run(work)

    async def registered(self, key_number: int, fingerprint: bytes) -> bytes:
        """Keep a slot key's fingerprint unless one is kept; return the kept one."""
        insert = UpdateOne(
            {"_id": key_number}, {"$setOnInsert": {"fingerprint": fingerprint}}, upsert=True
        )

        async def work() -> Document | None:
            await write_first(self._database, SLOT_KEYS, [insert], None)
            return await self._database.collection(SLOT_KEYS).find_one({"_id": key_number})

        row = await self._database.run(work)
        return fingerprint if row is None else row["fingerprint"]

    async def raise_floor(self, key_number: int) -> None:
        """Take no slot any more that is under a key below this one."""
        change = {"$max": {"key_floor": key_number}}
        await self._database.run(
            lambda: self._database.collection(HOME).update_one({"_id": USE}, change)
        )

    async def outdated(self, key_number: int, limit: int) -> Sequence[LivingSlot]:
        """Return up to `limit` slots that are under a key below this one."""
        old: Document = {"key_number": {"$lt": key_number}}

        async def work() -> list[LivingSlot]:
            found: list[LivingSlot] = []
            for name in (RECORDS, UPLOADS):
                rows = self._database.collection(name).find(old, FIELDS).limit(limit - len(found))
                found += [_living(name, row) async for row in rows] if len(found) < limit else []
            return found

        return await self._database.run(work)

    async def replace(self, moved: Sequence[tuple[LivingSlot, KeptSlot]]) -> None:
        """Keep slots anew; one that was replaced or deleted meanwhile stays as it is."""
        for name in (RECORDS, UPLOADS):
            changes = [
                UpdateOne(
                    {"_id": living.request_id or living.record_id, "kept": living.kept.octets},
                    {"$set": {"key_number": kept.key_number, "kept": kept.octets}},
                )
                for living, kept in moved
                if bool(living.request_id) == (name == UPLOADS)
            ]
            if changes:
                await self._database.run(
                    lambda name=name, changes=changes: self._database.bulk(name, changes)
                )


def _living(name: str, row: Document) -> LivingSlot:
    kept = KeptSlot(row["key_number"], row["kept"])
    if name == RECORDS:
        return LivingSlot(row["_id"], "", kept)
    return LivingSlot(row["record_id"], row["_id"], kept)
