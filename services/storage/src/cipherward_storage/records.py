"""What is stored: anchors, uploads and records, as values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from cipherward_chain.acts import ActMalformed, parse_anchor

RECORD_ID_BYTES = 16
DIGEST_BYTES = 32
# Ciphertext is kept, checked and sent in parts of this size; a response stays far below gRPC's
# default message limit of 4 MiB.
PART_BYTES = 1024 * 1024


def digest_of(octets: bytes) -> bytes:
    """Return the SHA-256 of `octets`, 32 bytes."""
    return hashlib.sha256(octets).digest()


class AnchorMalformed(ValueError):
    """The octets are not a canonical RecordAnchor; the text names the field."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The immutable part of a record's anchor, as its author serialised it.

    octets: exactly what is signed and hashed. ciphertext_bytes: at least 1. key_epoch: of the
    members' record key; 0 in suite 1, whose `alliance_slot_digest` is empty.
    """

    octets: bytes
    record_id: bytes
    ciphertext_digest: bytes
    ciphertext_bytes: int
    suite: int
    custodian_part_commitment: bytes
    custodian: str
    alliance_slot_digest: bytes
    key_epoch: int

    @property
    def digest(self) -> bytes:
        """Its name in orders: the SHA-256 of the octets."""
        return digest_of(self.octets)

    @classmethod
    def parse(cls, octets: bytes) -> Anchor:
        """Read a serialised RecordAnchor.

        Raises:
            AnchorMalformed: not in canonical form, or a field is out of form.
        """
        try:
            message = parse_anchor(octets)
        except ActMalformed as error:
            raise AnchorMalformed(str(error)) from None
        return cls(
            octets,
            message.record_id,
            message.ciphertext_digest,
            message.ciphertext_bytes,
            message.suite,
            message.custodian_part_commitment,
            message.custodian,
            message.alliance_slot_digest,
            message.key_epoch,
        )


@dataclass(frozen=True, slots=True)
class KeptSlot:
    """The custodian's key part as it lies here: under a slot key that is destroyed in time.

    key_number: of the slot key. octets: nonce, ciphertext and tag. No number (0) and no octets:
    there is none any more, as in an upload that has become a record.
    """

    key_number: int
    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class UploadOffer:
    """What an author offers: its slots as it made them, not checked yet.

    slot: sealed to the custodian; it is never stored. alliance_slot: encapsulated to the members.
    """

    request_id: str
    anchor: Anchor
    slot: bytes
    alliance_slot: bytes


@dataclass(frozen=True, slots=True)
class UploadHeader:
    """What an upload will bring; a resumed one offers the same again, byte for byte.

    slot_digest: of the author's slot, as the chain anchors it. kept: that slot's key part; wrapped
    anew every time, so it tells no two uploads apart.
    """

    request_id: str
    anchor: Anchor
    slot_digest: bytes
    alliance_slot: bytes
    kept: KeptSlot = field(compare=False)


@dataclass(frozen=True, slots=True)
class UploadState:
    """How far an upload is: `committed_bytes` survive a power cut."""

    header: UploadHeader
    committed_bytes: int
    complete: bool


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A complete record. `anchored_height` is 0 until the chain anchors exactly this one."""

    anchor: Anchor
    slot_digest: bytes
    alliance_slot: bytes
    kept: KeptSlot
    anchored_height: int


@dataclass(frozen=True, slots=True)
class AnchoredRecord:
    """A record of any custodian as a proven block anchored it."""

    anchor: Anchor
    slot_digest: bytes
    height: int

    def anchors(self, record: StoredRecord) -> bool:
        """Whether the chain means exactly what is stored here."""
        return (self.anchor.octets, self.slot_digest) == (record.anchor.octets, record.slot_digest)
