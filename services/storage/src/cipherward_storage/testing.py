"""Records, readers and members' keys as other parties have them, for tests of storage."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.domains import custodian_part_commitment
from cipherward_chain.group_keys import RECORD
from cipherward_chain.orders import Order
from cipherward_chain.release_parts import CUSTODIAN, GUARDIAN, check_part, parse_part
from cipherward_chain.sealing import SealingKey, custodian_place, release_place, seal, share_place
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import TestKeys
from cipherward_chain.wire import exact_bytes
from cipherward_member.testing_keys import SharedKey, make_shared_key
from cipherward_storage.records import Anchor, KeptSlot, UploadHeader
from cipherward_threshold.group.tdh2 import Label, combine, encapsulate, verify_slot

MEBIBYTE = 1024 * 1024
CHAIN = "test-chain"
MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")


@lru_cache(maxsize=4)
def record_key(key_epoch: int = 1) -> SharedKey:
    """Return a record key of four members, made by their ceremony once for all tests."""
    return make_shared_key(CHAIN, RECORD, MEMBERS, key_epoch=key_epoch, start=key_epoch)


@dataclass(frozen=True, slots=True)
class TestRecord:
    """A record as an author made it; the ciphertext is what storage sees of it.

    key_part, alliance_part: what the two slots hold.
    """

    __test__ = False  # pytest collects classes by this name's first word

    anchor: chain_pb.RecordAnchor
    ciphertext: bytes = field(repr=False)
    key_part: bytes
    slot: bytes
    alliance_part: bytes
    alliance_slot: bytes

    @property
    def id(self) -> bytes:
        return self.anchor.record_id

    @property
    def octets(self) -> bytes:
        return exact_bytes(self.anchor)

    @property
    def anchor_digest(self) -> bytes:
        return hashlib.sha256(self.octets).digest()

    @property
    def slot_digest(self) -> bytes:
        return hashlib.sha256(self.slot).digest()

    def header(self, request_id: str, offset: int = 0) -> pb.PutRecordHeader:
        return pb.PutRecordHeader(
            request_id=request_id,
            anchor=self.octets,
            custodian_slot=self.slot,
            alliance_slot=self.alliance_slot,
            offset=offset,
        )

    def parts(self, offset: int = 0, size: int = MEBIBYTE) -> list[bytes]:
        return [
            self.ciphertext[start : start + size]
            for start in range(offset, len(self.ciphertext), size)
        ]


def make_record(
    keys: TestKeys, custodian: str, size: int, /, *, held: SharedKey | None = None, **changes: Any
) -> TestRecord:
    """Make a record for a custodian, under the tests' record key unless another is given.

    `changes` are fields of the anchor that shall differ.
    """
    record_id = changes.get("record_id", secrets.token_bytes(16))
    key_part, ciphertext = secrets.token_bytes(32), secrets.token_bytes(size)
    label = Label(CHAIN, record_id, custodian, 1)
    alliance_slot, alliance_part = encapsulate((held or record_key()).key, label)
    anchor = chain_pb.RecordAnchor(
        record_id=record_id,
        ciphertext_digest=hashlib.sha256(ciphertext).digest(),
        ciphertext_bytes=size,
        suite=2,
        alliance_slot_digest=hashlib.sha256(alliance_slot).digest(),
        custodian_part_commitment=custodian_part_commitment(record_id, key_part),
        record_key_commitment=secrets.token_bytes(32),
        author=custodian,
        custodian=custodian,
        release_templates=["consent/1"],
        key_epoch=1,
    )
    for name, value in changes.items():
        setattr(anchor, name, value)
    slot = custodian_slot(keys, record_id, key_part, custodian)
    return TestRecord(anchor, ciphertext, key_part, slot, alliance_part, alliance_slot)


def custodian_slot(keys: TestKeys, record_id: bytes, key_part: bytes, custodian: str) -> bytes:
    """Return a key part sealed to a custodian for a record."""
    place = custodian_place(CHAIN, record_id, custodian)
    return seal(key_part, keys.custodian_keys[custodian].public_key, place)


def fresh_signer() -> PseudonymSigner:
    """Return a signer whose key nobody else has."""
    return PseudonymSigner(secrets.token_bytes(32))


@dataclass(frozen=True, slots=True)
class TestReader:
    """Who may open a record: the key that fetches and the one-time key that opens."""

    __test__ = False

    signer: PseudonymSigner = field(default_factory=fresh_signer)
    sealing: SealingKey = field(default_factory=SealingKey.generate)

    @property
    def public_key(self) -> bytes:
        return self.signer.public_key

    def key_part(self, sealed: bytes, keys: TestKeys, record: TestRecord, order: Order) -> bytes:
        """Return what a custodian released, if it signed exactly that for this order."""
        place = release_place(CHAIN, record.id, (order.height, order.index), self.public_key)
        raw = self.sealing.open(sealed, place)
        return _checked(raw, CUSTODIAN, record.anchor.custodian, keys, record, order)

    def share(
        self, sealed: bytes, keys: TestKeys, record: TestRecord, order: Order, guardian: str
    ) -> bytes:
        """Return a guardian's share, if it signed exactly that for this order."""
        at = order.height, order.index
        place = share_place(CHAIN, record.id, at, guardian, self.public_key)
        return _checked(self.sealing.open(sealed, place), GUARDIAN, guardian, keys, record, order)


