"""What the scrub reads again here: records, each with the members' slot, and encrypted columns.

And slot keys, each of which opens every slot. The slots themselves are opened every week, when they
move to another slot key: what rots there is told by `slot_renewal`.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Final

from cipherward_chain.acts import DIGEST_BYTES, ID_BYTES
from cipherward_member.scrub import Figures, Found, PieceCorrupt, PieceGone
from cipherward_storage import metrics
from cipherward_storage.columns import ColumnName, ColumnStore
from cipherward_storage.errors import RecordCorrupt, RecordUnknown
from cipherward_storage.records import StoredRecord, digest_of
from cipherward_storage.slot_keys import SECRET_BYTES, SlotKeyGone, SlotKeys
from cipherward_storage.store import RecordStore

RECORD, COLUMN, SLOT_KEY = "record", "column", "slot_key"
NUMBER_BYTES: Final = 8
FIGURES: Final = Figures(metrics.SCRUBBED, metrics.SCRUB_CORRUPT, metrics.SCRUB_COMPLETED)


class RecordShelf:
    """Records by their ids: the ciphertext, and what is encapsulated to the members."""

    kind = RECORD

    def __init__(self, records: RecordStore) -> None:
        self._records = records

    async def page(self, after: bytes, limit: int) -> Sequence[bytes]:
        """Return ids of records."""
        return [found.anchor.record_id for found in await self._records.page(after, limit)]

    async def read(self, name: bytes) -> AsyncGenerator[int]:
        """Read a record's ciphertext part by part; each is compared by the store."""
        try:
            async with aclosing(self._records.read(name, 0)) as parts:
                async for part in parts:
                    yield len(part)
        except RecordUnknown:
            raise PieceGone from None
        except RecordCorrupt:
            if await self._records.find(name) is None:  # erased while it was read
                raise PieceGone from None
            raise PieceCorrupt from None
        found = await self._records.find(name)
        if found is not None and not slot_is_anchored(found):
            raise PieceCorrupt


def slot_is_anchored(record: StoredRecord) -> bool:
    """Say whether the members' slot is the one that the anchor names; suite 1 has none."""
    expected = record.anchor.alliance_slot_digest
    if not expected:
        return not record.alliance_slot
    return hmac.compare_digest(digest_of(record.alliance_slot), expected)


class ColumnShelf:
    """Columns by data key and digest; nobody may ask for one between two studies of its data."""

    kind = COLUMN

    def __init__(self, columns: ColumnStore) -> None:
        self._columns = columns

    async def page(self, after: bytes, limit: int) -> Sequence[bytes]:
        """Return names of columns: data key and digest, one behind the other."""
        last = ColumnName(after[:ID_BYTES], after[ID_BYTES:]) if after else None
        return [one.data_key + one.digest for one in await self._columns.names(last, limit)]

    async def read(self, name: bytes) -> AsyncGenerator[int]:
        """Read a column, which is at most 8 MiB, and compare it with its digest."""
        octets = await self._columns.find(ColumnName(name[:ID_BYTES], name[-DIGEST_BYTES:]))
        if octets is None:
            raise PieceGone
        yield len(octets)
        if await asyncio.to_thread(digest_of, octets) != name[-DIGEST_BYTES:]:
            raise PieceCorrupt


class SlotKeyShelf:
    """Slot keys by their numbers: what the disk has, beside what this process has read from it.

    A start holds the newest against the store. One that rots later opens slots for as long as the
    process lives, and is replaced by the next renewal.
    """

    kind = SLOT_KEY

    def __init__(self, keys: SlotKeys) -> None:
        self._keys = keys

    async def page(self, after: bytes, limit: int) -> Sequence[bytes]:
        """Return numbers of keys."""
        numbers = await asyncio.to_thread(self._keys.numbers)
        names = (number.to_bytes(NUMBER_BYTES, "big") for number in numbers)
        return [name for name in names if name > after][:limit]

    async def read(self, name: bytes) -> AsyncGenerator[int]:
        """Read a key's file again."""
        try:
            intact = await asyncio.to_thread(self._keys.intact, int.from_bytes(name, "big"))
        except SlotKeyGone:
            raise PieceGone from None
        yield SECRET_BYTES
        if not intact:
            raise PieceCorrupt


def show_stored(found: Mapping[str, Found]) -> None:
    """Show how much a finished pass has found here."""
    records = found.get(RECORD, Found())
    metrics.RECORDS.set(records.pieces)
    metrics.STORED_BYTES.set(records.size)
