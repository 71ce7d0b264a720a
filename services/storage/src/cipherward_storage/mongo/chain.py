"""What proven blocks made, in MongoDB: the `ChainStore` and `ReportStore` of production.

A block is one transaction. On a server without transactions its steps are done in the order of
`_apply`, where each may be repeated and the place in the chain comes last: a stop in between does
the block again, and what was made first stays. Release and report of an order are one document, so
that what is reported is always what is released.

Several storages may follow the chain into one database: each block is applied by the first of
them, for the others it was applied before. One of them at a time sends the reports.
"""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import UpdateOne
from pymongo.errors import DuplicateKeyError

from cipherward_member.reports import OrderKey, Outcome, PendingReport, Report
from cipherward_storage.effects import BlockEffects, Release
from cipherward_storage.mongo.ceremonies import add_ceremony_news
from cipherward_storage.mongo.columns import add_retired_keys
from cipherward_storage.mongo.database import Document, MongoDatabase, Session
from cipherward_storage.mongo.erasures import add_erasures
from cipherward_storage.mongo.facts import add_facts
from cipherward_storage.mongo.layout import HOME, ORDERS, POSITION, REPORTING
from cipherward_storage.mongo.place import MongoPlace
from cipherward_storage.mongo.shares import add_shares, end_shares, forget_shares
from cipherward_storage.mongo.writes import write_first

# A release that is over is answered as ended for this long, then as unknown; its sealed bytes go.
ENDED_RELEASE_SECONDS = 24 * 3600
# Forgotten a block, so that a block's transaction stays short.
ENDED_RELEASES_PER_BLOCK = 100
# Who sends the reports looks every 30 s; another one takes over after three looks were missed.
REPORTING_SECONDS = 90

NOTHING_SENT: Document = {
    "report.payload": "",
    "report.transaction_id": "",
    "report.expires": "",
}


class MongoChainStore:
    """`ChainStore` over a database that several storages of one member may share."""

    def __init__(self, place: MongoPlace) -> None:
        self._database = place.database
        self.reports = MongoReports(place)

    async def checkpoint(self) -> bytes:
        """Return where to go on, or b""."""
        database = self._database
        row = await database.run(lambda: database.collection(HOME).find_one({"_id": POSITION}))
        return b"" if row is None else row["checkpoint"]

    async def apply(self, effects: BlockEffects) -> None:
        """Make a block's effects and checkpoint durable together, once."""
        await self._database.atomically(lambda session: _apply(self._database, effects, session))

    async def release(self, order: OrderKey) -> Release | None:
        """Return what the order released, or None."""
        wanted = {"height": order.height, "number": order.index, "release": {"$exists": True}}
        row = await self._database.run(
            lambda: self._database.collection(ORDERS).find_one(wanted, {"release": 1})
        )
        if row is None:
            return None
        made = row["release"]
        return Release(
            order,
            made["record_id"],
            made["anchor"],
            made["contract"],
            made["reader"],
            made["ends"],
            made["sealed"],
            made["alliance_slot"],
            made["revoked"],
        )


class MongoReports:
    """`ReportStore` over the same database; only one storage at a time has anything pending."""

    def __init__(self, place: MongoPlace) -> None:
        self._place = place
        self._database = place.database

    async def pending(self, limit: int) -> Sequence[PendingReport]:
        """Return up to `limit` reports that no block holds yet, oldest order first.

        Nothing while another storage of this member sends them.
        """

        async def work() -> list[Document]:
            if not await self._ours():
                return []
            found = self._database.collection(ORDERS).find({"report.pending": True})
            ordered = found.sort([("height", 1), ("number", 1)]).limit(limit)
            return await ordered.to_list(limit)

        return [_pending(row) for row in await self._database.run(work)]

    async def save(self, reports: Sequence[PendingReport]) -> None:
        """Keep the transactions of pending reports; those that a block took meanwhile stay gone."""
        changes = [
            UpdateOne(
                {
                    "height": pending.report.order.height,
                    "number": pending.report.order.index,
                    "report.pending": True,
                },
                _sent(pending),
            )
            for pending in reports
        ]
        await self._database.run(lambda: self._database.bulk(ORDERS, changes))

    async def _ours(self) -> bool:
        """Take or keep the lease of whoever sends the reports; return whether we have it."""
        wanted = {"_id": REPORTING, **self._place.takeable()}
        lease = {"$set": self._place.lease(REPORTING_SECONDS)}
        try:
            await self._database.collection(HOME).update_one(wanted, lease, upsert=True)
        except DuplicateKeyError:  # it is there and not takeable
            return False
        return True