def _checked(
    raw: bytes, role: str, member: str, keys: TestKeys, record: TestRecord, order: Order
) -> bytes:
    part = parse_part(raw)
    check_part(CHAIN, part, SigningKey(keys.member_seeds[member]).public_key)
    order_digest = hashlib.sha256(order.to_bytes()).digest()
    about = part.role, part.member_id, part.order_digest, part.anchor_digest
    if about != (role, member, order_digest, record.anchor_digest):
        raise AssertionError("the part is about something else")
    return part.body


def alliance_part(
    record: TestRecord, shares: dict[str, bytes], order: Order, held: SharedKey | None = None
) -> bytes:
    """Return K_a from the guardians' shares, every one of which must be right."""
    key = held or record_key()
    anchor = record.anchor
    label = Label(CHAIN, anchor.record_id, anchor.custodian, anchor.key_epoch)
    slot = verify_slot(key.key, label, record.alliance_slot)
    indexed = {key.entry.index_of(name) or 0: share for name, share in shares.items()}
    return combine(key.key, slot, indexed, hashlib.sha256(order.to_bytes()).digest())


class FileBodies:
    """What is stored of bodies in the embedded store, as a disk thief or a bad disk sees it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "bodies"

    async def stored_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._files())

    async def count(self) -> int:
        return len(self._files())

    async def only(self) -> bytes:
        (found,) = self._files()
        return found.read_bytes()

    async def overwrite(self, octets: bytes) -> None:
        (found,) = self._files()
        found.write_bytes(octets) if octets else found.unlink()

    def _files(self) -> list[Path]:
        return [path for path in self._folder.rglob("*") if path.is_file()]


def header_of(ciphertext: bytes, record_id: bytes = b"", key_number: int = 1) -> UploadHeader:
    """Return the header of an upload as a store gets it: its slots are never opened there."""
    alliance_slot = secrets.token_bytes(160)
    anchor = chain_pb.RecordAnchor(
        record_id=record_id or secrets.token_bytes(16),
        ciphertext_digest=hashlib.sha256(ciphertext).digest(),
        ciphertext_bytes=len(ciphertext),
        suite=2,
        alliance_slot_digest=hashlib.sha256(alliance_slot).digest(),
        custodian_part_commitment=secrets.token_bytes(32),
        record_key_commitment=secrets.token_bytes(32),
        author="hospital-a",
        custodian="hospital-a",
        release_templates=["consent/1"],
        key_epoch=1,
    )
    kept = KeptSlot(key_number, secrets.token_bytes(60))
    parsed = Anchor.parse(exact_bytes(anchor))
    return UploadHeader(str(uuid.uuid4()), parsed, secrets.token_bytes(32), alliance_slot, kept)
