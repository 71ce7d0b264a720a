"""What a thief has who took everything of one member's storage: database, files and keys."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cipherward_chain.acts import parse_anchor
from cipherward_chain.group_keys import RECORD, GroupKeyEntry
from cipherward_chain.sealing import SealingKey
from cipherward_client.alliance.layout import CUSTODIAN_KEY
from cipherward_client.records.chunks import ChunkOpener
from cipherward_client.records.keys import RecordContext
from cipherward_client.records.parts import ReleasedRecord, SharedSlot
from cipherward_client.records.sealing import label_of
from cipherward_member.guardian_vault import GuardianVault
from cipherward_member.shared_keys import threshold_key
from cipherward_storage.records import Anchor, KeptSlot
from cipherward_storage.slot_keys import SlotKeys
from cipherward_storage.slots import CustodianSlots
from cipherward_threshold.group.keys import ThresholdKey
from cipherward_threshold.group.tdh2 import Label, Slot, make_share, verify_slot
from tests.integration.enforcement.town import Town

DATABASE, SLOT_KEYS, BODIES = "storage.sqlite", "slot-keys", "bodies"
SHARE = b"share"  # where a share stands, for the vault of the member's storage


@dataclass(frozen=True)
class Secret:
    """A member's secret share of the record key. index: from 1."""

    key: ThresholdKey
    index: int
    octets: bytes

    def share(self, slot: Slot, context: bytes) -> bytes:
        """Return what the member would make of a slot for an order."""
        return make_share(self.key, self.index, self.octets, slot, context)


@dataclass(frozen=True)
class Stored:
    """What a custodian's disk has of a record."""

    anchor: bytes
    alliance_slot: bytes
    kept: KeptSlot
    ciphertext: bytes


@dataclass(frozen=True)
class Loot:
    """A copy of a member's storage, and its keys."""

    chain_id: str
    member: str
    folder: Path
    custodian: SealingKey

    @classmethod
    async def taken(cls, town: Town, member: str, to: Path) -> Loot:
        """Copy everything of a member's storage while it runs."""
        return await asyncio.to_thread(cls._copied, town, member, to)

    @classmethod
    def _copied(cls, town: Town, member: str, to: Path) -> Loot:
        home = town.folder.member(member)
        source = home.data("storage")
        to.mkdir(parents=True)
        with (
            closing(sqlite3.connect(f"file:{source / DATABASE}?mode=ro", uri=True)) as original,
            closing(sqlite3.connect(to / DATABASE)) as copy,
        ):
            original.backup(copy)
        for name in (SLOT_KEYS, BODIES):
            shutil.copytree(source / name, to / name)
        custodian = SealingKey(home.key(CUSTODIAN_KEY).read_bytes())
        return cls(town.alliance.chain_id, member, to, custodian)

    def stored(self, record_id: bytes) -> Stored:
        """Return what the disk has of a record."""
        with closing(sqlite3.connect(self.folder / DATABASE)) as database:
            query = "SELECT anchor, alliance_slot, key_number, kept, body FROM records"
            row = database.execute(f"{query} WHERE record_id = ?", (record_id,)).fetchone()
        anchor, slot, number, kept, body = row
        (file,) = (self.folder / BODIES).rglob(body)
        return Stored(anchor, slot, KeptSlot(number, kept), file.read_bytes())

    def key_part(self, record_id: bytes, slot_keys: Path | None = None) -> bytes:
        """Return the custodian's half of a record's key.

        Args:
            slot_keys: another folder of slot keys than the copied one.

        Raises:
            KeptSlotUnusable: the slot key that it lies under is gone.
        """
        keys = SlotKeys(slot_keys or self.folder / SLOT_KEYS, time.time)
        slots = CustodianSlots(self.chain_id, self.member, self.custodian, keys)
        stored = self.stored(record_id)
        return slots.key_part(Anchor.parse(stored.anchor), stored.kept)

    def secret(self) -> Secret:
        """Return the member's share of the newest record key."""
        (found,) = self.secrets()
        return found

    def secrets(self) -> list[Secret]:
        """Return all shares of record keys that the store has."""
        vault = GuardianVault.derive(
            self.custodian.secret_bytes(),
            chain_id=self.chain_id,
            member=self.member,
            purpose=RECORD,
        )
        with closing(sqlite3.connect(self.folder / DATABASE)) as database:
            rows = database.execute("SELECT key_epoch, sharing, entry, share FROM sharings")
            return [
                self._secret(vault, GroupKeyEntry.from_bytes(entry), share, epoch, sharing)
                for epoch, sharing, entry, share in rows
            ]

    def _secret(
        self, vault: GuardianVault, entry: GroupKeyEntry, sealed: bytes, epoch: int, sharing: int
    ) -> Secret:
        index = entry.index_of(self.member)
        assert index is not None
        place = SHARE, epoch.to_bytes(8, "big"), sharing.to_bytes(8, "big")
        return Secret(threshold_key(self.chain_id, entry), index, vault.open(sealed, *place))


@dataclass(frozen=True)
class Target:
    """A record that somebody tries to open with stolen shares."""

    chain_id: str
    stored: Stored
    key: ThresholdKey

    @property
    def slot(self) -> Slot:
        """The members' slot, under its own record's label."""
        return verify_slot(self.key, self.label(), self.stored.alliance_slot)

    def label(self, record_id: bytes = b"", custodian: str = "") -> Label:
        """Return the label of the record, or with another record or custodian in it."""
        anchor = Anchor.parse(self.stored.anchor)
        return label_of(
            self.chain_id,
            record_id or anchor.record_id,
            custodian or anchor.custodian,
            anchor.key_epoch,
        )

    def opened(self, key_part: bytes, shares: dict[int, bytes]) -> bytes:
        """Return the record's content.

        Raises:
            RecordKeyWrong: these shares are not enough, or not right.
        """
        anchor = parse_anchor(self.stored.anchor)
        digest = Anchor.parse(self.stored.anchor).digest
        released = ReleasedRecord(self.chain_id, anchor, digest, bytes(32))
        shared = SharedSlot(released, self.stored.alliance_slot, self.key)
        record_key = shared.record_key(key_part, shares)
        context = RecordContext(self.chain_id, anchor.record_id, anchor.suite)
        opener = ChunkOpener(context, record_key, ciphertext_bytes=anchor.ciphertext_bytes)
        opener.feed(self.stored.ciphertext)
        return opener.content()
