"""Collections and indexes of the database; a released index never changes its meaning.

| collection | one document each | what decides |
|---|---|---|
| home | owner; how far the chain was followed; what the quota counts; who sends reports | `_id` |
| uploads | upload: its lease, what is committed, the bytes after its last whole part | request id |
| records | complete record: anchor, slot, body, tags of the parts | record id; body |
| anchors | anchor of this custodian's that a proven block holds | record id |
| orders | order that was carried out: what it released, what is to be reported | height, number |
| bodies.chunks, bodies.files | GridFS | body, part |
| garbage | body that nobody names any more | body |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson import Int64
from motor.motor_asyncio import AsyncIOMotorCollection
from pymongo import ASCENDING, IndexModel

from cipherward_storage.errors import StoreUnusable
from cipherward_storage.place import StoreOwner

UPLOADS, RECORDS, ANCHORS, ORDERS, HOME = "uploads", "records", "anchors", "orders", "home"
CHUNKS, FILES, GARBAGE = "bodies.chunks", "bodies.files", "garbage"
OWNER, POSITION, USE, REPORTING = "owner", "position", "use", "reporting"  # documents of `home`

LAYOUT = 1  # grows when an older release would harm what a newer one wrote


def _index(*fields: str, **options: Any) -> IndexModel:
    return IndexModel([(field, ASCENDING) for field in fields], **options)


INDEXES: Mapping[str, tuple[IndexModel, ...]] = {
    UPLOADS: (
        _index("touched_at"),
        _index("body", unique=True, sparse=True),  # absent once complete
    ),
    RECORDS: (
        _index("body", unique=True),
        _index("unanchored_since", sparse=True),  # absent once anchored
    ),
    ORDERS: (
        _index("height", "number", unique=True),
        _index("release.contract", sparse=True),
        _index("release.ends", sparse=True),
        _index("report.transaction_id", unique=True, sparse=True),
        _index("report.pending", "height", "number"),
    ),
    CHUNKS: (_index("files_id", "n", unique=True),),  # as GridFS has it
    FILES: (_index("filename", "uploadDate"),),  # as GridFS has it
    GARBAGE: (_index("since"),),
}


async def open_home(
    home: AsyncIOMotorCollection[dict[str, Any]], owner: StoreOwner, name: str
) -> None:
    """Make the database `owner`'s, or check that it is; `name` is the database's.

    Raises:
        StoreUnusable: it is another's, or a newer release wrote it.
    """
    ours = {"chain_id": owner.chain_id, "member": owner.member}
    await home.update_one({"_id": OWNER}, {"$setOnInsert": {**ours, "layout": LAYOUT}}, upsert=True)
    found = await home.find_one({"_id": OWNER}) or {}
    if {key: found.get(key) for key in ours} != ours:
        raise StoreUnusable(
            f"the database {name} belongs to another member or chain; "
            "give each its own (CIPHERWARD_MONGO_DATABASE)"
        )
    if found.get("layout", 0) > LAYOUT:
        raise StoreUnusable(f"a newer release wrote the database {name}; run that one")
    fresh: tuple[tuple[str, dict[str, Any]], ...] = (
        (POSITION, {"height": 0, "checkpoint": b""}),
        (USE, {"promised_bytes": Int64(0), "version": Int64(0)}),
    )
    for key, fields in fresh:
        await home.update_one({"_id": key}, {"$setOnInsert": fields}, upsert=True)