async def _apply(database: MongoDatabase, effects: BlockEffects, session: Session) -> None:
    home = database.collection(HOME)
    place = await home.find_one({"_id": POSITION}, {"height": 1}, session=session)
    if place is not None and place["height"] >= effects.height:  # what it made first stays
        return
    await add_facts(database, effects, session)
    await _add_orders(database, effects, session)
    await add_shares(database, effects, session)
    await add_erasures(database, effects, session)
    await add_retired_keys(database, effects, session)
    await _end_rights(database, effects, session)
    await add_ceremony_news(database, effects.ceremonies, session)
    await _settle(database, effects, session)
    await _forget(database, effects, session)
    await home.update_one(
        {"_id": POSITION, "height": {"$lt": effects.height}},
        {"$set": {"height": effects.height, "checkpoint": effects.checkpoint}},
        session=session,
    )


async def _end_rights(database: MongoDatabase, effects: BlockEffects, session: Session) -> None:
    """Drop what was made for grants that end and for records that are erased."""
    ended = {
        "contract": list(effects.ended_grants),
        "record_id": [erasure.record_id for erasure in effects.erased],
    }
    for field, values in ended.items():
        if values:
            await database.collection(ORDERS).update_many(
                {f"release.{field}": {"$in": values}},
                {"$set": {"release.revoked": True, "release.sealed": b""}},
                session=session,
            )
    named: list[Document] = [{name: {"$in": values}} for name, values in ended.items() if values]
    await end_shares(database, named, session)


async def _add_orders(database: MongoDatabase, effects: BlockEffects, session: Session) -> None:
    """Keep what orders made and what is to be reported of them; of two about one the first."""
    made: dict[OrderKey, Document] = {}
    for release in effects.releases:
        made.setdefault(release.order, {})["release"] = {
            "record_id": release.record_id,
            "anchor": release.anchor,
            "contract": release.grant,
            "reader": release.reader,
            "ends": release.ends,
            "sealed": release.sealed,
            "alliance_slot": release.alliance_slot,
            "revoked": release.revoked,
        }
    for report in effects.reports:
        made.setdefault(report.order, {})["report"] = {
            "outcome": report.outcome.value,
            "digest": report.digest,
            "pending": True,
        }
    orders = [
        UpdateOne(
            {"height": key.height, "number": key.index}, {"$setOnInsert": fields}, upsert=True
        )
        for key, fields in made.items()
    ]
    await write_first(database, ORDERS, orders, session)


async def _settle(database: MongoDatabase, effects: BlockEffects, session: Session) -> None:
    """Forget the reports that the block holds; those that came at a wrong time are made anew."""
    orders = database.collection(ORDERS)
    if effects.settled:
        held: Document = {"report.transaction_id": {"$in": list(effects.settled)}}
        bare = {**held, "release": {"$exists": False}}
        await orders.delete_many(bare, session=session)
        await orders.update_many(held, {"$unset": {"report": ""}}, session=session)
    if effects.rebuilt:
        late = {"report.transaction_id": {"$in": list(effects.rebuilt)}}
        await orders.update_many(late, {"$unset": NOTHING_SENT}, session=session)


async def _forget(database: MongoDatabase, effects: BlockEffects, session: Session) -> None:
    """Forget releases that are long over."""
    orders, before = database.collection(ORDERS), effects.time - ENDED_RELEASE_SECONDS
    await forget_shares(database, before, ENDED_RELEASES_PER_BLOCK, session)
    over = {"release.ends": {"$lt": before}}
    found = orders.find(over, {"_id": 1}, session=session).limit(ENDED_RELEASES_PER_BLOCK)
    names = [row["_id"] async for row in found]
    if names:
        reported: Document = {"_id": {"$in": names}, "report": {"$exists": False}}
        await orders.delete_many(reported, session=session)
        await orders.update_many(
            {"_id": {"$in": names}}, {"$unset": {"release": ""}}, session=session
        )


def _sent(pending: PendingReport) -> Document:
    if not pending.transaction:
        return {"$unset": NOTHING_SENT}
    return {
        "$set": {
            "report.payload": pending.transaction,
            "report.transaction_id": pending.transaction_id,
            "report.expires": pending.expires,
        }
    }


def _pending(row: Document) -> PendingReport:
    report = row["report"]
    return PendingReport(
        Report(
            OrderKey(row["height"], row["number"]), Outcome(report["outcome"]), report["digest"]
        ),
        report.get("payload", b""),
        report.get("transaction_id", b""),
        report.get("expires", 0),
    )
