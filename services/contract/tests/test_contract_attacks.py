"""Attacks on contracts and records that were found in reviews; each of them fails here.

The names are those of the review's points: C3 (key release), C5 (proof of timers' orders), H2
(dismissed staff), H5 (whose record), H9 (an erring forbid), H12 (a sanction that bites).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward_chain.acts import anchor_record, countersign
from cipherward_chain.canonical import encode
from cipherward_chain.genesis import TemplateDocument
from cipherward_chain.orders import ORDERS_KEY, Order, OrdersEntry
from cipherward_chain.results import TransactionResult
from cipherward_chain.state_proof import verify_state_proof
from cipherward_chain.testing import seed_of
from cipherward_chain.wire import exact_bytes
from cipherward_contract.entries import RECORD as RECORD_ENTRY
from cipherward_contract.entries import Record
from cipherward_contract.testing import (
    TICK,
    Presented,
    Story,
    contract_genesis,
    instantiate,
    open_story,
    transition,
)
from cipherward_contract.testing_anchors import record_anchor
from cipherward_contract.testing_records import (
    CONSENT,
    DAY,
    READER_KEY,
    RECORD,
    ConsentScene,
    consent_terms,
    opening,
    share_record_key,
    shared_anchor,
    shared_record,
)

SLOT = hashlib.sha256(b"slot").digest()


@pytest.fixture
async def scene(story: Story) -> ConsentScene:
    return await ConsentScene.begin(story)


async def test_c3a_an_order_names_the_anchor_and_slot_of_its_own_record(story: Story) -> None:
    """A slot copied into another record changes neither record's order."""
    key = await share_record_key(story)
    owner = await shared_record(story, key.key_epoch)
    await story.applied(owner, instantiate("consent", CONSENT, consent_terms(story.now)))
    thief = await story.record(b"t" * 16, author="hospital-b", templates=("consent/1",))
    copied = consent_terms(story.now, record=b"t" * 16)
    await story.applied(thief, instantiate("consent", b"u" * 16, copied))
    own, others = [
        (await story.applied(signer, opening(consent, "PATRQT"))).orders[0]
        for signer, consent in ((owner, CONSENT), (thief, b"u" * 16))
    ]
    assert own.arguments["record"] == RECORD
    anchor = exact_bytes(shared_anchor(key.key_epoch))
    assert own.arguments["anchor_digest"] == hashlib.sha256(anchor).digest()
    assert others.arguments["record"] == b"t" * 16
    assert others.arguments["anchor_digest"] != own.arguments["anchor_digest"]
    assert others.arguments["guardians"] == []


async def test_c3b_the_readers_key_is_the_one_that_was_signed(scene: ConsentScene) -> None:
    swapped = bytes(1216)
    raw = scene.story.transaction(scene.clinician, opening())
    forged = raw.replace(READER_KEY, swapped)
    assert forged != raw
    decided = await scene.story.block(raw)
    assert decided.orders[0].arguments["reader_key"] == READER_KEY
    # The ledger lets no body in whose signature is another's; its order would have another digest.
    other = Order.from_bytes(decided.orders[0].to_bytes().replace(READER_KEY, swapped))
    assert (
        hashlib.sha256(other.to_bytes()).digest()
        != hashlib.sha256(decided.orders[0].to_bytes()).digest()
    )


async def test_c3f_only_templates_of_the_anchor_or_the_owner_release(story: Story) -> None:
    owner = await story.record(RECORD, templates=("consent/2",))
    act = instantiate("consent", CONSENT, consent_terms(story.now))
    assert (await story.act(owner, act)).reason == "TEMPLATE_NOT_ALLOWED"


async def test_c3_a_weaker_or_unknown_seal_is_not_anchored(tmp_path: Path) -> None:
    """The default of a real alliance: records of suite 2 only, under a key that is in force."""
    genesis, keys = contract_genesis(minimum_suite=2)
    async with open_story(tmp_path, genesis, keys) as story:
        author = story.member("hospital-a")
        weak = anchor_record(record_anchor(RECORD), SLOT)
        assert (await story.act(author, weak)).reason == "SUITE_TOO_OLD"
        shared = anchor_record(shared_anchor(1), SLOT)
        assert (await story.act(author, shared)).reason == "KEY_EPOCH_UNKNOWN"
        await share_record_key(story)
        later = anchor_record(shared_anchor(2), SLOT)
        assert (await story.act(author, later)).reason == "KEY_EPOCH_UNKNOWN"
        await story.applied(author, shared)


async def test_c5_the_orders_of_timers_are_proven(scene: ConsentScene) -> None:
    story = scene.story
    story.now = scene.expires
    decided = await story.applied(story.member("hospital-c"), TICK)
    answer = contract_pb.ExecuteBlockResponse.FromString(decided.answer)
    raw = verify_state_proof(answer.orders_proof, decided.app_hash, ORDERS_KEY)
    assert raw is not None
    assert [order.instruction for order in decided.orders] == ["revoke_key", "cut_transfers"]
    assert OrdersEntry.from_bytes(raw) == OrdersEntry.of(decided.height, answer.orders)
    fewer = OrdersEntry.of(decided.height, answer.orders[:1])
    assert OrdersEntry.from_bytes(raw) != fewer  # a timer's order left out has another root


