"""A guardian that began to follow the chain after a record was anchored."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import make_genesis
from cipherward_member.ceremonies import GuardianShare
from cipherward_member.reports import OrderKey
from cipherward_storage.alliance_slots import SlotWrong
from cipherward_storage.effects import ShareOrder
from cipherward_storage.guardian import make_part
from cipherward_storage.parts import Parts
from cipherward_storage.peer_slots import GivenSlot
from cipherward_storage.records import digest_of
from cipherward_storage.releases import OrderNotCarriedOut, ReleaseOrder, share_order
from cipherward_storage.testing import (
    CHAIN,
    MEMBERS,
    TestReader,
    TestRecord,
    make_record,
    record_key,
)

_, KEYS = make_genesis()
GUARDIAN = "hospital-b"
NOW = 1_800_000_000


def order_for(record: TestRecord, reader: TestReader, **changes: object) -> ReleaseOrder:
    """What a proven order says about a record."""
    order = ReleaseOrder(
        OrderKey(9, 0),
        b"o" * 32,
        record.id,
        record.anchor.custodian,
        record.anchor_digest,
        record.slot_digest,
        reader.sealing.public_key,
        reader.public_key,
        b"G" * 16,
        NOW + 60,
        1,
        MEMBERS,
    )
    return replace(order, **changes)


def made(order: ShareOrder, given: GivenSlot) -> bytes:
    entry = record_key().entry
    held = GuardianShare(record_key().key, entry, 2, record_key().shares[GUARDIAN])
    parts = Parts(CHAIN, GUARDIAN, SigningKey(KEYS.member_seeds[GUARDIAN]))
    return make_part(order, given, held, parts)


def test_it_takes_the_anchor_that_the_order_names_from_the_custodian(reader: TestReader) -> None:
    record = make_record(KEYS, "hospital-a", 10)
    order = share_order(order_for(record, reader), None, NOW)
    assert order.anchor == b""
    assert made(order, GivenSlot(record.alliance_slot, record.octets))


def test_any_other_anchor_is_refused(reader: TestReader) -> None:
    record, other = (make_record(KEYS, "hospital-a", 10) for _ in range(2))
    good = share_order(order_for(record, reader), None, NOW)
    for order, given in (
        (good, GivenSlot(record.alliance_slot, other.octets)),
        (good, GivenSlot(record.alliance_slot, b"")),
        (good, GivenSlot(other.alliance_slot, record.octets)),
        # An order that names what does not fit together, with the digest that it names.
        (replace(good, record_id=other.id), GivenSlot(record.alliance_slot, record.octets)),
        (replace(good, custodian="hospital-c"), GivenSlot(record.alliance_slot, record.octets)),
        (replace(good, key_epoch=2), GivenSlot(record.alliance_slot, record.octets)),
    ):
        with pytest.raises(SlotWrong):
            made(order, given)
    garbage = secrets.token_bytes(40)
    named = share_order(order_for(record, reader, anchor_digest=digest_of(garbage)), None, NOW)
    with pytest.raises(SlotWrong, match="RecordAnchor"):
        made(named, GivenSlot(record.alliance_slot, garbage))


def test_an_order_of_suite_1_or_that_is_over_takes_no_share(reader: TestReader) -> None:
    record = make_record(KEYS, "hospital-a", 10)
    with pytest.raises(OrderNotCarriedOut, match="no slot"):
        share_order(order_for(record, reader, key_epoch=0), None, NOW)
    with pytest.raises(OrderNotCarriedOut, match="over"):
        share_order(order_for(record, reader), None, NOW + 60)
