"""Transactions and the acts without a contract: who may, once, in time, and all or nothing."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import anchor_record, countersign, register_pseudonym
from cipherward_chain.authorization import (
    AuthorizationRejected,
    MemberSigner,
    PseudonymSigner,
    Signer,
)
from cipherward_chain.canonical import decode_map
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import seed_of
from cipherward_chain.transactions import (
    build_transaction,
    check_authorization,
    context_of,
    parse_transaction,
    transaction_id,
)
from cipherward_chain.wire import exact_bytes
from cipherward_contract.entries import KEY, RECORD, TRANSACTION, Record, Registration
from cipherward_contract.testing import (
    TICK,
    Presented,
    Story,
)
from cipherward_contract.testing_anchors import record_anchor

RECORD_ID = b"r" * 16
SCOPE = f"record:{RECORD_ID.hex()}"
SLOT = hashlib.sha256(b"slot").digest()
PATIENT = Presented(SCOPE, "hospital-a", name="patient")


def registration(story: Story, scope: str = SCOPE, name: str = "key") -> pb.Act:
    return register_pseudonym(story.genesis.chain_id, scope, seed_of(name))


def id_of(raw: bytes) -> bytes:
    return transaction_id(pb.Transaction.FromString(raw).body)


async def test_a_transaction_is_applied_once(story: Story) -> None:
    raw = story.transaction(story.member("hospital-a"), TICK)
    first = await story.block(raw, raw)
    assert [result.reason for result in first.results] == ["", "TRANSACTION_REPLAYED"]
    second = await story.block(raw)
    assert second.results[0].reason == "TRANSACTION_REPLAYED"
    assert second.app_hash != first.app_hash  # a block that is not empty always changes it


async def test_a_refused_transaction_is_not_tried_again(story: Story) -> None:
    raw = story.transaction(PseudonymSigner(seed_of("key")), TICK)
    assert (await story.block(raw)).results[0].reason == "KEY_NOT_REGISTERED"
    await story.applied(PATIENT, registration(story))
    assert (await story.block(raw)).results[0].reason == "TRANSACTION_REPLAYED"


@pytest.mark.parametrize("author", ["member", "pseudonym", "presentation"])
async def test_whoever_sees_a_body_cannot_use_up_its_id(story: Story, author: str) -> None:
    thief = story.member("hospital-b")
    signers: dict[str, Signer] = {
        "member": story.member("hospital-a"),
        "pseudonym": await story.register(PATIENT, "key"),
        "presentation": replace(PATIENT, name="another patient"),
    }
    act = registration(story, name="second") if author == "presentation" else TICK
    genuine = story.transaction(signers.pop(author), act)
    body = pb.Transaction.FromString(genuine).body
    for other in (thief, *signers.values()):
        authorization = other.authorize(context_of(body))
        stolen = exact_bytes(pb.Transaction(body=body, authorization=authorization))
        assert id_of(stolen) == id_of(genuine)
        with pytest.raises(AuthorizationRejected):  # the ledger's rule: no block holds it
            check_authorization(parse_transaction(stolen), story.genesis.chain_id)
    check_authorization(parse_transaction(genuine), story.genesis.chain_id)
    assert (await story.block(genuine)).results[0].applied


async def test_ids_are_forgotten_after_their_expiry_and_stay_refused(story: Story) -> None:
    signer = story.member("hospital-a")
    raw = story.transaction(signer, TICK, expires_at=story.now + 5)
    await story.block(raw)
    entry = await story.state(TRANSACTION + id_of(raw))
    assert entry is not None
    assert decode_map(entry) == {"expires": story.now + 4}
    story.now += 4
    await story.applied(signer, TICK)
    assert await story.state(TRANSACTION + id_of(raw)) is not None  # it expires now, not before
    decided = await story.block(raw)
    assert decided.results[0].reason == "TRANSACTION_EXPIRED"
    assert await story.state(TRANSACTION + id_of(raw)) is None


async def test_an_expiry_is_at_most_ten_minutes_ahead(story: Story) -> None:
    signer = story.member("hospital-a")
    farthest = story.transaction(signer, TICK, expires_at=story.now + 600)
    too_far = story.transaction(signer, TICK, expires_at=story.now + 601)
    decided = await story.block(farthest, too_far)
    assert [result.reason for result in decided.results] == ["", "EXPIRY_TOO_FAR"]
    assert await story.state(TRANSACTION + id_of(too_far)) is None


async def test_what_is_no_transaction_of_this_chain_is_refused_not_fatal(story: Story) -> None:
    elsewhere = build_transaction(
        [TICK], chain_id="other", expires_at=story.now + 60, signer=story.member("hospital-a")
    )
    genuine = story.transaction(story.member("hospital-a"), TICK)
    decided = await story.block(elsewhere, b"\xff\xfe", b"", bytes(70_000), genuine)
    assert [result.reason for result in decided.results] == [
        "WRONG_CHAIN",
        "TRANSACTION_MALFORMED",
        "TRANSACTION_MALFORMED",
        "TRANSACTION_TOO_LARGE",
        "",
    ]


async def test_a_member_signs_with_its_key_of_the_registry(story: Story) -> None:
    for signer in (
        MemberSigner("hospital-a", seed_of("another key")),
        MemberSigner("hospital-x", seed_of("hospital-x")),
        MemberSigner("hospital-a", story.keys.member_seeds["hospital-b"]),
    ):
        assert (await story.act(signer, TICK)).reason == "MEMBER_UNKNOWN"


async def test_one_refused_act_undoes_the_whole_transaction(story: Story) -> None:
    other = record_anchor(b"o" * 16, author="hospital-b")
    result = await story.act(
        story.member("hospital-a"),
        anchor_record(record_anchor(RECORD_ID), SLOT),
        anchor_record(other, SLOT),
    )
    assert result.reason == "NOT_THE_AUTHOR"
    assert await story.state(RECORD + RECORD_ID) is None


async def test_a_registration_says_what_the_credential_showed(story: Story) -> None:
    staff = Presented("duty:hospital-b:1", "hospital-b", "staff", 1, "clinician")
    decided = await story.applied(staff, registration(story, staff.scope))
    raw = await story.state(KEY + PseudonymSigner(seed_of("key")).public_key)
    assert raw is not None
    found = Registration.from_bytes(raw)
    assert replace(found, pseudonym=b"") == Registration(
        b"", "duty:hospital-b:1", "hospital-b", "staff", "clinician", 1, decided.height
    )
    assert len(found.pseudonym) == 48


@pytest.mark.parametrize(
    ("presented", "reason"),
    [
        (replace(PATIENT, epoch=2), "EPOCH_OVER"),
        (replace(PATIENT, epoch=0), "EPOCH_OVER"),
        (replace(PATIENT, issuer="hospital-x"), "ISSUER_UNKNOWN"),
        (replace(PATIENT, schema="visitor"), "PRESENTATION_REFUSED"),
        (replace(PATIENT, scope="record:00"), "SCOPE_REFUSED"),
        (replace(PATIENT, scope=f"record:{'R' * 32}"), "SCOPE_REFUSED"),
        (replace(PATIENT, scope="care:hospital-a"), "SCOPE_REFUSED"),
        (replace(PATIENT, scope="duty:hospital-a:1"), "SCOPE_REFUSED"),
        (replace(PATIENT, schema="staff", role="clinician"), "SCOPE_REFUSED"),
        (Presented("duty:hospital-b:1", "hospital-a", "staff", 1, "clinician"), "SCOPE_REFUSED"),
        (Presented("duty:hospital-a:2", "hospital-a", "staff", 1, "clinician"), "SCOPE_REFUSED"),
        (Presented("duty:hospital-a:1", "hospital-a", "staff", 1), "PRESENTATION_REFUSED"),
    ],
)
async def test_presentations_are_of_the_registry_the_epoch_and_their_scope(
    story: Story, presented: Presented, reason: str
) -> None:
    result = await story.act(presented, registration(story, presented.scope))
    assert result.reason == reason


async def test_a_pseudonym_is_registered_by_its_presentation_only(story: Story) -> None:
    result = await story.act(story.member("hospital-a"), registration(story))
    assert result.reason == "PRESENTATION_REQUIRED"
    again = await story.act(PATIENT, registration(story), registration(story, name="second"))
    assert again.reason == "PRESENTATION_REQUIRED"  # after the first the registered key acts


async def test_a_pseudonym_has_one_key_an_epoch_and_a_key_one_pseudonym(story: Story) -> None:
    await story.applied(PATIENT, registration(story))
    assert (await story.act(PATIENT, registration(story))).reason == "KEY_REGISTERED"
    second = registration(story, name="second")
    assert (await story.act(PATIENT, second)).reason == "PSEUDONYM_REGISTERED"
    other = replace(PATIENT, name="another patient")
    assert (await story.act(other, registration(story))).reason == "KEY_REGISTERED"
    await story.applied(other, second)  # two patients may name one record's scope


async def test_in_a_later_epoch_a_pseudonym_may_take_another_key(story: Story) -> None:
    await story.applied(PATIENT, registration(story))
    story.now += story.genesis.parameters.epoch_seconds
    later = replace(PATIENT, epoch=2)
    await story.applied(later, registration(story, name="second"))
    assert (await story.act(later, registration(story))).reason == "PSEUDONYM_REGISTERED"


async def test_an_anchored_record_is_its_authors_and_its_owners(story: Story) -> None:
    await story.record(RECORD_ID)
    raw = await story.state(RECORD + RECORD_ID)
    assert raw is not None
    found = Record.from_bytes(raw)
    assert found.anchor == exact_bytes(record_anchor(RECORD_ID))
    assert (found.slot_digest, found.height) == (SLOT, story.height)
    assert found.owner == SigningKey(seed_of(f"owner/{RECORD_ID.hex()}")).public_key


async def test_a_record_is_anchored_once(story: Story) -> None:
    author, act = story.member("hospital-a"), anchor_record(record_anchor(RECORD_ID), SLOT)
    await story.applied(author, act)
    assert (await story.act(author, act)).reason == "RECORD_EXISTS"


async def test_an_unclaimed_record_is_claimed_once_with_the_same_anchor(story: Story) -> None:
    author, seed = story.member("hospital-a"), seed_of("key")
    anchor = record_anchor(RECORD_ID)
    await story.applied(author, anchor_record(anchor, SLOT))
    await story.applied(PATIENT, registration(story))

    def claim(wanted: pb.RecordAnchor, slot: bytes = SLOT) -> pb.Act:
        signature = countersign(story.genesis.chain_id, exact_bytes(wanted), seed)
        return anchor_record(wanted, slot, SigningKey(seed).public_key, signature)

    longer = record_anchor(RECORD_ID)
    longer.ciphertext_bytes += 1
    assert (await story.act(author, claim(longer))).reason == "RECORD_EXISTS"
    assert (await story.act(author, claim(anchor, bytes(32)))).reason == "RECORD_EXISTS"
    await story.applied(author, claim(anchor))
    assert (await story.act(author, claim(anchor))).reason == "RECORD_EXISTS"


async def test_an_owner_is_registered_for_that_record_in_this_epoch(story: Story) -> None:
    author, seed = story.member("hospital-a"), seed_of("key")
    anchor = record_anchor(RECORD_ID)
    signature = countersign(story.genesis.chain_id, exact_bytes(anchor), seed)
    act = anchor_record(anchor, SLOT, SigningKey(seed).public_key, signature)
    assert (await story.act(author, act)).reason == "OWNER_NOT_REGISTERED"
    elsewhere = replace(PATIENT, scope=f"record:{'00' * 16}")
    await story.applied(elsewhere, registration(story, elsewhere.scope))
    assert (await story.act(author, act)).reason == "OWNER_NOT_REGISTERED"


async def test_only_the_author_anchors_at_a_member(story: Story) -> None:
    act = anchor_record(record_anchor(RECORD_ID), SLOT)
    assert (await story.act(story.member("hospital-b"), act)).reason == "NOT_THE_AUTHOR"
    assert (await story.act(PATIENT, act)).reason == "NOT_THE_AUTHOR"
    anchor = record_anchor(RECORD_ID)
    anchor.custodian = "hospital-x"
    result = await story.act(story.member("hospital-a"), anchor_record(anchor, SLOT))
    assert result.reason == "MEMBER_NOT_IN_REGISTRY"


async def test_an_ended_epoch_stops_every_act_but_giving_up_rights(story: Story) -> None:
    await story.applied(PATIENT, registration(story))
    owner = PseudonymSigner(seed_of("key"))
    await story.applied(owner, TICK)
    story.now += story.genesis.parameters.epoch_seconds
    other = anchor_record(record_anchor(RECORD_ID), SLOT)
    assert (await story.act(owner, other)).reason == "EPOCH_OVER"
