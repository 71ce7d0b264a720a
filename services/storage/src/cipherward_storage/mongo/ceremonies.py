"""Ceremonies of record keys in MongoDB: the `CeremonyStore` of production, and what a block adds.

Of several storages of one member the first seed that is kept is the one of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import UpdateOne

from cipherward_chain.orders import Order
from cipherward_member.ceremony_store import (
    CeremonyMessage,
    CeremonyNews,
    KeptSharing,
    StoredCeremony,
)
from cipherward_storage.mongo.database import Document, MongoDatabase, Session
from cipherward_storage.mongo.layout import CEREMONIES, CEREMONY_MESSAGES, SHARINGS
from cipherward_storage.mongo.place import MongoPlace
from cipherward_storage.mongo.writes import write_first


class MongoCeremonies:
    """`CeremonyStore` over a database that several storages of one member may share."""

    def __init__(self, place: MongoPlace) -> None:
        self._database = place.database

    async def running(self) -> Sequence[StoredCeremony]:
        """Return the ceremonies that are not closed, the oldest order first."""

        async def work() -> list[Document]:
            found = self._database.collection(CEREMONIES).find({"closed": {"$exists": False}})
            return await found.sort([("height", 1), ("number", 1)]).to_list(None)

        return [
            StoredCeremony(row["_id"], row["share_key"], row["use_sharing"])
            for row in await self._database.run(work)
        ]

    async def messages(self, ceremony: bytes, after: tuple[int, int]) -> Sequence[CeremonyMessage]:
        """Return the messages behind (height, place), in their order."""
        height, place = after
        wanted: Document = {
            "ceremony": ceremony,
            "$or": [{"height": {"$gt": height}}, {"height": height, "place": {"$gt": place}}],
        }

        async def work() -> list[Document]:
            found = self._database.collection(CEREMONY_MESSAGES).find(wanted)
            return await found.sort([("height", 1), ("place", 1)]).to_list(None)

        return [
            CeremonyMessage(
                ceremony, row["height"], row["place"], row["sender"], row["kind"], row["body"]
            )
            for row in await self._database.run(work)
        ]

    async def seed(self, ceremony: bytes, fresh: bytes) -> bytes:
        """Keep `fresh` unless a seed is kept; return the kept one, or b"" after the end."""

        async def work() -> Document | None:
            ceremonies = self._database.collection(CEREMONIES)
            bare = {"_id": ceremony, "seed": b"", "closed": {"$exists": False}}
            await ceremonies.update_one(bare, {"$set": {"seed": fresh}})
            return await ceremonies.find_one({"_id": ceremony}, {"seed": 1})

        row = await self._database.run(work)
        return b"" if row is None else row["seed"]

    async def close(self, ceremony: bytes, kept: KeptSharing | None) -> None:
        """Destroy a ceremony's seed and messages; keep its sharing, if there is one.

        Its name stays: on a server without transactions a block that is applied again must not
        begin it anew.
        """

        async def work(session: Session) -> None:
            # The share before the seed that it follows from; a stop in between does it again.
            if kept is not None:
                await _keep(self._database, kept, session)
            change = {"$set": {"seed": b"", "closed": True, "share_key": b"", "use_sharing": b""}}
            ceremonies = self._database.collection(CEREMONIES)
            await ceremonies.update_one({"_id": ceremony}, change, session=session)
            messages = self._database.collection(CEREMONY_MESSAGES)
            await messages.delete_many({"ceremony": ceremony}, session=session)

        await self._database.atomically(work)

    async def sharings(self) -> Sequence[KeptSharing]:
        """Return the sharings in force, by key epoch."""

        async def work() -> list[Document]:
            found = self._database.collection(SHARINGS).find()
            return await found.sort([("key_epoch", 1), ("sharing", 1)]).to_list(None)

        return [
            KeptSharing(row["key_epoch"], row["sharing"], row["entry"], row["share"])
            for row in await self._database.run(work)
        ]


async def _keep(database: MongoDatabase, kept: KeptSharing, session: Session) -> None:
    name = {"key_epoch": kept.key_epoch, "sharing": kept.sharing}
    first = UpdateOne(
        name, {"$setOnInsert": {"entry": kept.entry, "share": kept.share}}, upsert=True
    )
    await write_first(database, SHARINGS, [first], session)
    # Another storage may be ahead of us, with a newer sharing already.
    sharings, epoch = database.collection(SHARINGS), {"key_epoch": kept.key_epoch}
    newest = await sharings.find_one(epoch, sort=[("sharing", -1)], session=session)
    if newest is not None:
        older = {**epoch, "sharing": {"$lt": newest["sharing"]}}
        await sharings.delete_many(older, session=session)


async def add_ceremony_news(database: MongoDatabase, news: CeremonyNews, session: Session) -> None:
    """Store what a block says; repeated, it changes nothing."""
    if news.empty:
        return
    begun = [
        UpdateOne({"_id": ceremony}, {"$setOnInsert": _begun(raw)}, upsert=True)
        for ceremony, raw in news.begun.items()
    ]
    await write_first(database, CEREMONIES, begun, session)
    ceremonies = database.collection(CEREMONIES)
    named = sorted({one.ceremony for one in news.messages})
    wanted: Document = {"_id": {"$in": named}, "closed": {"$exists": False}}
    known = [row["_id"] async for row in ceremonies.find(wanted, {"_id": 1}, session=session)]
    messages = [
        UpdateOne(
            {"ceremony": one.ceremony, "height": one.height, "place": one.place},
            {"$setOnInsert": {"sender": one.sender, "kind": one.kind, "body": one.body}},
            upsert=True,
        )
        for one in news.messages
        if one.ceremony in known
    ]
    await write_first(database, CEREMONY_MESSAGES, messages, session)
    for ceremony, raw in news.in_force.items():
        still = {"_id": ceremony, "closed": {"$exists": False}}
        await ceremonies.update_one(still, {"$set": {"use_sharing": raw}}, session=session)


def _begun(raw: bytes) -> Document:
    order = Order.from_bytes(raw)
    place: Document = {"height": order.height, "number": order.index}
    return {**place, "share_key": raw, "use_sharing": b"", "seed": b""}
