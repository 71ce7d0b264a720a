"""Where records are kept: the one place that chooses an adapter, and how to wait for one that left.

| `STORE` | records, uploads and key slots | bodies |
|---|---|---|
| `embedded` | SQLite in the data folder | files beside it |
| `mongo` | a MongoDB of the member's own | GridFS in it |
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog

from cipherward_kit.database import Database
from cipherward_kit.readiness import Readiness
from cipherward_member.ceremony_rows import SqliteCeremonies
from cipherward_member.ceremony_store import CeremonyStore
from cipherward_storage.columns import ColumnStore
from cipherward_storage.erasures import ErasureStore
from cipherward_storage.errors import StoreAway
from cipherward_storage.guardian import ShareStore
from cipherward_storage.instance import read_instance
from cipherward_storage.mongo.settings import MongoSettings
from cipherward_storage.place import Room, StoreOwner
from cipherward_storage.schema import SCHEMA
from cipherward_storage.slot_renewal import SlotStore
from cipherward_storage.sqlite_chain import SqliteChainStore
from cipherward_storage.sqlite_columns import SqliteColumns
from cipherward_storage.sqlite_erasures import SqliteErasures
from cipherward_storage.sqlite_facts import SqliteChainFacts
from cipherward_storage.sqlite_records import SqliteRecordStore
from cipherward_storage.sqlite_shares import SqliteShares
from cipherward_storage.sqlite_slots import SqliteSlots
from cipherward_storage.store import ChainFacts, ChainStore, RecordStore

STORE = "store"  # the condition of readiness: the store answers
# Between two looks at whether the store answers: an orchestrator looks about as often.
LOOK_SECONDS = 2.0
# After a call that was not answered; doubled up to the maximum. A new primary takes seconds.
RETRY_SECONDS, RETRY_SECONDS_MAX = 0.1, 5.0

Result = TypeVar("Result")
log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Stores:
    """All ports of one place."""

    records: RecordStore
    chain: ChainStore
    facts: ChainFacts
    shares: ShareStore
    erasures: ErasureStore
    slots: SlotStore
    ceremonies: CeremonyStore
    columns: ColumnStore


@asynccontextmanager
async def open_stores(
    folder: Path,
    owner: StoreOwner,
    room: Room,
    mongo: MongoSettings | None,
    clock: Callable[[], int],
) -> AsyncGenerator[Stores]:
    """Open the store that the settings choose.

    Args:
        folder: of the service's own state, held by this process alone.
        owner: whose records these are, and of which chain.
        room: how much may be stored.
        mongo: where the database is; None: the embedded store.
        clock: unix seconds; never behind the newest block time.

    Raises:
        StoreUnusable: the settings do not lead to a database of this owner.
    """
    if mongo is None:
        async with (
            Database(folder / "storage.sqlite", SCHEMA) as database,
            SqliteRecordStore(database, folder / "bodies", room, clock) as records,
        ):
            yield Stores(
                records,
                SqliteChainStore(database),
                SqliteChainFacts(database),
                SqliteShares(database),
                SqliteErasures(database, records.bodies),
                SqliteSlots(database),
                SqliteCeremonies(database),
                SqliteColumns(database, records, room.quota_bytes),
            )
        return
    # Imported here: the embedded store does without the driver's 15 MB.
    from cipherward_storage.mongo.opening import open_mongo

    instance = await asyncio.to_thread(read_instance, folder)
    async with open_mongo(mongo, owner, instance, room.quota_bytes, clock) as stores:
        yield stores


async def until_it_answers(work: Callable[[], Awaitable[Result]]) -> Result:
    """Do `work`, and again while the store is away; return what it returned.

    `work` is safe to repeat after a call whose outcome is not known: everything in our ports is.
    """
    retry, told = RETRY_SECONDS, False
    while True:
        try:
            return await work()
        except StoreAway:
            if not told:  # why, readiness says, and when it is over
                log.warning("store_awaited")
                told = True
        await asyncio.sleep(retry)
        retry = min(2 * retry, RETRY_SECONDS_MAX)


async def watch_store(chain: ChainStore, readiness: Readiness) -> None:
    """Keep the condition `STORE` equal to whether the store answers, for ever."""
    while True:
        try:
            await chain.checkpoint()
        except StoreAway:
            readiness.set(STORE, False, "the database does not answer")
        else:
            readiness.set(STORE, True)
        await asyncio.sleep(LOOK_SECONDS)
