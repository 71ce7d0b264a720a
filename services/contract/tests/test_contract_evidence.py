"""A wrong part of a record's key names its signer; nobody else can be named by anything."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import pytest

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import anchor_record
from cipherward_chain.release_parts import CUSTODIAN, GUARDIAN, sign_part
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import seed_of
from cipherward_chain.wire import exact_bytes
from cipherward_contract import evidence
from cipherward_contract.evidence import fault_key
from cipherward_contract.testing import MEMBERS, Story
from cipherward_contract.testing_ceremonies import (
    SharedKey,
    SharedRecord,
    begun,
    entry_of,
    shared_key,
    shared_record,
)
from cipherward_contract.testing_registry import removed
from cipherward_member.shared_keys import threshold_key
from cipherward_threshold.group.tdh2 import Label, make_share, verify_slot

CEREMONY, RECORD = bytes([1]) * 16, bytes([7]) * 16
ORDER = hashlib.sha256(b"an order").digest()
GUARDIAN_B = MEMBERS[1]


@dataclass(frozen=True, slots=True)
class Scene:
    """A record of suite 2, and everybody's share of the key that it is under."""

    story: Story
    key: SharedKey
    record: SharedRecord

    def share(self, member: str, *, order: bytes = ORDER) -> bytes:
        """Return the right share of a member for an order."""
        chain_id = self.story.genesis.chain_id
        key = threshold_key(chain_id, self.key.entry)
        label = Label(chain_id, RECORD, MEMBERS[0], self.key.entry.key_epoch)
        slot = verify_slot(key, label, self.record.slot)
        index = self.key.entry.index_of(member)
        assert index is not None
        return make_share(key, index, self.key.shares[member], slot, order)

    def part(self, role: str, member: str, body: bytes, *, signed_by: str = "") -> bytes:
        """Return a part as a member signs it."""
        anchor = exact_bytes(self.record.anchor)
        part = pb.ReleasePart(
            role=role,
            member_id=member,
            order_digest=ORDER,
            anchor_digest=hashlib.sha256(anchor).digest(),
            body=body,
        )
        key = SigningKey(seed_of(signed_by or member))
        return sign_part(self.story.genesis.chain_id, part, key)

    def published(self, part: bytes, *, slot: bytes = b"", record: bytes = RECORD) -> pb.Act:
        """Return the act that publishes a part."""
        return pb.Act(
            bad_share=pb.BadShare(
                record_id=record, part=part, alliance_slot=slot or self.record.slot
            )
        )

    async def verdict(self, part: bytes) -> str:
        """Publish a part as a member that has nothing to do with it; return the reason."""
        return (await self.story.act(self.story.member(MEMBERS[2]), self.published(part))).reason


@pytest.fixture
async def scene(story: Story) -> Scene:
    key = await shared_key(story, CEREMONY)
    return Scene(story, key, await shared_record(story, key.entry, RECORD))


async def test_an_honest_share_is_no_evidence(scene: Scene) -> None:
    part = scene.part(GUARDIAN, GUARDIAN_B, scene.share(GUARDIAN_B))
    assert await scene.verdict(part) == "EVIDENCE_REFUSED"
    assert await scene.story.state(fault_key(GUARDIAN_B, part)) is None


async def test_an_honest_custodians_part_is_no_evidence(scene: Scene) -> None:
    part = scene.part(CUSTODIAN, MEMBERS[0], scene.record.custodian_part)
    assert await scene.verdict(part) == "EVIDENCE_REFUSED"


@pytest.mark.parametrize("at", [0, 3, 10, 60, 117])
async def test_a_share_with_one_bit_changed_names_its_signer_once(scene: Scene, at: int) -> None:
    body = bytearray(scene.share(GUARDIAN_B))
    body[at] ^= 1
    part = scene.part(GUARDIAN, GUARDIAN_B, bytes(body))
    assert await scene.verdict(part) == ""
    assert await scene.story.state(fault_key(GUARDIAN_B, part)) is not None
    assert await scene.verdict(part) == "EVIDENCE_REFUSED"  # it is known


async def test_a_share_for_another_order_or_of_another_member_is_wrong(scene: Scene) -> None:
    for body in (scene.share(GUARDIAN_B, order=bytes(32)), scene.share(MEMBERS[2]), b"", b"x"):
        assert await scene.verdict(scene.part(GUARDIAN, GUARDIAN_B, body)) == ""


async def test_a_custodian_that_hands_out_another_part_is_named(scene: Scene) -> None:
    part = scene.part(CUSTODIAN, MEMBERS[0], bytes(32))
    assert await scene.verdict(part) == ""
    assert await scene.story.state(fault_key(MEMBERS[0], part)) is not None


