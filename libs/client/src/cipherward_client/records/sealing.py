"""A whole record sealed: its anchor, both slots, and ciphertext ready to be sent.

Ciphertext stays in memory, in the parts that are sent: an interrupted upload sends the same bytes
again. After a crash nothing was anchored, so the record is sealed anew under another key.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.domains import custodian_part_commitment, record_key_commitment
from cipherward_chain.sealing import custodian_place, seal
from cipherward_chain.wire import exact_bytes
from cipherward_client.records.chunks import ChunkOpener, seal_chunks
from cipherward_client.records.errors import CiphertextDiffers
from cipherward_client.records.keys import (
    RECORD_ID_BYTES,
    RecordContext,
    check_record_key,
    new_custodian_part,
    record_key,
)
from cipherward_threshold.group.keys import ThresholdKey
from cipherward_threshold.group.tdh2 import Label, encapsulate

# What may release a record, unless its author says otherwise; its owner may add to them.
EMERGENCY_ACCESS = "emergency-access/1"
RELEASE_TEMPLATES = ("consent/1", EMERGENCY_ACCESS)


@dataclass(frozen=True, slots=True)
class Custody:
    """Whose record it is to be: chain, author, who stores it, with that member's HPKE key, and the
    record key that the members share.
    """

    chain_id: str
    author: str
    custodian: str
    custodian_public_key: bytes
    shared_key: ThresholdKey


def label_of(chain_id: str, record_id: bytes, custodian: str, key_epoch: int) -> Label:
    """Return what the members' slot of a record is bound to: all of it stands in the anchor."""
    return Label(chain_id=chain_id, record_id=record_id, custodian=custodian, key_epoch=key_epoch)


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """A record that is ready to be stored and anchored; holds no key.

    `anchor` is the serialised RecordAnchor, `slot` the custodian's, `alliance_slot` the members',
    `parts` the ciphertext in parts of at most 1 MiB.
    """

    record_id: bytes
    anchor: bytes
    slot: bytes
    alliance_slot: bytes
    parts: Sequence[bytes] = field(repr=False)
    ciphertext_bytes: int

    @property
    def slot_digest(self) -> bytes:
        """The digest of the custodian's slot, as the chain keeps it."""
        return hashlib.sha256(self.slot).digest()


def seal_record(
    custody: Custody, content: bytes, *, release_templates: Sequence[str] = RELEASE_TEMPLATES
) -> SealedRecord:
    """Seal `content` under a fresh key. CPU work, 2 ms and 2 ms a MiB: call it from a thread."""
    context = RecordContext(custody.chain_id, secrets.token_bytes(RECORD_ID_BYTES))
    part, shared = new_custodian_part(), custody.shared_key
    label = label_of(custody.chain_id, context.record_id, custody.custodian, shared.key_epoch)
    alliance_slot, alliance_part = encapsulate(shared, label)
    key = record_key(context, part, alliance_part)
    parts, digest = _sealed(context, key, content)
    anchor = pb.RecordAnchor(
        record_id=context.record_id,
        ciphertext_digest=digest,
        ciphertext_bytes=sum(map(len, parts)),
        suite=context.suite,
        alliance_slot_digest=hashlib.sha256(alliance_slot).digest(),
        key_epoch=shared.key_epoch,
        custodian_part_commitment=custodian_part_commitment(context.record_id, part),
        record_key_commitment=record_key_commitment(context.record_id, key),
        author=custody.author,
        custodian=custody.custodian,
        release_templates=sorted(release_templates),
    )
    place = custodian_place(custody.chain_id, context.record_id, custody.custodian)
    return SealedRecord(
        record_id=context.record_id,
        anchor=exact_bytes(anchor),
        slot=seal(part, custody.custodian_public_key, place),
        alliance_slot=alliance_slot,
        parts=parts,
        ciphertext_bytes=anchor.ciphertext_bytes,
    )


def _sealed(context: RecordContext, key: bytes, content: bytes) -> tuple[tuple[bytes, ...], bytes]:
    """Return the sealed parts and their digest; hashing runs beside sealing, both off the GIL."""
    digest, parts = hashlib.sha256(), list[bytes]()
    with ThreadPoolExecutor(1, thread_name_prefix="digest") as hashing:
        for chunk in seal_chunks(context, key, content):
            parts.append(chunk)
            hashing.submit(digest.update, chunk)
    return tuple(parts), digest.digest()


class RecordOpener:
    """Opens the record of an anchor with its key, while its ciphertext comes in.

    Raises:
        RecordKeyWrong, RecordSuiteUnknown: the key is not, or the suite is of another release.
        RecordCorrupt: the anchor names a length that no record has.
    """

    def __init__(self, chain_id: str, anchor: pb.RecordAnchor, key: bytes) -> None:
        context = RecordContext(chain_id, anchor.record_id, anchor.suite)
        check_record_key(anchor.record_id, key, anchor.record_key_commitment)
        self._chunks = ChunkOpener(context, key, ciphertext_bytes=anchor.ciphertext_bytes)
        self._wanted = anchor.ciphertext_digest
        self._digest = hashlib.sha256()

    def feed(self, piece: bytes) -> None:
        """Take the next bytes. CPU work, about 2 ms a MiB: call it from a thread, in order.

        Raises:
            RecordCorrupt: they are not those that were sealed.
        """
        self._digest.update(piece)
        self._chunks.feed(piece)

    def content(self) -> bytes:
        """Return the content, once everything fits the anchor.

        Raises:
            RecordTruncated, RecordCorrupt: bytes are missing, or the sealed length does not fit.
            CiphertextDiffers: the ciphertext is not the anchored one.
        """
        content = self._chunks.content()
        if self._digest.digest() != self._wanted:
            raise CiphertextDiffers("the ciphertext is not the anchored one")
        return content
