"""A sealed record opens with both parts of its key under its own anchor, and with nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
from typing import Any

import pytest

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import parse_anchor
from cipherward_chain.release_parts import CUSTODIAN, GUARDIAN, sign_part
from cipherward_chain.sealing import OpeningRejected, SealingKey, custodian_place
from cipherward_chain.signatures import SigningKey
from cipherward_client.records.errors import (
    AllianceSlotDiffers,
    CiphertextDiffers,
    KeyPartWrong,
    PartRefused,
    RecordCorrupt,
    RecordKeyWrong,
    RecordTruncated,
)
from cipherward_client.records.parts import ReleasedRecord, SharedSlot
from cipherward_client.records.sealing import (
    Custody,
    RecordOpener,
    SealedRecord,
    label_of,
    seal_record,
)
from cipherward_threshold.group.tdh2 import make_share, verify_slot

KEY = SealingKey(bytes(range(96)))
CHAIN = "test-chain"
CONTENT = b"a patient's record"
ORDER = hashlib.sha256(b"an order").digest()
DealtKey = Any  # conftest's; test modules cannot import it


@dataclasses.dataclass(frozen=True)
class Opened:
    sealed: SealedRecord
    anchor: pb.RecordAnchor
    part: bytes
    dealt: DealtKey
    ciphertext: bytes

    @property
    def released(self) -> ReleasedRecord:
        digest = hashlib.sha256(self.sealed.anchor).digest()
        return ReleasedRecord(CHAIN, self.anchor, digest, ORDER)

    @property
    def slot(self) -> SharedSlot:
        return SharedSlot(self.released, self.sealed.alliance_slot, self.dealt.key)

    def share(self, index: int, context: bytes = ORDER) -> bytes:
        label = label_of(CHAIN, self.anchor.record_id, self.anchor.custodian, 1)
        slot = verify_slot(self.dealt.key, label, self.sealed.alliance_slot)
        return make_share(self.dealt.key, index, self.dealt.shares[index], slot, context)

    def shares(self, *indexes: int) -> dict[int, bytes]:
        return {index: self.share(index) for index in indexes}

    @property
    def key(self) -> bytes:
        return self.slot.record_key(self.part, self.shares(1, 2, 3))


def custody(dealt: DealtKey) -> Custody:
    return Custody(CHAIN, "hospital-a", "hospital-b", KEY.public_key, dealt.key)


def open_record(chain_id: str, anchor: pb.RecordAnchor, key: bytes, ciphertext: bytes) -> bytes:
    opener = RecordOpener(chain_id, anchor, key)
    opener.feed(ciphertext)
    return opener.content()


@pytest.fixture
def opened(shared_key: DealtKey) -> Opened:
    sealed = seal_record(custody(shared_key), CONTENT)
    place = custodian_place(CHAIN, sealed.record_id, "hospital-b")
    return Opened(
        sealed,
        parse_anchor(sealed.anchor),
        KEY.open(sealed.slot, place),
        shared_key,
        b"".join(sealed.parts),
    )


def signed(opened: Opened, member: SigningKey, body: bytes, role: str = GUARDIAN) -> bytes:
    part = pb.ReleasePart(
        role=role,
        member_id="hospital-c",
        order_digest=ORDER,
        anchor_digest=opened.released.anchor_digest,
        body=body,
    )
    return sign_part(CHAIN, part, member)


def test_the_custodians_part_and_three_shares_open_the_record(opened: Opened) -> None:
    assert open_record(CHAIN, opened.anchor, opened.key, opened.ciphertext) == CONTENT


@pytest.mark.parametrize("indexes", [(1, 2, 4), (2, 3, 4), (1, 2, 3, 4)])
def test_any_members_open_it_if_they_are_enough(opened: Opened, indexes: tuple[int, ...]) -> None:
    assert opened.slot.record_key(opened.part, opened.shares(*indexes)) == opened.key


def test_the_custodian_with_one_guardian_too_few_opens_nothing(opened: Opened) -> None:
    with pytest.raises(RecordKeyWrong):
        opened.slot.record_key(opened.part, opened.shares(2, 3))


def test_all_shares_without_the_custodians_part_open_nothing(opened: Opened) -> None:
    with pytest.raises(RecordKeyWrong):
        opened.slot.record_key(secrets.token_bytes(32), opened.shares(1, 2, 3, 4))


def test_a_share_for_another_order_is_found_among_the_right_ones(opened: Opened) -> None:
    shares = opened.shares(1, 2, 4) | {2: opened.share(2, hashlib.sha256(b"another").digest())}
    assert opened.slot.wrong(shares) == (2,)


def test_a_wrong_share_gives_no_key_and_is_named(opened: Opened) -> None:
    wrong = bytearray(opened.share(3))
    wrong[-1] ^= 1
    # Another holder's point under its own index: in form, and not its share.
    swapped = opened.share(3)[:6] + opened.share(4)[6:54] + opened.share(3)[54:]
    shares = opened.shares(1, 2) | {3: swapped}
    with pytest.raises(RecordKeyWrong):
        opened.slot.record_key(opened.part, shares)
    assert opened.slot.wrong(shares) == (3,)
    assert opened.slot.wrong(opened.shares(1, 2) | {3: bytes(wrong)}) == (3,)


def test_shares_that_renewal_has_made_old_are_told_from_forged_ones(opened: Opened) -> None:
    newer = opened.dealt.renewed()
    slot = SharedSlot(opened.released, opened.sealed.alliance_slot, newer.key)
    old = opened.share(1)
    with pytest.raises(RecordKeyWrong):
        slot.record_key(opened.part, opened.shares(1, 2, 3))
    assert slot.may_be_older(old)
    assert not slot.may_be_older(old[:-1])
    assert not slot.may_be_older(old[:2] + (7).to_bytes(4, "big") + old[6:])
    assert not opened.slot.may_be_older(old)


def test_another_slot_than_the_anchored_one_is_named(opened: Opened) -> None:
    other = seal_record(custody(opened.dealt), CONTENT)
    with pytest.raises(AllianceSlotDiffers):
        SharedSlot(opened.released, other.alliance_slot, opened.dealt.key)


def test_a_slot_that_was_anchored_under_another_record_is_named(opened: Opened) -> None:
    other = seal_record(custody(opened.dealt), CONTENT)
    anchor = pb.RecordAnchor.FromString(opened.sealed.anchor)
    anchor.alliance_slot_digest = hashlib.sha256(other.alliance_slot).digest()
    released = dataclasses.replace(opened.released, anchor=anchor)
    with pytest.raises(AllianceSlotDiffers):
        SharedSlot(released, other.alliance_slot, opened.dealt.key)


def test_a_part_counts_for_its_signer_order_and_role_only(opened: Opened) -> None:
    member = SigningKey(bytes(32))
    share = opened.share(3)
    raw = signed(opened, member, share)
    part = opened.released.accept(raw, GUARDIAN, "hospital-c", member.public_key)
    assert part.body == share
    other_order = dataclasses.replace(opened.released, order_digest=bytes(32))
    other_key = SigningKey(bytes(31) + b"\1").public_key
    for released, role, name, key in (
        (opened.released, CUSTODIAN, "hospital-c", member.public_key),
        (opened.released, GUARDIAN, "hospital-d", member.public_key),
        (opened.released, GUARDIAN, "hospital-c", other_key),
        (other_order, GUARDIAN, "hospital-c", member.public_key),
    ):
        with pytest.raises(PartRefused):
            released.accept(raw, role, name, key)
    with pytest.raises(PartRefused):
        opened.released.accept(raw + b"\0", GUARDIAN, "hospital-c", member.public_key)


def test_the_custodians_part_is_held_against_the_anchor(opened: Opened) -> None:
    member = SigningKey(bytes(32))
    for body in (opened.part, bytes(32)):
        raw = signed(opened, member, body, CUSTODIAN)
        part = opened.released.accept(raw, CUSTODIAN, "hospital-c", member.public_key)
        if body == opened.part:
            assert opened.released.custodian_part(part) == opened.part
        else:
            with pytest.raises(KeyPartWrong):
                opened.released.custodian_part(part)


def test_the_anchor_says_what_is_stored_and_who_may_release_it(opened: Opened) -> None:
    anchor = opened.anchor
    assert anchor.ciphertext_digest == hashlib.sha256(opened.ciphertext).digest()
    assert anchor.ciphertext_bytes == len(opened.ciphertext) == opened.sealed.ciphertext_bytes
    assert (anchor.author, anchor.custodian) == ("hospital-a", "hospital-b")
    assert (anchor.suite, anchor.key_epoch) == (2, 1)
    assert anchor.alliance_slot_digest == hashlib.sha256(opened.sealed.alliance_slot).digest()
    assert list(anchor.release_templates) == ["consent/1", "emergency-access/1"]
    assert opened.sealed.slot_digest == hashlib.sha256(opened.sealed.slot).digest()


def test_nothing_of_content_or_key_is_in_what_is_sent(opened: Opened) -> None:
    sealed = opened.sealed
    sent = sealed.anchor + sealed.slot + sealed.alliance_slot + opened.ciphertext
    assert CONTENT not in sent
    assert opened.part not in sent
    assert opened.key not in sent


def test_two_records_of_one_content_share_nothing(shared_key: DealtKey) -> None:
    first, second = (seal_record(custody(shared_key), CONTENT) for _ in range(2))
    assert first.record_id != second.record_id
    assert first.parts != second.parts
    assert first.alliance_slot != second.alliance_slot


def test_the_slot_opens_for_its_record_and_custodian_only(opened: Opened) -> None:
    for place in (
        custodian_place("other-chain", opened.sealed.record_id, "hospital-b"),
        custodian_place(CHAIN, bytes(16), "hospital-b"),
        custodian_place(CHAIN, opened.sealed.record_id, "hospital-c"),
    ):
        with pytest.raises(OpeningRejected):
            KEY.open(opened.sealed.slot, place)


def test_a_key_of_another_record_is_named_wrong(opened: Opened) -> None:
    with pytest.raises(RecordKeyWrong):
        open_record(CHAIN, opened.anchor, bytes(32), opened.ciphertext)


def test_any_other_ciphertext_is_named(opened: Opened) -> None:
    changed = bytes((opened.ciphertext[0] ^ 1,)) + opened.ciphertext[1:]
    for ciphertext in (changed, opened.ciphertext + b"\0"):
        with pytest.raises(RecordCorrupt):
            open_record(CHAIN, opened.anchor, opened.key, ciphertext)
    for ciphertext in (opened.ciphertext[:-1], b""):
        with pytest.raises(RecordTruncated):
            open_record(CHAIN, opened.anchor, opened.key, ciphertext)


def test_a_ciphertext_that_opens_and_was_not_anchored_is_named(opened: Opened) -> None:
    anchor = pb.RecordAnchor.FromString(opened.sealed.anchor)
    anchor.ciphertext_digest = bytes(32)
    with pytest.raises(CiphertextDiffers):
        open_record(CHAIN, anchor, opened.key, opened.ciphertext)
