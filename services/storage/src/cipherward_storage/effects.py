"""What verified blocks do here, as values: releases, shares to be made, erasures, keys in force."""

from __future__ import annotations

from dataclasses import dataclass, field

from cipherward_member.ceremony_store import CeremonyNews
from cipherward_member.reports import OrderKey, Report
from cipherward_storage.records import AnchoredRecord


@dataclass(frozen=True, slots=True)
class Release:
    """What a proven order released: by the custodian its key part, by a guardian its share.

    sealed: the signed part under HPKE to the reader's one-time key; the same bytes for ever, and
    gone once the right is. reader: Ed25519 public key that may fetch. grant: the contract instance
    behind it. ends: unix seconds from which on it is over. revoked: the chain ended it before.
    alliance_slot: the members' slot; a guardian's release has none.
    """

    order: OrderKey
    record_id: bytes
    anchor: bytes
    grant: bytes
    reader: bytes
    ends: int
    sealed: bytes
    alliance_slot: bytes = b""
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class ShareOrder:
    """A proven order that takes this member's share; fields as in `Release`.

    order_digest: of the order's canonical bytes. anchor: empty when this storage began to follow
    the chain after it; then the custodian gives it, and `anchor_digest` says if it is the one.
    reader_key: HPKE public key of the reader.
    custodian: of the record. key_epoch: of the members' record key that its slot is made under.
    attempts: how often the share was put off.
    """

    order: OrderKey
    order_digest: bytes
    record_id: bytes
    anchor_digest: bytes
    anchor: bytes
    grant: bytes
    reader: bytes
    reader_key: bytes
    ends: int
    custodian: str
    key_epoch: int
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Erasure:
    """A proven order to erase a record; the record's id is refused from then on.

    ours: this member is the custodian. key_number: the highest slot key that its slots were found
    under so far; 0 before they were looked for.
    """

    order: OrderKey
    order_digest: bytes
    record_id: bytes
    ours: bool
    key_number: int = 0


@dataclass(frozen=True, slots=True)
class RecordKey:
    """The members' record key of an epoch: what slots are made under.

    sharing, threshold: of the sharing that is in force. public_key: a point, 48 bytes.
    """

    key_epoch: int
    sharing: int
    threshold: int
    public_key: bytes


@dataclass(frozen=True, slots=True)
class BlockEffects:
    """Everything that one verified block does here; it is applied whole, once.

    checkpoint: where the follower goes on. time: block time, unix seconds.
    retired_keys: data keys that are over, with their columns.
    settled: ids of the block's transactions; reports among them need not be sent again.
    rebuilt: ids of those that came too late or early; reports among them get a new transaction.
    """

    height: int
    time: int
    checkpoint: bytes = field(repr=False)
    anchored: tuple[AnchoredRecord, ...] = ()
    releases: tuple[Release, ...] = ()
    shares: tuple[ShareOrder, ...] = ()
    ended_grants: tuple[bytes, ...] = ()
    erased: tuple[Erasure, ...] = ()
    record_keys: tuple[RecordKey, ...] = ()
    retired_keys: tuple[bytes, ...] = ()
    ceremonies: CeremonyNews = field(default_factory=CeremonyNews)
    reports: tuple[Report, ...] = ()
    settled: tuple[bytes, ...] = ()
    rebuilt: tuple[bytes, ...] = ()
