"""A sealed record opens with the released part under its own anchor, and with nothing else."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import parse_anchor
from cipherward_chain.sealing import OpeningRejected, SealingKey, custodian_place
from cipherward_client.records.errors import (
    CiphertextDiffers,
    KeyPartWrong,
    RecordCorrupt,
    RecordKeyWrong,
    RecordTruncated,
)
from cipherward_client.records.sealing import (
    Custody,
    RecordOpener,
    SealedRecord,
    seal_record,
)

KEY = SealingKey(bytes(range(96)))
CUSTODY = Custody("test-chain", "hospital-a", "hospital-b", KEY.public_key)
CONTENT = b"a patient's record"


@dataclasses.dataclass(frozen=True)
class Opened:
    sealed: SealedRecord
    anchor: pb.RecordAnchor
    part: bytes
    ciphertext: bytes


def open_record(chain_id: str, anchor: pb.RecordAnchor, part: bytes, ciphertext: bytes) -> bytes:
    opener = RecordOpener(chain_id, anchor, part)
    opener.feed(ciphertext)
    return opener.content()


@pytest.fixture
def opened() -> Opened:
    sealed = seal_record(CUSTODY, CONTENT)
    place = custodian_place("test-chain", sealed.record_id, "hospital-b")
    return Opened(
        sealed, parse_anchor(sealed.anchor), KEY.open(sealed.slot, place), b"".join(sealed.parts)
    )


def test_the_custodians_part_opens_the_record(opened: Opened) -> None:
    found = open_record("test-chain", opened.anchor, opened.part, opened.ciphertext)
    assert found == CONTENT


def test_the_anchor_says_what_is_stored_and_who_may_release_it(opened: Opened) -> None:
    anchor = opened.anchor
    assert anchor.ciphertext_digest == hashlib.sha256(opened.ciphertext).digest()
    assert anchor.ciphertext_bytes == len(opened.ciphertext) == opened.sealed.ciphertext_bytes
    assert (anchor.author, anchor.custodian) == ("hospital-a", "hospital-b")
    assert list(anchor.release_templates) == ["consent/1"]
    assert opened.sealed.slot_digest == hashlib.sha256(opened.sealed.slot).digest()


def test_nothing_of_content_or_key_is_in_what_is_sent(opened: Opened) -> None:
    sent = opened.sealed.anchor + opened.sealed.slot + opened.ciphertext
    assert CONTENT not in sent
    assert opened.part not in sent


def test_two_records_of_one_content_share_nothing() -> None:
    first, second = seal_record(CUSTODY, CONTENT), seal_record(CUSTODY, CONTENT)
    assert first.record_id != second.record_id
    assert first.parts != second.parts


def test_the_slot_opens_for_its_record_and_custodian_only(opened: Opened) -> None:
    for place in (
        custodian_place("other-chain", opened.sealed.record_id, "hospital-b"),
        custodian_place("test-chain", bytes(16), "hospital-b"),
        custodian_place("test-chain", opened.sealed.record_id, "hospital-c"),
    ):
        with pytest.raises(OpeningRejected):
            KEY.open(opened.sealed.slot, place)


def test_another_part_is_named_wrong(opened: Opened) -> None:
    with pytest.raises(KeyPartWrong):
        open_record("test-chain", opened.anchor, bytes(32), opened.ciphertext)


def test_a_key_of_another_chain_is_named_wrong(opened: Opened) -> None:
    with pytest.raises(RecordKeyWrong):
        open_record("other-chain", opened.anchor, opened.part, opened.ciphertext)


def test_any_other_ciphertext_is_named(opened: Opened) -> None:
    changed = bytes((opened.ciphertext[0] ^ 1,)) + opened.ciphertext[1:]
    for ciphertext in (changed, opened.ciphertext + b"\0"):
        with pytest.raises(RecordCorrupt):
            open_record("test-chain", opened.anchor, opened.part, ciphertext)
    for ciphertext in (opened.ciphertext[:-1], b""):
        with pytest.raises(RecordTruncated):
            open_record("test-chain", opened.anchor, opened.part, ciphertext)


def test_a_ciphertext_that_opens_and_was_not_anchored_is_named(opened: Opened) -> None:
    anchor = pb.RecordAnchor.FromString(opened.sealed.anchor)
    anchor.ciphertext_digest = bytes(32)
    with pytest.raises(CiphertextDiffers):
        open_record("test-chain", anchor, opened.part, opened.ciphertext)
