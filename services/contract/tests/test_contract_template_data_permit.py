"""Data permits: granted by the members with the data, spent, and ended with all that runs."""

from __future__ import annotations

import pytest

from cipherward_chain.canonical import Value
from cipherward_contract.entries import INSTANCE, Instance
from cipherward_contract.marks import budget_key, budget_spent, depends_key
from cipherward_contract.testing import (
    MEMBERS,
    TICK,
    Story,
    instantiate,
    report,
    transition,
    vote,
)
from cipherward_contract.testing_registry import voted
from cipherward_contract.testing_studies import (
    PERMIT,
    STEPS,
    STUDY,
    applied_for,
    digest,
    granted,
    permit_terms,
    propose,
    study_terms,
)


async def state_of(story: Story, permit: bytes = PERMIT) -> str:
    raw = await story.state(INSTANCE + permit)
    assert raw is not None
    return Instance.from_bytes(permit, raw).position.state


async def test_the_members_with_the_data_grant_a_permit(story: Story) -> None:
    await applied_for(story, holders=list(MEMBERS[:3]), threshold=3, approvals=3)
    stranger = await story.act(story.member("hospital-d"), vote(PERMIT, "grant", True))
    assert stranger.reason == "POLICY_DENIED"
    await voted(story, PERMIT, "grant", MEMBERS[:2])
    assert await state_of(story) == "applied"
    await voted(story, PERMIT, "grant", MEMBERS[2:3])
    assert await state_of(story) == "granted"


async def test_a_permit_that_cannot_be_granted_any_more_is_rejected(story: Story) -> None:
    await applied_for(story)
    for member in MEMBERS[:2]:
        await story.applied(story.member(member), vote(PERMIT, "grant", False))
    assert await state_of(story) == "rejected"


async def test_an_application_that_nobody_decides_lapses(story: Story) -> None:
    await applied_for(story, vote_seconds=60)
    story.now += 60
    await story.applied(story.member("hospital-a"), TICK)
    assert await state_of(story) == "lapsed"


async def test_only_a_researcher_applies_and_for_the_own_institution(story: Story) -> None:
    clinician = await story.staff("hospital-b", "clinician", "clinician")
    other = await story.staff("hospital-c", "researcher", "other")
    asked = instantiate("data-permit", PERMIT, permit_terms(story))
    result = await story.act(clinician, asked)
    assert (result.reason, result.policies) == ("POLICY_DENIED", ())
    result = await story.act(other, asked)
    assert (result.reason, result.policies) == ("POLICY_DENIED", ("for-another-institution",))
    assert (await story.act(story.member("hospital-b"), asked)).reason == "POLICY_DENIED"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"purposes": []}, "purposes: "),
        ({"purposes": ["marketing"]}, "purposes: "),
        ({"data_sets": []}, "data_sets: "),
        ({"data_sets": ["cohort-2", "cohort-1"]}, "data_sets: "),
        ({"data_sets": ["oncology"]}, "data_sets: "),
        ({"outputs": ["rows"]}, "outputs: "),
        ({"user_member": ""}, "user_member: not a member"),
        ({"user_key": b"k" * 31}, "user_key: not bytes"),
        ({"minimum": 9}, "minimum: not between 10"),
        ({"releases_max": 1}, "releases_max: not between 2"),
        (
            {"holders": ["hospital-a", "hospital-b"], "threshold": 2, "approvals": 2},
            "holders: fewer than 3",
        ),
        ({"approvals": 2}, "approvals: not between"),
        ({"expires": 0}, "expires: not a time"),
    ],
)
async def test_terms_out_of_form_make_no_permit(
    story: Story, changed: dict[str, Value], message: str
) -> None:
    researcher = await story.staff("hospital-b", "researcher", "researcher")
    terms = permit_terms(story, **changed)
    result = await story.act(researcher, instantiate("data-permit", PERMIT, terms))
    assert result.reason == "TERMS_MALFORMED"
    assert result.message.startswith(message)


