"""What an order makes: a released key part or a failure, and which grants it ends.

Nothing in an order is believed because it is in an order: record, anchor, slot and custodian are
compared with what the chain anchored and what is stored here.
"""

from __future__ import annotations

from dataclasses import dataclass

from cipherward_chain.canonical import NotCanonical
from cipherward_chain.orders import Order
from cipherward_chain.sealing import PUBLIC_KEY_BYTES, SealingKeyRefused
from cipherward_chain.signatures import KEY_BYTES
from cipherward_member.reports import OrderKey, Outcome, Report
from cipherward_storage.errors import SlotRejected
from cipherward_storage.records import (
    DIGEST_BYTES,
    RECORD_ID_BYTES,
    AnchoredRecord,
    Release,
    StoredRecord,
    digest_of,
)
from cipherward_storage.slots import CustodianSlots

RELEASE_KEY = "release_key"
# Both end every release of a grant: the first its key, the second what runs. One without the other
# would leave either behind, so each ends both.
ENDING = frozenset(("revoke_key", "cut_transfers"))


class OrderNotCarriedOut(ValueError):
    """An order names something that is not what it says; it fails for good."""


@dataclass(frozen=True, slots=True)
class ReleaseOrder:
    """The arguments of `release_key`.

    ends: unix seconds. grant: id of the contract. reader: Ed25519 key that may fetch.
    reader_key: one-time HPKE key that the part is sealed to.
    """

    key: OrderKey
    record_id: bytes
    anchor_digest: bytes
    slot_digest: bytes
    reader_key: bytes
    reader: bytes
    grant: bytes
    ends: int


def custodian_of(order: Order) -> str:
    """Return the member that is to carry out an order about a record; "" if it is about none."""
    custodian = order.arguments.get("custodian", "")
    return custodian if isinstance(custodian, str) else ""


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
        fields.text("custodian")
        found = ReleaseOrder(
            OrderKey(order.height, order.index),
            fields.octets("record", length=RECORD_ID_BYTES),
            fields.octets("anchor_digest", length=DIGEST_BYTES),
            fields.octets("slot_digest", length=DIGEST_BYTES),
            fields.octets("reader_key", length=PUBLIC_KEY_BYTES),
            fields.octets("reader", length=KEY_BYTES),
            fields.octets("grant"),
            fields.integer("ends"),
        )
        fields.end()
    except NotCanonical as error:
        raise OrderNotCarriedOut(f"the order is out of form: {error}") from None
    return found


def release(
    order: ReleaseOrder,
    stored: StoredRecord | None,
    anchored: AnchoredRecord | None,
    slots: CustodianSlots,
) -> Release:
    """Seal the record's key part to the reader of a proven order. Blocks for 0.25 ms.

    Args:
        order: from a verified block.
        stored: what is stored under the record's id.
        anchored: how an earlier act of the same block anchored it, if one did.
        slots: the custodian's key.

    Raises:
        OrderNotCarriedOut: record, anchor or slot are not what the order says.
    """
    if stored is None:
        raise OrderNotCarriedOut("the record is not stored here")
    if not stored.anchored_height and (anchored is None or not anchored.anchors(stored)):
        raise OrderNotCarriedOut("the chain does not anchor what is stored here")
    if stored.anchor.digest != order.anchor_digest:
        raise OrderNotCarriedOut("the order names another anchor")
    if stored.slot_digest != order.slot_digest:
        raise OrderNotCarriedOut("the order names another slot")
    try:
        sealed = slots.release(
            stored.anchor, stored.slot, order.key, order.reader, order.reader_key
        )
    except (SlotRejected, SealingKeyRefused) as error:
        raise OrderNotCarriedOut(str(error)) from None
    return Release(
        order.key,
        order.record_id,
        stored.anchor.octets,
        order.grant,
        order.reader,
        order.ends,
        sealed,
    )


def report_of(order: OrderKey, made: Release | None) -> Report:
    """Return what the chain is told: the digest of what was made, or that nothing was."""
    if made is None:
        return Report(order, Outcome.FAILED, b"")
    return Report(order, Outcome.DONE, digest_of(made.sealed))
