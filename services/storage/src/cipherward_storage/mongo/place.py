"""What everything in this package works with, and the lease that says whose turn it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cipherward_storage.mongo.database import Document, MongoDatabase

# An upload whose storage was killed can be taken up by another one after this long (by the same
# one at once); renewed three times meanwhile. Safety does not hang on it: an epoch does.
LEASE_SECONDS = 15


@dataclass(frozen=True, slots=True)
class MongoPlace:
    """Where records are kept.

    instance: this storage's name among those that share the database. quota_bytes: of all records,
    uploads under way and columns. clock: unix seconds, never behind the newest block time.
    """

    database: MongoDatabase
    instance: str
    quota_bytes: int
    clock: Callable[[], int]

    def lease(self, seconds: int = LEASE_SECONDS) -> Document:
        """Return the fields of a lease of ours that begins now."""
        return {"instance": self.instance, "leased_until": self.clock() + seconds}

    def takeable(self) -> Document:
        """Return what is true of a lease that we may take: nobody's, ours, or one that is over."""
        return {
            "$or": [
                {"instance": {"$exists": False}},
                {"instance": self.instance},
                {"leased_until": {"$lt": self.clock()}},
            ]
        }
