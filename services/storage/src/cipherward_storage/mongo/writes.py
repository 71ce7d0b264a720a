"""Writes of which the first of each document stays."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from cipherward_storage.mongo.database import MongoDatabase, Session
from cipherward_storage.mongo.failures import DUPLICATE_KEY, bulk_numbers


async def write_first(
    database: MongoDatabase, name: str, requests: Sequence[UpdateOne], session: Session
) -> None:
    """Do upserts that set nothing in a document that is there; use it inside `atomically`."""
    try:
        await database.bulk(name, requests, session)
    except BulkWriteError as error:
        # Another storage inserted the same one this moment. In a transaction it is a conflict.
        if session is not None or bulk_numbers(error) != {DUPLICATE_KEY}:
            raise
