"""The life of a consent: who may open a record, for what, until when."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pytest

from cipherward_chain.acts import register_pseudonym
from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.canonical import Value
from cipherward_chain.results import TransactionResult
from cipherward_chain.testing import seed_of
from cipherward_chain.wire import exact_bytes
from cipherward_contract.steps import TIMERS_MAX
from cipherward_contract.testing import (
    TICK,
    Presented,
    Story,
    instantiate,
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
    shared_record,
)
from cipherward_contract.testing_registry import removed

TEMPLATES = ("consent/1", "emergency-access/1")


@pytest.fixture
async def scene(story: Story) -> ConsentScene:
    return await ConsentScene.begin(story)


def terms(story: Story, **changed: Value) -> dict[str, Value]:
    return consent_terms(story.now, **changed)


async def test_an_opening_orders_the_release_of_the_key_to_the_reader(scene: ConsentScene) -> None:
    now = scene.story.now
    decided = await scene.opened(scene.clinician)
    assert decided.results[0].policies == ("grantee-opens",)
    assert (decided.results[0].first_order, decided.results[0].order_count) == (0, 1)
    (order,) = decided.orders
    assert (order.height, order.index) == (decided.height, 0)
    assert (order.instance, order.template, order.instruction) == (
        CONSENT,
        "consent",
        "release_key",
    )
    assert order.arguments == {
        "record": RECORD,
        "custodian": "hospital-a",
        "anchor_digest": hashlib.sha256(
            exact_bytes(record_anchor(RECORD, templates=TEMPLATES))
        ).digest(),
        "slot_digest": hashlib.sha256(b"slot").digest(),
        "reader_key": READER_KEY,
        "reader": scene.clinician.public_key,
        "grant": CONSENT,
        "ends": now + 3600,
        "key_epoch": 0,  # a record of suite 1, which takes nobody's share
        "guardians": [],
    }


async def test_a_visit_never_ends_after_the_consent(scene: ConsentScene) -> None:
    scene.story.now = scene.expires - 60
    decided = await scene.opened(scene.clinician)
    assert decided.orders[0].arguments["ends"] == scene.expires


@pytest.mark.parametrize(
    ("member", "role", "purpose", "policies"),
    [
        ("hospital-c", "clinician", "TREAT", ("not-the-grantee",)),
        ("hospital-b", "researcher", "TREAT", ("role-differs",)),
        ("hospital-b", "clinician", "HRESCH", ("purpose-differs",)),
        ("hospital-c", "dpo", "HPAYMT", ("not-the-grantee", "purpose-differs", "role-differs")),
    ],
)
async def test_others_roles_and_purposes_are_denied_by_name(
    scene: ConsentScene, member: str, role: str, purpose: str, policies: tuple[str, ...]
) -> None:
    somebody = await scene.story.staff(member, role, f"{member}/{role}")
    result = await scene.open(somebody, purpose)
    assert (result.reason, result.policies) == ("POLICY_DENIED", policies)
    assert (await scene.state()).uses == 0


async def test_a_consent_to_one_key_denies_its_colleagues(scene: ConsentScene) -> None:
    story, named = scene.story, b"n" * 16
    wanted = terms(story, grantee_key=scene.clinician.public_key)
    await story.applied(scene.owner, instantiate("consent", named, wanted))
    colleague = await story.staff("hospital-b", "clinician", "colleague")
    assert (await scene.open(colleague, consent=named)).policies == ("not-the-grantee",)
    assert (await scene.open(scene.clinician, consent=named)).applied


async def test_the_owner_opens_its_own_record_for_itself_only(scene: ConsentScene) -> None:
    assert (await scene.open(scene.owner, "PATRQT")).applied
    assert (await scene.open(scene.owner, "TREAT")).policies == ("purpose-differs",)


async def test_visits_are_counted_and_spent(scene: ConsentScene) -> None:
    for _ in range(3):
        assert (await scene.open(scene.clinician)).applied
    result = await scene.open(scene.clinician)
    assert (result.reason, result.policies) == ("POLICY_DENIED", ("visits-spent",))
    assert (await scene.state()).uses == 3


async def test_a_revoked_consent_is_refused_and_its_transfers_are_cut(scene: ConsentScene) -> None:
    decided = await scene.story.applied(scene.owner, transition(CONSENT, "revoke"))
    assert [order.instruction for order in decided.orders] == ["revoke_key", "cut_transfers"]
    for order in decided.orders:
        assert order.arguments == {"record": RECORD, "custodian": "hospital-a", "grant": CONSENT}
    assert (await scene.open(scene.clinician)).reason == "STATE_FORBIDS"
    again = await scene.story.act(scene.owner, transition(CONSENT, "revoke"))
    assert again.reason == "STATE_FORBIDS"


async def test_only_the_owner_revokes(scene: ConsentScene) -> None:
    result = await scene.story.act(scene.clinician, transition(CONSENT, "revoke"))
    assert (result.reason, result.policies) == ("POLICY_DENIED", ())


async def test_expiry_ends_a_consent_with_no_caller(scene: ConsentScene) -> None:
    story = scene.story
    story.now = scene.expires
    decided = await story.applied(story.member("hospital-c"), TICK)
    assert [order.instruction for order in decided.orders] == ["revoke_key", "cut_transfers"]
    assert decided.results[0].order_count == 0  # a timer's orders belong to no transaction
    assert (await scene.state()).position.state == "expired"
    assert (await scene.open(scene.clinician)).reason == "STATE_FORBIDS"


async def test_timers_orders_come_before_the_transactions(scene: ConsentScene) -> None:
    story, other = scene.story, b"o" * 16
    late = terms(story, expires=scene.expires + DAY)
    await story.applied(scene.owner, instantiate("consent", other, late))
    story.now = scene.expires
    decided = await scene.opened(scene.clinician, consent=other)
    assert [o.instruction for o in decided.orders] == ["revoke_key", "cut_transfers", "release_key"]
    assert (decided.results[0].first_order, decided.results[0].order_count) == (2, 1)


async def test_an_empty_block_fires_no_timer_and_keeps_the_app_hash(scene: ConsentScene) -> None:
    story = scene.story
    before = await story.block(story.transaction(story.member("hospital-a"), TICK))
    story.now = scene.expires + 5
    empty = await story.block()
    assert empty.app_hash == before.app_hash
    assert not empty.orders
    assert (await scene.state()).position.state == "active"
    assert (await scene.open(scene.clinician)).reason == "STATE_FORBIDS"  # fired before it


@pytest.mark.slow
async def test_more_timers_than_one_block_fires_go_on_in_the_next(scene: ConsentScene) -> None:
    story, count = scene.story, TIMERS_MAX + 4
    wanted = terms(story, expires=scene.expires)
    raws = [
        story.transaction(scene.owner, instantiate("consent", n.to_bytes(16, "big"), wanted))
        for n in range(count)
    ]
    assert all(result.applied for result in (await story.block(*raws)).results)
    story.now = scene.expires
    tick = story.member("hospital-a")
    first, second = await story.applied(tick, TICK), await story.applied(tick, TICK)
    assert (len(first.orders), len(second.orders)) == (2 * TIMERS_MAX, 2 * (count + 1 - TIMERS_MAX))
    instances = [order.instance for order in (*first.orders, *second.orders)]
    assert instances == sorted(instances)  # of timers due together, by instance
    assert len(set(instances)) == count + 1


async def test_an_ended_epoch_stops_opening_but_not_revoking(scene: ConsentScene) -> None:
    story = scene.story
    long = b"l" * 16
    epoch_seconds = story.genesis.parameters.epoch_seconds
    wanted = terms(story, expires=story.now + 2 * epoch_seconds)
    await story.applied(scene.owner, instantiate("consent", long, wanted))
    story.now += epoch_seconds
    assert (await scene.open(scene.clinician, consent=long)).reason == "EPOCH_OVER"
    refused = await story.act(scene.owner, instantiate("consent", b"m" * 16, terms(story)))
    assert refused.reason == "EPOCH_OVER"
    await story.applied(scene.owner, transition(long, "revoke"))
    assert (await scene.state(long)).position.state == "revoked"


async def test_the_owner_renews_the_same_key_in_a_later_epoch(scene: ConsentScene) -> None:
    story = scene.story
    story.now += story.genesis.parameters.epoch_seconds
    name = f"owner/{RECORD.hex()}"
    scope = f"record:{RECORD.hex()}"
    act = register_pseudonym(story.genesis.chain_id, scope, seed_of(name))
    await story.applied(Presented(scope, "hospital-a", epoch=2, name=name), act)
    await story.applied(scene.owner, instantiate("consent", b"m" * 16, terms(story)))


async def test_only_the_owner_consents(scene: ConsentScene) -> None:
    story = scene.story
    for somebody in (scene.clinician, story.member("hospital-a")):
        result = await story.act(somebody, instantiate("consent", b"x" * 16, terms(story)))
        assert (result.reason, result.policies) == ("POLICY_DENIED", ())


async def test_a_consent_needs_a_claimed_record_whose_anchor_names_it(story: Story) -> None:
    unclaimed = b"u" * 16
    owner = await story.record(unclaimed, owned=False)
    result = await story.act(owner, instantiate("consent", CONSENT, terms(story, record=unclaimed)))
    assert result.reason == "RECORD_UNCLAIMED"
    result = await story.act(owner, instantiate("consent", CONSENT, terms(story)))
    assert result.reason == "RECORD_UNKNOWN"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"grantee_member": "hospital-x"}, "grantee_member: not a member"),
        ({"grantee_key": b"k" * 31}, "grantee_key: not bytes of length 0 or 32"),
        ({"purposes": ["ONCOLOGY"]}, "purposes: not of the closed list"),
        ({"purposes": []}, "purposes: fewer than 1 texts"),
        ({"purposes": ["TREAT", "HRESCH"]}, "purposes: not a sorted list of distinct texts"),
        ({"purposes": "TREAT"}, "purposes: not a list of texts"),
        ({"representative_key": b"k"}, "representative_key: not bytes of length 0 or 32"),
        ({"visits_max": 0}, "visits_max: not between 1 and 1000"),
        ({"visits_max": True}, "visits_max: not between 1 and 1000"),
        ({"visit_seconds": 59}, "visit_seconds: not between 60 and 86400"),
        ({"record": "r" * 16}, "record: not bytes of length 16"),
        ({"diagnosis": "C50"}, "diagnosis: unknown"),
    ],
)
async def test_terms_out_of_form_are_refused(
    scene: ConsentScene, changed: dict[str, Value], message: str
) -> None:
    result = await scene.story.act(
        scene.owner, instantiate("consent", b"x" * 16, terms(scene.story, **changed))
    )
    assert (result.reason, result.message) == ("TERMS_MALFORMED", message)


@pytest.mark.parametrize("seconds", [0, 315_360_001])
async def test_a_consent_ends_after_now_and_within_ten_years(
    scene: ConsentScene, seconds: int
) -> None:
    story = scene.story
    wanted = terms(story, expires=story.now + seconds)
    result = await story.act(scene.owner, instantiate("consent", b"x" * 16, wanted))
    assert result.reason == "TERMS_MALFORMED"
    assert result.message.startswith("expires: ")


async def test_an_instance_id_is_used_once(scene: ConsentScene) -> None:
    result = await scene.story.act(scene.owner, instantiate("consent", CONSENT, terms(scene.story)))
    assert result.reason == "INSTANCE_EXISTS"


async def test_unknown_things_are_refused(scene: ConsentScene) -> None:
    story, nothing = scene.story, b"?" * 16
    assert (await scene.open(scene.clinician, consent=nothing)).reason == "INSTANCE_UNKNOWN"
    for name in ("expire", "instantiate", "close"):  # a timer's, the maker, nobody's
        result = await story.act(scene.owner, transition(CONSENT, name))
        assert result.reason == "TRANSITION_UNKNOWN"
    result = await story.act(scene.owner, instantiate("consent", nothing, terms(story), version=2))
    assert result.reason == "TEMPLATE_UNKNOWN"
    result = await story.act(scene.clinician, transition(CONSENT, "open", purpose="TREAT"))
    assert (result.reason, result.message) == ("ARGUMENTS_MALFORMED", "reader_key: missing")


async def test_a_one_time_presentation_has_no_key_to_fetch_with(scene: ConsentScene) -> None:
    presented = Presented("duty:hospital-b:1", "hospital-b", "staff", 1, "clinician")
    act = transition(CONSENT, "open", reader_key=READER_KEY, purpose="TREAT")
    assert (await scene.story.act(presented, act)).reason == "KEY_REQUIRED"
    assert (await scene.state()).uses == 0


async def test_registering_and_opening_fit_in_one_transaction(scene: ConsentScene) -> None:
    story = scene.story
    presented = Presented("duty:hospital-b:1", "hospital-b", "staff", 1, "clinician", "in-a-hurry")
    register = register_pseudonym(story.genesis.chain_id, presented.scope, seed_of("hurry"))
    act = transition(CONSENT, "open", reader_key=READER_KEY, purpose="TREAT")
    decided = await story.applied(presented, register, act)
    assert decided.orders[0].arguments["reader"] == PseudonymSigner(seed_of("hurry")).public_key


@pytest.fixture
async def ward(story: Story) -> Ward:
    """A child's record, whose representative has registered a key of their own for it."""
    owner = await story.record(RECORD, templates=TEMPLATES)
    scope = f"record:{RECORD.hex()}"
    parent = await story.register(Presented(scope, "hospital-c", name="parent"), "parent")
    clinician = await story.staff("hospital-b", "clinician", "clinician-b")
    wanted = terms(story, representative_key=parent.public_key)
    await story.applied(owner, instantiate("consent", CONSENT, wanted))
    return Ward(story, parent, clinician)