async def test_nobody_is_named_by_a_part_that_somebody_else_signed(scene: Scene) -> None:
    forged = scene.part(GUARDIAN, GUARDIAN_B, bytes(118), signed_by=MEMBERS[2])
    assert await scene.verdict(forged) == "EVIDENCE_REFUSED"
    other = scene.part(CUSTODIAN, GUARDIAN_B, bytes(32))  # it is not this record's custodian
    assert await scene.verdict(other) == "EVIDENCE_REFUSED"


async def test_a_part_about_another_record_or_with_another_slot_proves_nothing(
    scene: Scene,
) -> None:
    other = bytes([8]) * 16
    elsewhere = await shared_record(scene.story, scene.key.entry, other)
    part, actor = scene.part(GUARDIAN, GUARDIAN_B, bytes(118)), scene.story.member(MEMBERS[2])
    acts = [
        scene.published(part, record=other, slot=elsewhere.slot),
        scene.published(part, slot=elsewhere.slot),
        scene.published(b"no part"),
    ]
    for act in acts:
        assert (await scene.story.act(actor, act)).reason == "EVIDENCE_REFUSED"
    unknown = scene.published(part, record=bytes(16))
    assert (await scene.story.act(actor, unknown)).reason == "RECORD_UNKNOWN"


async def test_a_share_of_an_earlier_sharing_is_judged_by_that_sharing(scene: Scene) -> None:
    honest = scene.part(GUARDIAN, GUARDIAN_B, scene.share(GUARDIAN_B))
    wrong = bytearray(scene.share(MEMBERS[2]))
    wrong[60] ^= 1
    renewed = await begun(scene.story, bytes([2]) * 16, key_epoch=1, old=scene.key.shares)
    await renewed.run()
    assert (await entry_of(scene.story, "record", 1)).sharing == 2
    assert await scene.verdict(honest) == "EVIDENCE_REFUSED"
    assert await scene.verdict(scene.part(GUARDIAN, MEMBERS[2], bytes(wrong))) == ""


async def test_a_slot_that_its_author_made_wrong_names_no_guardian(story: Story) -> None:
    key = await shared_key(story, CEREMONY)
    record = await shared_record(story, key.entry, RECORD)
    scene = Scene(story, key, replace(record, slot=bytes([1]) * 160))
    broken = bytes([8]) * 16
    anchor = pb.RecordAnchor()
    anchor.CopyFrom(record.anchor)
    anchor.record_id = broken
    anchor.alliance_slot_digest = hashlib.sha256(scene.record.slot).digest()
    await story.applied(story.member(MEMBERS[0]), anchor_record(anchor, bytes(32)))
    scene = replace(scene, record=replace(scene.record, anchor=anchor))
    part = scene.part(GUARDIAN, GUARDIAN_B, bytes(118))
    act = scene.published(part, record=broken)
    # a share that is no share is wrong whatever the slot is; a well-formed one cannot be judged
    assert (await story.act(story.member(MEMBERS[2]), act)).applied
    well_formed = (2).to_bytes(2, "big") + (1).to_bytes(4, "big") + bytes(112)
    act = scene.published(scene.part(GUARDIAN, GUARDIAN_B, well_formed), record=broken)
    assert (await story.act(story.member(MEMBERS[2]), act)).reason == "EVIDENCE_REFUSED"


async def test_a_member_that_is_gone_is_not_named(scene: Scene) -> None:
    part = scene.part(GUARDIAN, MEMBERS[3], bytes(118))
    await removed(scene.story, MEMBERS[3], bytes([9]) * 16)
    assert await scene.verdict(part) == "EVIDENCE_REFUSED"


async def test_anybody_may_publish_evidence(scene: Scene) -> None:
    clinician = await scene.story.staff("hospital-c", "clinician", "a reader")
    part = scene.part(GUARDIAN, GUARDIAN_B, bytes(118))
    assert (await scene.story.act(clinician, scene.published(part))).applied


async def test_a_block_judges_a_bounded_number_of_parts(scene: Scene) -> None:
    honest = scene.published(scene.part(GUARDIAN, GUARDIAN_B, scene.share(GUARDIAN_B)))
    wrong = scene.published(scene.part(GUARDIAN, MEMBERS[3], bytes(118)))
    member = scene.story.member(MEMBERS[2])
    transactions = [
        *(scene.story.transaction(member, honest) for _ in range(evidence.JUDGED_MAX)),
        scene.story.transaction(member, wrong),
    ]
    decided = await scene.story.block(*transactions)
    assert {result.reason for result in decided.results} == {"EVIDENCE_REFUSED"}
    assert (await scene.story.act(member, wrong)).applied