@pytest.mark.parametrize(
    ("permit", "study", "rule"),
    [
        ({}, {"data_set": "cohort-3"}, "permit-data-sets"),
        ({}, {"outputs": ["count", "sum"]}, "permit-outputs"),
        ({"minimum": 50}, {"minimum": 49}, "permit-minimum"),
        ({}, {"releases_max": 101}, "permit-quota"),
        ({"user_member": "hospital-b", "user_key": b"k" * 32}, {}, "permit-user"),
        ({"holders": list(MEMBERS[:3])}, {}, "permit-holders"),
    ],
)
async def test_a_study_beyond_its_permit_is_refused_with_the_rule(
    story: Story, permit: dict[str, Value], study: dict[str, Value], rule: str
) -> None:
    await granted(story, **permit)
    researcher = await story.staff("hospital-b", "researcher", "researcher")
    result = await story.act(researcher, instantiate("study", STUDY, study_terms(**study)))
    assert result.reason == "PERMIT_REFUSED"
    assert result.message.startswith(f"{rule}: ")
    assert await story.state(INSTANCE + STUDY) is None
    assert await story.state(depends_key(PERMIT, STUDY)) is None


async def test_a_researcher_of_another_institution_does_not_use_a_permit(story: Story) -> None:
    await granted(story)
    other = await story.staff("hospital-c", "researcher", "other")
    result = await story.act(other, instantiate("study", STUDY, study_terms()))
    assert result.reason == "PERMIT_REFUSED"
    assert result.message.startswith("permit-user: ")


async def test_a_permit_for_one_key_is_used_with_that_key(story: Story) -> None:
    one = await story.staff("hospital-b", "researcher", "one")
    another = await story.staff("hospital-b", "researcher", "another")
    await granted(story, user_key=one.public_key)
    result = await story.act(another, instantiate("study", STUDY, study_terms()))
    assert result.message.startswith("permit-user: ")
    await story.applied(one, instantiate("study", STUDY, study_terms()))


async def test_a_study_needs_a_granted_permit(story: Story) -> None:
    await applied_for(story)
    researcher = await story.staff("hospital-b", "researcher", "researcher")
    for permit in (PERMIT, bytes(16), STUDY):
        asked = instantiate("study", STUDY, study_terms(permit=permit))
        result = await story.act(researcher, asked)
        assert result.reason == "TERMS_MALFORMED"
        assert result.message.startswith("permit: ")


@pytest.mark.parametrize("state", ["proposed", *STEPS])
async def test_a_revoked_permit_cuts_its_study_in_the_same_block(story: Story, state: str) -> None:
    scene = await propose(story)
    await scene.advance_to(state)
    before = scene.order
    decided = await story.applied(story.member("hospital-d"), transition(PERMIT, "revoke"))
    assert (await state_of(story), await scene.at()) == ("revoked", "ended")
    assert [order.instruction for order in decided.orders][:2] == ["retire_key", "cut_studies"]
    retire = decided.orders[0]
    assert retire.instance == STUDY
    assert retire.arguments["cause"] == "permit-ended"
    assert (await scene.instance()).position.timer == 0
    if before is not None:  # what was ordered before leads nowhere now
        late = await scene.report("hospital-a", digest=digest("late"), order=before)
        assert late.reason in ("ORDER_NOT_CURRENT", "ORDER_UNKNOWN")
        assert await scene.at() == "ended"
    for member in MEMBERS:  # each says on the chain what it has destroyed
        done = report((retire.height, retire.index), True, digest("key", member))
        assert (await story.act(story.member(member), done)).applied


@pytest.mark.parametrize("state", ["proposed", "checking", "releasing"])
async def test_an_expired_permit_cuts_its_study_without_anybodys_act(
    story: Story, state: str
) -> None:
    expires = story.now + 3_000
    await granted(story, expires=expires)
    scene = await propose(story, step_seconds=86_400)
    await scene.advance_to(state)
    story.now = expires
    decided = await story.applied(story.member("hospital-a"), TICK)
    assert (await state_of(story), await scene.at()) == ("expired", "ended")
    assert [order.instruction for order in decided.orders][:2] == ["retire_key", "cut_studies"]
    refused = await story.act(scene.researcher, instantiate("study", b"2" * 16, study_terms()))
    assert refused.reason == "TERMS_MALFORMED"