@dataclass(frozen=True, slots=True)
class Ward:
    story: Story
    parent: PseudonymSigner
    clinician: PseudonymSigner

    async def acts(self, signer: PseudonymSigner, purpose: str) -> TransactionResult:
        return await self.story.act(signer, opening(CONSENT, purpose))


async def test_the_representative_opens_as_the_owner_would(ward: Ward) -> None:
    opened = await ward.acts(ward.parent, "PATRQT")
    assert (opened.applied, opened.policies) == (True, ("representative-opens",))
    assert (await ward.acts(ward.parent, "TREAT")).policies == ("purpose-differs",)


async def test_the_representative_ends_a_consent_and_gives_none(ward: Ward) -> None:
    story, another = ward.story, b"x" * 16
    refused = await story.act(ward.parent, instantiate("consent", another, terms(story)))
    assert (refused.reason, refused.policies) == ("POLICY_DENIED", ())
    decided = await story.applied(ward.parent, transition(CONSENT, "revoke"))
    assert decided.results[0].policies == ("representative-revokes",)


async def test_a_representative_of_one_record_is_nobody_to_another(ward: Ward) -> None:
    story, other = ward.story, b"o" * 16
    owner = await story.record(other, templates=TEMPLATES)
    wanted = terms(story, record=other, representative_key=ward.parent.public_key)
    await story.applied(owner, instantiate("consent", other, wanted))
    refused = await story.act(ward.parent, opening(other, "PATRQT"))
    assert refused.reason == "POLICY_DENIED"  # the key is registered in another record's scope


