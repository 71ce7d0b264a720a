"""Collections and indexes of the database; a released index never changes its meaning.

| collection | one document each | what decides |
|---|---|---|
| home | owner; place in the chain; quota and oldest slot key; who reports, who renews | `_id` |
| uploads | upload: its lease, what is committed, the bytes after its last whole part | request id |
| records | complete record: anchor, slot, body, tags of the parts | record id; body |
| anchors | anchor of any custodian's that a proven block holds | record id |
| orders | order that was carried out: what it released, what is to be reported | height, number |
| shares | order that takes a guardian's share: what is to be made, or was | height, number |
| erased | record id that is refused for ever; what is still to be done about it | record id |
| columns | encrypted column of a data key, or a proof about some | data key, digest |
| retired_keys | data key whose columns are refused for ever | contract |
| slot_keys | slot key that was ever in use: its fingerprint | number |
| record_keys | record key of the members, as slots are made under it | key epoch |
| ceremonies | ceremony of a record key: its orders, its sealed seed | contract |
| ceremony_messages | message of a ceremony that is under way | contract, height, place |
| sharings | sharing in force, with this member's sealed share | key epoch, sharing |
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
SHARES, ERASED, RECORD_KEYS = "shares", "erased", "record_keys"
SLOT_KEYS = "slot_keys"
COLUMNS, RETIRED_KEYS = "columns", "retired_keys"
CEREMONIES, CEREMONY_MESSAGES, SHARINGS = "ceremonies", "ceremony_messages", "sharings"
CHUNKS, FILES, GARBAGE = "bodies.chunks", "bodies.files", "garbage"
# Documents of `home`.
OWNER, POSITION, USE, REPORTING, RENEWING = "owner", "position", "use", "reporting", "renewing"

LAYOUT = 1  # grows when an older release would harm what a newer one wrote


def _index(*fields: str, **options: Any) -> IndexModel:
    return IndexModel([(field, ASCENDING) for field in fields], **options)


INDEXES: Mapping[str, tuple[IndexModel, ...]] = {
    UPLOADS: (
        _index("touched_at"),
        _index("body", unique=True, sparse=True),  # absent once complete
        _index("record_id"),
        _index("key_number", sparse=True),  # absent once complete
    ),
    RECORDS: (
        _index("body", unique=True),
        _index("unanchored_since", sparse=True),  # absent once anchored
        _index("key_number"),
    ),
    ORDERS: (
        _index("height", "number", unique=True),
        _index("release.contract", sparse=True),
        _index("release.record_id", sparse=True),
        _index("release.ends", sparse=True),
        _index("report.transaction_id", unique=True, sparse=True),
        _index("report.pending", "height", "number"),
    ),
    SHARES: (
        _index("height", "number", unique=True),
        _index("contract"),
        _index("record_id"),
        _index("ends"),
        _index("pending", "height", "number"),
    ),
    ERASED: (_index("unfinished", "height"),),
    COLUMNS: (_index("data_key", "digest", unique=True),),
    CEREMONY_MESSAGES: (_index("ceremony", "height", "place", unique=True),),
    SHARINGS: (_index("key_epoch", "sharing", unique=True),),
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
    named = {"chain_id": owner.chain_id, "member": owner.member}
    ours = {**named, "genesis": owner.genesis.hex()}
    # One that an earlier release made does not say its genesis: it does from now on.
    await home.update_one({"_id": OWNER, **named, "genesis": None}, {"$set": ours})
    await home.update_one({"_id": OWNER}, {"$setOnInsert": {**ours, "layout": LAYOUT}}, upsert=True)
    found = await home.find_one({"_id": OWNER}) or {}
    if {key: found.get(key) for key in ours} != ours:
        raise StoreUnusable(
            f"the database {name} belongs to another member or chain, perhaps of the same name "
            "with another genesis; give each its own (CIPHERWARD_MONGO_DATABASE)"
        )
    if found.get("layout", 0) > LAYOUT:
        raise StoreUnusable(f"a newer release wrote the database {name}; run that one")
    fresh: tuple[tuple[str, dict[str, Any]], ...] = (
        (POSITION, {"height": 0, "checkpoint": b""}),
        (USE, {"promised_bytes": Int64(0), "version": Int64(0), "key_floor": Int64(0)}),
    )
    for key, fields in fresh:
        await home.update_one({"_id": key}, {"$setOnInsert": fields}, upsert=True)