async def test_who_applied_gives_a_permit_back_and_nobody_else_does(story: Story) -> None:
    applicant = await granted(story)
    scene = await propose(story)
    other = await story.act(scene.researcher, transition(PERMIT, "surrender"))
    assert other.reason == "POLICY_DENIED"
    await story.applied(applicant, transition(PERMIT, "surrender"))
    assert (await state_of(story), await scene.at()) == ("surrendered", "ended")


async def test_a_permit_is_revoked_by_its_holders_only(story: Story) -> None:
    applicant = await granted(story, holders=list(MEMBERS[:3]))
    for signer in (applicant, story.member("hospital-d")):
        assert (await story.act(signer, transition(PERMIT, "revoke"))).reason == "POLICY_DENIED"
    assert await state_of(story) == "granted"


async def test_every_study_of_a_permit_is_cut_and_no_other(story: Story) -> None:
    await granted(story, b"q" * 16)
    other = await propose(story, b"o" * 16, permit=b"q" * 16)
    studies = [await propose(story, bytes([number]) * 16) for number in (1, 2, 3)]
    await studies[1].advance_to("counting")
    decided = await story.applied(story.member("hospital-a"), transition(PERMIT, "revoke"))
    assert [await study.at() for study in studies] == ["ended"] * 3
    assert await other.at() == "proposed"
    retired = [o.instance for o in decided.orders if o.instruction == "retire_key"]
    assert retired == [study.study for study in studies]


async def test_a_study_that_has_ended_is_not_cut_again(story: Story) -> None:
    scene = await propose(story)
    await story.applied(scene.researcher, transition(STUDY, "withdraw"))
    decided = await story.applied(story.member("hospital-a"), transition(PERMIT, "revoke"))
    assert await scene.at() == "withdrawn"
    assert not [order for order in decided.orders if order.instruction == "retire_key"]


@pytest.mark.slow
async def test_at_most_32_studies_run_under_a_permit_at_once(story: Story) -> None:
    first = await propose(story, bytes([1]) * 16)
    researcher = first.researcher
    for number in range(2, 33):
        await story.applied(researcher, instantiate("study", bytes([number]) * 16, study_terms()))
    full = instantiate("study", bytes([33]) * 16, study_terms())
    result = await story.act(researcher, full)
    assert result.reason == "PERMIT_REFUSED"
    assert result.message.startswith("permit-studies: ")
    await story.applied(researcher, transition(first.study, "withdraw"))
    await story.applied(researcher, full)
    assert await story.state(depends_key(PERMIT, first.study)) is None
    decided = await story.applied(story.member("hospital-a"), transition(PERMIT, "revoke"))
    assert len([o for o in decided.orders if o.instruction == "retire_key"]) == 32


@pytest.mark.parametrize(("quota", "state"), [(2, "counts_ready"), (3, "checking")])
async def test_a_spent_quota_ends_the_next_study_before_it_encrypts_for_nothing(
    story: Story, quota: int, state: str
) -> None:
    await granted(story, releases_max=quota)
    first = await propose(story, releases_max=quota)
    await first.advance_to("released")
    second = await propose(story, b"2" * 16, releases_max=quota)
    await second.advance_to(state)
    order = second.order
    for member in MEMBERS[:3]:
        assert (await second.report(member, digest=digest("sum"), order=order)).applied
    assert await second.failure() == "BUDGET_SPENT"
    assert second.order is not None
    assert second.order.instruction == "retire_key"
    spent = await story.state(budget_key(f"{PERMIT.hex()}/cohort-1"))
    assert spent is not None
    assert budget_spent(spent) == quota


async def test_every_data_set_has_a_quota_of_its_own(story: Story) -> None:
    await granted(story, releases_max=2)
    await (await propose(story, releases_max=2)).advance_to("released")
    other = await propose(story, b"2" * 16, releases_max=2, data_set="cohort-2")
    await other.advance_to("released")