@pytest.mark.parametrize("purpose", ["GRU", "HMB", "HRESCH", "NPUNCU"])
async def test_researchers_open_for_research_only(scene: ConsentScene, purpose: str) -> None:
    story, research = scene.story, b"y" * 16
    wanted = terms(story, purposes=sorted({purpose, "TREAT"}))
    await story.applied(scene.owner, instantiate("consent", research, wanted))
    researcher = await story.staff("hospital-b", "researcher", "researcher")
    assert (await scene.open(researcher, purpose, research)).applied
    assert (await scene.open(researcher, "TREAT", research)).policies == ("role-differs",)
    assert (await scene.open(scene.clinician, "TREAT", research)).applied


async def test_a_release_of_a_shared_record_names_its_key_and_guardians(story: Story) -> None:
    key = await share_record_key(story, guardians=("hospital-a", "hospital-b", "hospital-d"))
    owner = await shared_record(story, key.key_epoch)
    clinician = await story.staff("hospital-b", "clinician", "clinician")
    await story.applied(owner, instantiate("consent", CONSENT, terms(story)))
    (order,) = (await story.applied(clinician, opening())).orders
    assert order.arguments["key_epoch"] == key.key_epoch
    assert order.arguments["guardians"] == ["hospital-a", "hospital-b", "hospital-d"]
    assert order.arguments["custodian"] == "hospital-a"


async def test_a_guardian_that_has_left_is_asked_for_nothing(story: Story) -> None:
    key = await share_record_key(story)
    owner = await shared_record(story, key.key_epoch)
    clinician = await story.staff("hospital-b", "clinician", "clinician")
    await story.applied(owner, instantiate("consent", CONSENT, terms(story)))
    await removed(story, "hospital-d", b"q" * 16)
    (order,) = (await story.applied(clinician, opening())).orders
    assert order.arguments["guardians"] == ["hospital-a", "hospital-b", "hospital-c"]
