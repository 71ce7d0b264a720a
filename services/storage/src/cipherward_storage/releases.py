"""What an order about a record makes here: a released key part, a share to be made, or a failure.

Nothing in an order is believed because it is in an order: record, anchor, slot, custodian and key
are compared with what the chain anchored and what is stored here.
"""

from __future__ import annotations

from dataclasses import dataclass

from cipherward_chain.acts import MEMBER_ID
from cipherward_chain.canonical import NotCanonical
from cipherward_chain.orders import Order
from cipherward_chain.sealing import PUBLIC_KEY_BYTES, SealingKeyRefused
from cipherward_chain.signatures import KEY_BYTES
from cipherward_member.reports import OrderKey, Outcome, Report
from cipherward_storage.effects import Erasure, Release, ShareOrder
from cipherward_storage.parts import Parts, Recipient
from cipherward_storage.records import (
    DIGEST_BYTES,
    RECORD_ID_BYTES,
    Anchor,
    AnchoredRecord,
    StoredRecord,
    digest_of,
)
from cipherward_storage.slots import CustodianSlots, KeptSlotUnusable

RELEASE_KEY, ERASE_RECORD = "release_key", "erase_record"
# Both end every release of a grant: the first its key, the second what runs. One without the other
# would leave either behind, so each ends both.
ENDING = frozenset(("revoke_key", "cut_transfers"))


class OrderNotCarriedOut(ValueError):
    """An order names something that is not what it says; it fails for good."""


@dataclass(frozen=True, slots=True)
class ReleaseOrder:
    """The arguments of `release_key`, and the digest of the whole order.

    ends: unix seconds. grant: id of the contract. reader: Ed25519 key that may fetch.
    reader_key: one-time HPKE key that the parts are sealed to. key_epoch, guardians: of the
    members' record key, and who has a share of it.
    """

    key: OrderKey
    digest: bytes
    record_id: bytes
    custodian: str
    anchor_digest: bytes
    slot_digest: bytes
    reader_key: bytes
    reader: bytes
    grant: bytes
    ends: int
    key_epoch: int
    guardians: tuple[str, ...]

    @property
    def recipient(self) -> Recipient:
        """Whom a part is for."""
        return Recipient(
            self.key,
            self.digest,
            self.record_id,
            self.anchor_digest,
            self.reader,
            self.reader_key,
        )


def member_of(order: Order, argument: str) -> str:
    """Return the member that an order names as its `custodian`, say; "" if it names none."""
    named = order.arguments.get(argument, "")
    return named if isinstance(named, str) else ""


def names(order: Order, argument: str, member: str) -> bool:
    """Return whether a list of an order's names a member."""
    listed = order.arguments.get(argument, ())
    return isinstance(listed, list | tuple) and member in listed


def grant_of(order: Order) -> bytes:
    """Return the grant that an order ends.

    Raises:
        OrderNotCarriedOut: it names none.
    """
    grant = order.arguments.get("grant")
    if not isinstance(grant, bytes):
        raise OrderNotCarriedOut("the order names no grant")
    return grant


def parse_release(order: Order) -> ReleaseOrder:
    """Read the arguments of a `release_key`.

    Raises:
        OrderNotCarriedOut: they are out of form.
    """
    try:
        fields = order.fields()
        found = ReleaseOrder(
            key=OrderKey(order.height, order.index),
            digest=digest_of(order.to_bytes()),
            record_id=fields.octets("record", length=RECORD_ID_BYTES),
            custodian=_member(fields.text("custodian")),
            anchor_digest=fields.octets("anchor_digest", length=DIGEST_BYTES),
            slot_digest=fields.octets("slot_digest", length=DIGEST_BYTES),
            reader_key=fields.octets("reader_key", length=PUBLIC_KEY_BYTES),
            reader=fields.octets("reader", length=KEY_BYTES),
            grant=fields.octets("grant"),
            ends=fields.integer("ends"),
            key_epoch=fields.integer("key_epoch"),
            guardians=fields.texts("guardians"),
        )
        fields.end()
    except NotCanonical as error:
        raise OrderNotCarriedOut(f"the order is out of form: {error}") from error
    return found


