"""Every shipped template: what nobody may do is refused by name, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import pytest

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.authorization import Signer
from cipherward_chain.canonical import Value
from cipherward_chain.results import TransactionResult
from cipherward_chain.testing import ca_certificate
from cipherward_contract.store import StoredState
from cipherward_contract.templates.document import INSTANTIATE, Template
from cipherward_contract.templates.shipped import SHIPPED, load_shipped
from cipherward_contract.testing import (
    MEMBERS,
    TICK,
    Presented,
    Story,
    instantiate,
    transition,
    vote,
)
from cipherward_contract.testing_data_keys import (
    column_terms,
    key_terms,
    ready_key,
    resharing_terms,
    score_terms,
)
from cipherward_contract.testing_records import DAY, READER_KEY, RECORD, consent_terms, standing
from cipherward_contract.testing_registry import Newcomer
from cipherward_contract.testing_studies import applied_for, granted, permit_terms, study_terms

INSTANCE_ID = b"i" * 16
# Why nothing more is done: the contract's end, or what it did to who acts.
LATE = {"STATE_FORBIDS", "TRANSITION_UNKNOWN", "EPOCH_OVER", "PSEUDONYM_SUSPENDED"}
TEMPLATES: Mapping[str, Template] = {name: found[0] for name, found in load_shipped().items()}


@dataclass(frozen=True, slots=True)
class Beginning:
    """Who begins a contract, and with which terms."""

    signer: Signer
    terms: Mapping[str, Value]


async def consent(story: Story) -> Beginning:
    owner = await story.record(RECORD, templates=("consent/1", "emergency-access/1"))
    return Beginning(owner, consent_terms(story.now))


async def emergency_access(story: Story) -> Beginning:
    await consent(story)
    clinician = await story.staff("hospital-b", "clinician", "clinician")
    terms: dict[str, Value] = {
        "record": RECORD,
        "reader_key": READER_KEY,
        "reason": "unconscious",
        "visit_seconds": 60,
    }
    return Beginning(clinician, terms)


async def erasure(story: Story) -> Beginning:
    return Beginning((await consent(story)).signer, {"record": RECORD, "ground": "unlawful"})


async def data_permit(story: Story) -> Beginning:
    return Beginning(await applied_for(story), permit_terms(story))


async def study(story: Story) -> Beginning:
    await granted(story)
    researcher = await story.staff("hospital-b", "researcher", "researcher")
    return Beginning(researcher, study_terms())


async def column_study(story: Story) -> Beginning:
    await granted(story, outputs=["count", "product_sum"])
    researcher = await story.staff("hospital-b", "researcher", "researcher")
    return Beginning(researcher, await column_terms(await ready_key(story)))


async def key_resharing(story: Story) -> Beginning:
    terms = await resharing_terms(await ready_key(story), MEMBERS[:3])
    return Beginning(story.member("hospital-a"), terms)


async def risk_score(story: Story) -> Beginning:
    return Beginning(story.member("hospital-b"), await score_terms(await ready_key(story)))


def by_a_member(make: Callable[[Story], Mapping[str, Value]]) -> Begin:
    async def begin(story: Story) -> Beginning:
        return Beginning(story.member("hospital-a"), make(story))

    return begin


Begin = Callable[[Story], Awaitable[Beginning]]
VOTING: Mapping[str, Value] = {"vote_seconds": 3_600}
BEGINNINGS: Mapping[str, Begin] = {
    "authority-change": by_a_member(
        lambda _: {**VOTING, "member": "hospital-a", "authorities": ca_certificate("hospital-a")}
    ),
    "column-study": column_study,
    "consent": consent,
    "data-key": by_a_member(key_terms),
    "data-permit": data_permit,
    "emergency-access": emergency_access,
    "erasure": erasure,
    "key-ceremony": by_a_member(
        lambda story: {
            **VOTING,
            "purpose": "record",
            "key_epoch": 0,
            "members": sorted(story.genesis.members),
            "window": 10,
        }
    ),
    "key-resharing": key_resharing,
    "machine-upgrade": by_a_member(lambda _: {**VOTING, "version": 2, "height": 1_000}),
    "membership": by_a_member(lambda _: Newcomer("hospital-e").terms(runs_node=False)),
    "opening": by_a_member(
        lambda story: {
            **VOTING,
            "answer_seconds": 3_600,
            "scope": "duty:hospital-b:1",
            "pseudonym": Presented("duty:hospital-b:1", "hospital-b").pseudonym,
            "ground": "misuse",
            "recipient": "hospital-a",
            "recipient_key": story.genesis.members["hospital-a"].custodian_public_key,
        }
    ),
    "removal": by_a_member(lambda _: {**VOTING, "member": "hospital-d"}),
    "risk-score": risk_score,
    "study": study,
    "suspension": by_a_member(
        lambda _: {**VOTING, "member": "hospital-d", "suspend_seconds": 3_600}
    ),
    "template-adoption": by_a_member(
        lambda _: {**VOTING, "digest": bytes(32), "name": "consent", "version": 2}
    ),
}


async def pairs(story: Story) -> dict[bytes, bytes]:
    """Return the committed state, without what every block writes: ids, and its orders' root."""
    found = await story.database.read(lambda c: dict(StoredState(c).scan(b"", b"\xff")))
    return {
        key: value
        for key, value in found.items()
        if key != b"orders" and not key.startswith(b"tx/")
    }


async def refused(story: Story, signer: Signer, act: pb.Act) -> TransactionResult:
    """Try an act, which must be refused and leave nothing behind; return the result."""
    before = await pairs(story)
    decided = await story.block(story.transaction(signer, act))
    assert not decided.results[0].applied
    assert decided.results[0].message
    assert not decided.orders
    assert await pairs(story) == before
    return decided.results[0]


