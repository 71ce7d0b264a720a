"""A whole store held against the chain, and against itself: after it was put back by any means.

A copy of a database that was not of one moment looks like a store. What tells it is what the store
has forgotten: an anchor, an erasure. It would delete those records as never anchored, or go on
serving erased ones. So each record is asked of the chain, by a proof.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Final, TypeAlias

from cipherward_chain.canonical import NotCanonical, decode_map
from cipherward_chain.fields import Fields
from cipherward_storage.chain_state import KEYS_MAX
from cipherward_storage.columns import ColumnName
from cipherward_storage.errors import RecordCorrupt, RecordUnknown, StoreDiffers
from cipherward_storage.records import StoredRecord, digest_of
from cipherward_storage.shelves import slot_is_anchored
from cipherward_storage.slots import CustodianSlots, KeptSlotUnusable
from cipherward_storage.stores import Stores

ReadState: TypeAlias = Callable[[Sequence[bytes]], Awaitable[Mapping[bytes, bytes | None]]]

# Entries of the state that are about a record: how it is anchored, and that it is erased.
ANCHORED, ERASED = b"record/", b"erased/"
PAGE_RECORDS: Final = KEYS_MAX // 2
PAGE_NAMES: Final = 256


@dataclass(slots=True)
class Verified:
    """What was found; the first three are sums, all others count what must not be.

    corrupt: records or columns whose bytes are others. slots_unusable: records whose key part does
    not open. unlike_chain: records that the chain anchors otherwise than the store says.
    forgotten: anchors and erasures of blocks that the store has applied and does not know.
    missing: records that are anchored with this custodian, not erased, and not here.
    """

    records: int = 0
    columns: int = 0
    size: int = 0
    corrupt_records: int = 0
    corrupt_columns: int = 0
    slots_unusable: int = 0
    unlike_chain: int = 0
    forgotten: int = 0
    missing: int = 0

    def require_sound(self) -> None:
        """Raise `StoreDiffers` with what must not be, if anything."""
        wrong = {name: count for name, count in asdict(self).items() if count}
        for name in ("records", "columns", "size"):
            wrong.pop(name, None)
        if wrong:
            words = ", ".join(f"{name} {count}" for name, count in wrong.items())
            raise StoreDiffers(
                f"the store does not agree with the chain: {words}; restore it from another copy, "
                "one of a single moment (docs/backup.md says what each means)"
            )


@dataclass(frozen=True, slots=True)
class Verification:
    """Reads all of a store. member: the custodian. height: the block that the store stands at."""

    member: str
    height: int
    stores: Stores
    slots: CustodianSlots
    state: ReadState

    async def run(self) -> Verified:
        """Return what was found. It takes as long as reading all ciphertext takes.

        Raises:
            StoreAway: the store does not answer.
            As `state`.
        """
        found = Verified()
        await self._records(found)
        await self._anchors(found)
        await self._columns(found)
        return found

    async def _records(self, found: Verified) -> None:
        after = b""
        while page := await self.stores.records.page(after, PAGE_RECORDS):
            ids = [record.anchor.record_id for record in page]
            state = await self.state([*(ANCHORED + i for i in ids), *(ERASED + i for i in ids)])
            for record in page:
                await self._record(record, state, found)
            after = ids[-1]

    async def _record(
        self, record: StoredRecord, state: Mapping[bytes, bytes | None], found: Verified
    ) -> None:
        digest, size = hashlib.sha256(), 0
        try:
            async with aclosing(self.stores.records.read(record.anchor.record_id, 0)) as parts:
                async for part in parts:
                    digest.update(part)
                    size += len(part)
        except RecordUnknown:  # another storage of this member has deleted it this moment
            return
        except RecordCorrupt:
            pass
        found.records += 1
        found.size += size
        whole = digest.digest() == record.anchor.ciphertext_digest
        found.corrupt_records += not (whole and slot_is_anchored(record))
        found.slots_unusable += not await asyncio.to_thread(self._opens, record)
        await self._standing(record, state, found)

    def _opens(self, record: StoredRecord) -> bool:
        try:
            self.slots.key_part(record.anchor, record.kept)
        except KeptSlotUnusable:
            return False
        return True

    async def _standing(
        self, record: StoredRecord, state: Mapping[bytes, bytes | None], found: Verified
    ) -> None:
        """Compare what the store knows of a record with what the chain says."""
        record_id = record.anchor.record_id
        erased = state[ERASED + record_id]
        if erased is not None and _fields(erased).integer("height") <= self.height:
            found.forgotten += not await self.stores.facts.erased(record_id)
            return
        anchored = state[ANCHORED + record_id]
        if anchored is None:
            found.unlike_chain += record.anchored_height > 0
            return
        entry = _fields(anchored)
        same = (entry.octets("anchor"), entry.octets("slot_digest")) == (
            record.anchor.octets,
            record.slot_digest,
        )
        if record.anchored_height:
            height = entry.integer("height")
            found.unlike_chain += not same or height != record.anchored_height
        elif same and entry.integer("height") <= self.height:
            found.forgotten += 1

    async def _anchors(self, found: Verified) -> None:
        """Count the anchored records of this custodian that are not here."""
        facts, after = self.stores.facts, b""
        while page := await facts.page(after, PAGE_NAMES):
            for anchored in page:
                if anchored.anchor.custodian != self.member:
                    continue
                record_id = anchored.anchor.record_id
                if await self.stores.records.find(record_id) is None:
                    found.missing += not await facts.erased(record_id)
            after = page[-1].anchor.record_id

    async def _columns(self, found: Verified) -> None:
        after: ColumnName | None = None
        while page := await self.stores.columns.names(after, PAGE_NAMES):
            for name in page:
                octets = await self.stores.columns.find(name)
                if octets is None:  # its data key is over
                    continue
                found.columns += 1
                found.size += len(octets)
                found.corrupt_columns += await asyncio.to_thread(digest_of, octets) != name.digest
            after = page[-1]


def _fields(raw: bytes) -> Fields:
    try:
        return Fields(decode_map(raw))
    except NotCanonical:
        raise StoreDiffers("the chain's state has an entry that this release cannot read") from None
