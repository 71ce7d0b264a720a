"""All ports over one MongoDB."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from cipherward_storage.mongo.ceremonies import MongoCeremonies
from cipherward_storage.mongo.chain import MongoChainStore
from cipherward_storage.mongo.columns import MongoColumns
from cipherward_storage.mongo.database import MongoDatabase
from cipherward_storage.mongo.erasures import MongoErasures
from cipherward_storage.mongo.facts import MongoChainFacts
from cipherward_storage.mongo.place import MongoPlace
from cipherward_storage.mongo.records import MongoRecordStore
from cipherward_storage.mongo.settings import MongoSettings
from cipherward_storage.mongo.shares import MongoShares
from cipherward_storage.mongo.slots import MongoSlots
from cipherward_storage.place import StoreOwner
from cipherward_storage.stores import Stores


@asynccontextmanager
async def open_mongo(
    settings: MongoSettings,
    owner: StoreOwner,
    instance: str,
    quota_bytes: int,
    clock: Callable[[], int],
    *,
    transactions: bool | None = None,
) -> AsyncGenerator[Stores]:
    """Open the database; the server need not be there yet.

    Args:
        settings: where it is.
        owner: whose it must be.
        instance: this storage's name among those that share it.
        quota_bytes: of all records, uploads under way and columns, of all instances.
        clock: unix seconds; never behind the newest block time. Those of instances that share a
            database differ by less than a lease.
        transactions: whether to use them; None: whether the server has them.

    Raises:
        StoreUnusable: the settings are of no use, or the database is another owner's.
    """
    async with MongoDatabase(settings, owner, transactions=transactions) as database:
        place = MongoPlace(database, instance, quota_bytes, clock)
        yield Stores(
            MongoRecordStore(place),
            MongoChainStore(place),
            MongoChainFacts(place),
            MongoShares(place),
            MongoErasures(place),
            MongoSlots(place),
            MongoCeremonies(place),
            MongoColumns(place),
        )