async def test_h2_dismissed_staff_act_no_more_when_their_epoch_ends(scene: ConsentScene) -> None:
    """A key registered on the last day: the issuer renews nothing, and nothing is opened."""
    story = scene.story
    epoch_seconds = story.genesis.parameters.epoch_seconds
    long = consent_terms(story.now, expires=story.now + 2 * epoch_seconds)
    await story.applied(scene.owner, instantiate("consent", b"l" * 16, long))
    story.now = story.genesis.time_ns // 10**9 + epoch_seconds - 10
    dismissed = await story.staff("hospital-b", "clinician", "dismissed")
    assert (await scene.open(dismissed, consent=b"l" * 16)).applied
    story.now += 20
    assert (await scene.open(dismissed, consent=b"l" * 16)).reason == "EPOCH_OVER"


async def test_h5_an_issuer_that_invents_patients_takes_over_no_record(
    scene: ConsentScene,
) -> None:
    """Another pseudonym in the record's scope is registered, and owns nothing."""
    story = scene.story
    scope = f"record:{RECORD.hex()}"
    invented = await story.register(Presented(scope, "hospital-b", name="invented"), "invented")
    act = instantiate("consent", b"x" * 16, consent_terms(story.now))
    assert (await story.act(invented, act)).reason == "POLICY_DENIED"
    assert (await story.act(invented, transition(CONSENT, "revoke"))).reason == "POLICY_DENIED"
    raw = await story.state(RECORD_ENTRY + RECORD)
    assert raw is not None
    anchor = Record.from_bytes(raw).anchor
    signature = countersign(story.genesis.chain_id, anchor, seed_of("invented"))
    parsed = Record.from_bytes(raw).parsed()
    claim = anchor_record(parsed, SLOT, invented.public_key, signature)
    assert (await story.act(story.member("hospital-b"), claim)).reason == "NOT_THE_AUTHOR"
    assert (await story.act(story.member("hospital-a"), claim)).reason == "RECORD_EXISTS"


async def test_h5_an_unclaimed_record_is_claimed_through_its_author_only(story: Story) -> None:
    await story.record(RECORD, owned=False)
    scope = f"record:{RECORD.hex()}"
    invented = await story.register(Presented(scope, "hospital-b", name="invented"), "invented")
    anchor = record_anchor(RECORD)
    signature = countersign(story.genesis.chain_id, exact_bytes(anchor), seed_of("invented"))
    claim = anchor_record(anchor, SLOT, invented.public_key, signature)
    assert (await story.act(story.member("hospital-b"), claim)).reason == "NOT_THE_AUTHOR"
    consent = instantiate("consent", CONSENT, consent_terms(story.now))
    assert (await story.act(invented, consent)).reason == "RECORD_UNCLAIMED"


ERRING = {
    "name": "erring",
    "version": 1,
    "object": "",
    "parties": {"member": {"is": "any_member"}},
    "terms": {"margin": {"type": "int", "minimum": 0, "maximum": 2**62}},
    "states": ["open", "done"],
    "initial": "open",
    "finals": ["done"],
    "timers": [],
    "transitions": {
        "instantiate": {"kind": "transition", "to": "open", "by": ["member"]},
        "end": {"kind": "transition", "from": ["open"], "to": "done", "by": ["member"]},
    },
    # In Cedar's own evaluation a forbid that overflows is skipped, and the permits decide.
    "policies": """
@id("z-anything") permit (principal, action, resource);
@id("a-anything") permit (principal, action, resource);
@id("too-late") forbid (principal, action == Action::"end", resource)
when { context.now + resource.terms.margin + resource.terms.margin > 4611686018427387903 };
""",
}


async def test_h9_a_forbid_that_errs_denies_and_reasons_are_sorted(tmp_path: Path) -> None:
    templates = [TemplateDocument("erring", 1, encode(ERRING))]
    genesis, keys = contract_genesis(templates=templates)
    async with open_story(tmp_path, genesis, keys) as story:
        member = story.member("hospital-a")
        results: list[TransactionResult] = []
        for number, margin in enumerate((0, 2**61, 2**62)):
            instance = bytes([number]) * 16
            await story.applied(member, instantiate("erring", instance, {"margin": margin}))
            results.append(await story.act(member, transition(instance, "end")))
    assert [result.reason for result in results] == ["", "POLICY_DENIED", "POLICY_ERROR"]
    assert results[0].policies == ("a-anything", "z-anything")


async def test_h12_the_sanction_outlives_the_day_of_the_emergency(scene: ConsentScene) -> None:
    """Whoever breaks the glass is known for the whole epoch: a suspension three days later bites in
    every contract, also where the owner has consented.
    """
    story = scene.story
    far = consent_terms(story.now, expires=story.now + 20 * DAY)
    await story.applied(scene.owner, instantiate("consent", b"f" * 16, far))
    terms = {
        "record": RECORD,
        "reader_key": READER_KEY,
        "reason": "unconscious",
        "visit_seconds": 60,
    }
    await story.applied(scene.clinician, instantiate("emergency-access", b"e" * 16, terms))
    began = story.now - 1
    for after in (60, 3 * DAY):
        story.now = began + after
        await story.applied(story.member("hospital-c"), TICK)
    refused = await scene.open(scene.clinician, consent=b"f" * 16)
    assert refused.reason == "PSEUDONYM_SUSPENDED"
