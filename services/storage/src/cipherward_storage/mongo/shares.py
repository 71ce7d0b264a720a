"""A guardian's shares in MongoDB: the `ShareStore` of production, and how a block changes them.

Of several storages of one member each may make a share; the first that is kept is the one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pymongo import UpdateOne

from cipherward_member.reports import OrderKey
from cipherward_storage.effects import BlockEffects, Release, ShareOrder
from cipherward_storage.guardian import OrderedShare
from cipherward_storage.mongo.database import Document, MongoDatabase, Session
from cipherward_storage.mongo.layout import SHARES
from cipherward_storage.mongo.place import MongoPlace
from cipherward_storage.mongo.writes import write_first

DONE: Document = {"pending": ""}


class MongoShares:
    """`ShareStore` over a database that several storages of one member may share."""

    def __init__(self, place: MongoPlace) -> None:
        self._database = place.database

    async def pending(self, now: int, limit: int, without: Collection[str]) -> Sequence[ShareOrder]:
        """Return up to `limit` orders whose share is to be made, the oldest first."""
        wanted: Document = {
            "pending": True,
            "ends": {"$gt": now},
            "not_before": {"$lte": now},
            "custodian": {"$nin": sorted(without)},
        }

        async def work() -> list[Document]:
            found = self._database.collection(SHARES).find(wanted)
            return await found.sort([("height", 1), ("number", 1)]).limit(limit).to_list(limit)

        return [_order(row) for row in await self._database.run(work)]

    async def waiting(self, now: int) -> int:
        """Return how many shares are to be made."""
        wanted: Document = {"pending": True, "ends": {"$gt": now}}
        return await self._database.run(
            lambda: self._database.collection(SHARES).count_documents(wanted)
        )

    async def keep(self, order: OrderKey, sealed: bytes) -> None:
        """Keep what was made, unless something was made before or the right is over."""
        await self._change(
            {**_name(order), "pending": True}, {"$set": {"sealed": sealed}, "$unset": DONE}
        )

    async def put_off(self, order: ShareOrder, until: int) -> None:
        """Leave an order alone for a while."""
        later = {"attempts": order.attempts + 1, "not_before": until}
        await self._change(_name(order.order), {"$set": later})

    async def give_up(self, order: OrderKey) -> None:
        """Note that no share will ever be made for the order."""
        await self._change(_name(order), {"$unset": DONE})

    async def share(self, order: OrderKey) -> OrderedShare | None:
        """Return what there is of the share that the order takes, or None: it takes none."""
        row = await self._database.run(
            lambda: self._database.collection(SHARES).find_one(_name(order))
        )
        if row is None:
            return None
        made = Release(
            order,
            row["record_id"],
            row["anchor"],
            row["contract"],
            row["reader"],
            row["ends"],
            row["sealed"],
            revoked=row["revoked"],
        )
        return OrderedShare(made, "pending" in row)

    async def _change(self, wanted: Document, change: Document) -> None:
        await self._database.run(
            lambda: self._database.collection(SHARES).update_one(wanted, change)
        )


async def add_shares(database: MongoDatabase, effects: BlockEffects, session: Session) -> None:
    """Keep the orders of a block that take a share, unless an earlier attempt kept them."""
    orders = [
        UpdateOne(
            _name(one.order),
            {
                "$setOnInsert": {
                    "order_digest": one.order_digest,
                    "record_id": one.record_id,
                    "anchor_digest": one.anchor_digest,
                    "anchor": one.anchor,
                    "contract": one.grant,
                    "reader": one.reader,
                    "reader_key": one.reader_key,
                    "ends": one.ends,
                    "custodian": one.custodian,
                    "key_epoch": one.key_epoch,
                    "attempts": 0,
                    "not_before": 0,
                    "sealed": b"",
                    "revoked": False,
                    "pending": True,
                }
            },
            upsert=True,
        )
        for one in effects.shares
    ]
    await write_first(database, SHARES, orders, session)


async def end_shares(database: MongoDatabase, ended: Sequence[Document], session: Session) -> None:
    """Drop what was made, or is to be made, for grants and records that ended."""
    if ended:
        change = {"$set": {"revoked": True, "sealed": b""}, "$unset": DONE}
        await database.collection(SHARES).update_many({"$or": ended}, change, session=session)


async def forget_shares(database: MongoDatabase, before: int, limit: int, session: Session) -> None:
    """Delete up to `limit` shares of rights that ended long ago."""
    shares = database.collection(SHARES)
    over = shares.find({"ends": {"$lt": before}}, {"_id": 1}, session=session).limit(limit)
    names = [row["_id"] async for row in over]
    if names:
        await shares.delete_many({"_id": {"$in": names}}, session=session)


def _name(order: OrderKey) -> Document:
    return {"height": order.height, "number": order.index}


def _order(row: Document) -> ShareOrder:
    return ShareOrder(
        OrderKey(row["height"], row["number"]),
        row["order_digest"],
        row["record_id"],
        row["anchor_digest"],
        row["anchor"],
        row["contract"],
        row["reader"],
        row["reader_key"],
        row["ends"],
        row["custodian"],
        row["key_epoch"],
        row["attempts"],
    )