def parse_erasure(order: Order, member: str) -> Erasure:
    """Read the arguments of an `erase_record`, as they concern `member`.

    Raises:
        OrderNotCarriedOut: they are out of form.
    """
    try:
        fields = order.fields()
        record_id = fields.octets("record", length=RECORD_ID_BYTES)
        custodian = _member(fields.text("custodian"))
        fields.texts("members")
        fields.end()
    except NotCanonical as error:
        raise OrderNotCarriedOut(f"the order is out of form: {error}") from error
    key = OrderKey(order.height, order.index)
    return Erasure(key, digest_of(order.to_bytes()), record_id, custodian == member)


def release(
    order: ReleaseOrder,
    stored: StoredRecord | None,
    anchored: AnchoredRecord | None,
    slots: CustodianSlots,
    parts: Parts,
) -> Release:
    """Seal the record's key part to the reader of a proven order. Blocks for 0.5 ms.

    Args:
        order: from a verified block.
        stored: what is stored under the record's id; None also when it is erased.
        anchored: how an earlier act of the same block anchored it, if one did.
        slots: open the kept key part.
        parts: sign and seal it.

    Raises:
        OrderNotCarriedOut: record, anchor, slot or key are not what the order says.
    """
    if stored is None:
        raise OrderNotCarriedOut("the record is not stored here")
    if not stored.anchored_height and (anchored is None or not anchored.anchors(stored)):
        raise OrderNotCarriedOut("the chain does not anchor what is stored here")
    _check(order, stored.anchor, stored.slot_digest)
    try:
        sealed = parts.custodian(slots.key_part(stored.anchor, stored.kept), order.recipient)
    except (KeptSlotUnusable, SealingKeyRefused) as error:
        raise OrderNotCarriedOut(str(error)) from None
    return Release(
        order.key,
        order.record_id,
        stored.anchor.octets,
        order.grant,
        order.reader,
        order.ends,
        sealed,
        stored.alliance_slot,
    )


def share_order(order: ReleaseOrder, anchored: AnchoredRecord | None, now: int) -> ShareOrder:
    """Return what a guardian has to make for a proven order.

    Args:
        order: from a verified block; it names this member among its guardians.
        anchored: how this or an earlier block anchored the record; None: a block that was not seen
            here did, and the anchor is compared with the order when the custodian gives it.
        now: block time, unix seconds.

    Raises:
        OrderNotCarriedOut: record, anchor, slot, key or time are not what the order says.
    """
    if anchored is not None:
        _check(order, anchored.anchor, anchored.slot_digest)
    if order.key_epoch == 0:
        raise OrderNotCarriedOut("the record has no slot of the members")
    if now >= order.ends:
        raise OrderNotCarriedOut("the right is over")
    return ShareOrder(
        order.key,
        order.digest,
        order.record_id,
        order.anchor_digest,
        b"" if anchored is None else anchored.anchor.octets,
        order.grant,
        order.reader,
        order.reader_key,
        order.ends,
        order.custodian,
        order.key_epoch,
    )


def report_of(order: OrderKey, made: Release | None) -> Report:
    """Return what the chain is told: the digest of what was made, or that nothing was."""
    if made is None:
        return Report(order, Outcome.FAILED, b"")
    return Report(order, Outcome.DONE, digest_of(made.sealed))


def _check(order: ReleaseOrder, anchor: Anchor, slot_digest: bytes) -> None:
    if anchor.record_id != order.record_id:
        raise OrderNotCarriedOut("the order names another record")
    if anchor.digest != order.anchor_digest:
        raise OrderNotCarriedOut("the order names another anchor")
    if slot_digest != order.slot_digest:
        raise OrderNotCarriedOut("the order names another slot")
    if anchor.custodian != order.custodian:
        raise OrderNotCarriedOut("the order names another custodian")
    if anchor.key_epoch != order.key_epoch:
        raise OrderNotCarriedOut("the order names another key of the members")


def _member(text: str) -> str:
    if MEMBER_ID.fullmatch(text) is None:
        raise NotCanonical("a member's id is out of form")
    return text
