"""What is stored: anchors, uploads, records, releases and reports, as values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cipherward_chain.acts import ActMalformed, parse_anchor
from cipherward_member.reports import OrderKey, Report

RECORD_ID_BYTES = 16
DIGEST_BYTES = 32
# The only algorithm suite so far: HPKE MLKEM768-X25519 slot, no alliance slot.
SUITE = 1
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

    octets: exactly what is signed and hashed. ciphertext_bytes: at least 1.
    """

    octets: bytes
    record_id: bytes
    ciphertext_digest: bytes
    ciphertext_bytes: int
    suite: int
    custodian_part_commitment: bytes
    custodian: str

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
        )


@dataclass(frozen=True, slots=True)
class UploadHeader:
    """What an upload will bring; a resumed one repeats it byte for byte."""

    request_id: str
    anchor: Anchor
    slot: bytes


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
    slot: bytes
    anchored_height: int

    @property
    def slot_digest(self) -> bytes:
        """The SHA-256 of the custodian's slot."""
        return digest_of(self.slot)


@dataclass(frozen=True, slots=True)
class AnchoredRecord:
    """A record of this custodian as a proven block anchored it."""

    anchor: Anchor
    slot_digest: bytes
    height: int

    def anchors(self, record: StoredRecord) -> bool:
        """Whether the chain means exactly what is stored here."""
        return (self.anchor.octets, self.slot_digest) == (record.anchor.octets, record.slot_digest)


@dataclass(frozen=True, slots=True)
class Release:
    """What a proven order released.

    sealed: the key part under HPKE to the reader's one-time key; the same bytes for ever.
    reader: Ed25519 public key that may fetch. grant: the contract instance behind it.
    ends: unix seconds from which on it is over. revoked: the chain ended it before.
    """

    order: OrderKey
    record_id: bytes
    anchor: bytes
    grant: bytes
    reader: bytes
    ends: int
    sealed: bytes
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class BlockEffects:
    """Everything that one verified block does here; it is applied whole, once.

    checkpoint: where the follower goes on. time: block time, unix seconds.
    settled: ids of the block's transactions; reports among them need not be sent again.
    rebuilt: ids of those that came too late or early; reports among them get a new transaction.
    """

    height: int
    time: int
    checkpoint: bytes
    anchored: tuple[AnchoredRecord, ...] = ()
    releases: tuple[Release, ...] = ()
    ended_grants: tuple[bytes, ...] = ()
    reports: tuple[Report, ...] = ()
    settled: tuple[bytes, ...] = ()
    rebuilt: tuple[bytes, ...] = ()