def attempt(template: Template, name: str) -> pb.Act:
    """Return an act that names a transition, with no arguments, or the vote on it."""
    if template.transitions[name].kind == "vote":
        return vote(INSTANCE_ID, name, True)
    return transition(INSTANCE_ID, name)


def test_every_shipped_template_is_tried() -> None:
    assert sorted(BEGINNINGS) == sorted(SHIPPED)


@pytest.mark.parametrize("name", sorted(BEGINNINGS))
async def test_terms_out_of_range_begin_nothing(story: Story, name: str) -> None:
    template, beginning = TEMPLATES[name], await BEGINNINGS[name](story)
    terms = beginning.terms
    for term in sorted(template.terms):
        for wrong in ({**terms, term: [-1]}, {k: v for k, v in terms.items() if k != term}):
            act = instantiate(name, INSTANCE_ID, wrong)
            result = await refused(story, beginning.signer, act)
            assert result.reason == "TERMS_MALFORMED"
    act = instantiate(name, INSTANCE_ID, {**terms, "diagnosis": "C50"})
    result = await refused(story, beginning.signer, act)
    assert (result.reason, result.message) == ("TERMS_MALFORMED", "diagnosis: unknown")


@pytest.mark.parametrize("name", sorted(BEGINNINGS))
async def test_nobody_else_begins_it_and_nobody_twice(story: Story, name: str) -> None:
    beginning = await BEGINNINGS[name](story)
    act = instantiate(name, INSTANCE_ID, beginning.terms)
    visitor = await story.staff("hospital-d", "visitor", "visitor")
    patient = await story.register(Presented(f"study:{'00' * 16}", "hospital-c"), "patient")
    for nobody in (visitor, patient):
        assert (await refused(story, nobody, act)).reason == "POLICY_DENIED"
    await story.applied(beginning.signer, act)
    assert (await refused(story, beginning.signer, act)).reason == "INSTANCE_EXISTS"
    unknown = instantiate(name, b"j" * 16, beginning.terms, version=7)
    assert (await refused(story, beginning.signer, unknown)).reason == "TEMPLATE_UNKNOWN"


@pytest.mark.parametrize("name", sorted(BEGINNINGS))
async def test_nobody_else_moves_it_nor_from_a_wrong_state(story: Story, name: str) -> None:
    template, beginning = TEMPLATES[name], await BEGINNINGS[name](story)
    await story.applied(beginning.signer, instantiate(name, INSTANCE_ID, beginning.terms))
    visitor = await story.staff("hospital-d", "visitor", "visitor")
    for taken, found in template.transitions.items():
        result = await refused(story, visitor, attempt(template, taken))
        assert result.reason == _expected(template, taken, found.sources)
    result = await refused(story, visitor, transition(INSTANCE_ID, "no-such"))
    assert result.reason == "TRANSITION_UNKNOWN"


def _expected(template: Template, taken: str, sources: tuple[str, ...]) -> str:
    kind = template.transitions[taken].kind
    if kind not in ("transition", "vote") or taken == INSTANTIATE:
        return "TRANSITION_UNKNOWN"
    if template.states.initial not in sources:
        return "STATE_FORBIDS"
    has_arguments = bool(template.transitions[taken].arguments)
    return "ARGUMENTS_MALFORMED" if has_arguments else "POLICY_DENIED"


@pytest.mark.parametrize("name", sorted(BEGINNINGS))
async def test_when_it_has_ended_nobody_moves_it(story: Story, name: str) -> None:
    """Left alone it comes to its end by its timers, and then it is late for everything."""
    template, beginning = TEMPLATES[name], await BEGINNINGS[name](story)
    await story.applied(beginning.signer, instantiate(name, INSTANCE_ID, beginning.terms))
    for _ in range(len(template.states.names)):
        due = (await standing(story, INSTANCE_ID)).position.timer
        if not due:
            break
        story.now = max(due, story.now)
        await story.applied(story.member("hospital-c"), TICK)
    ended = await standing(story, INSTANCE_ID)
    assert ended.position.state in template.states.finals
    member = story.member("hospital-a")
    for taken in template.transitions:
        for signer in (member, beginning.signer):
            result = await story.act(signer, attempt(template, taken))
            assert result.reason in LATE
    assert await standing(story, INSTANCE_ID) == ended


async def test_of_two_that_race_in_a_block_the_first_wins_and_the_second_is_told(
    story: Story,
) -> None:
    owner = (await consent(story)).signer
    act = instantiate("consent", INSTANCE_ID, consent_terms(story.now + DAY, visits_max=1))
    other = instantiate("consent", INSTANCE_ID, consent_terms(story.now + DAY, visits_max=2))
    decided = await story.block(story.transaction(owner, act), story.transaction(owner, other))
    assert [result.reason for result in decided.results] == ["", "INSTANCE_EXISTS"]
    clinician = await story.staff("hospital-b", "clinician", "clinician")
    look = transition(INSTANCE_ID, "open", reader_key=READER_KEY, purpose="TREAT")
    end = transition(INSTANCE_ID, "revoke")
    both = [story.transaction(clinician, look) for _ in range(2)]
    decided = await story.block(*both, story.transaction(owner, end), story.transaction(owner, end))
    assert [(result.reason, result.policies) for result in decided.results] == [
        ("", ("grantee-opens",)),
        ("POLICY_DENIED", ("visits-spent",)),
        ("", ("owner-revokes",)),
        ("STATE_FORBIDS", ()),
    ]
    places = [(result.first_order, result.order_count) for result in decided.results]
    assert places == [(0, 1), (0, 0), (1, 2), (0, 0)]
    assert [order.instruction for order in decided.orders] == [
        "release_key",
        "revoke_key",
        "cut_transfers",
    ]
