"""The flow of a study: from its proposal to the release, and every way in which it ends before."""

from __future__ import annotations

import pytest

from cipherward_chain.canonical import Value
from cipherward_chain.domains import ceremony_seed
from cipherward_contract.entries import DIGEST
from cipherward_contract.testing import (
    MEMBERS,
    TICK,
    Story,
    instantiate,
    report,
    transition,
    vote,
)
from cipherward_contract.testing_studies import (
    OUTPUTS,
    STEPS,
    STUDY,
    StudyScene,
    digest,
    granted,
    propose,
    study_terms,
)


@pytest.fixture
async def scene(story: Story) -> StudyScene:
    return await propose(story)


# A missed deadline there is the end of an attempt, not of the study.
RETRIED = ("checking", "releasing")


def study_digest(state: str, *rest: str) -> bytes:
    return digest(f"{STUDY.hex()}/{state}", *rest)


@pytest.mark.slow
async def test_a_study_runs_from_its_proposal_to_the_release(scene: StudyScene) -> None:
    await scene.advance_to("keying_commit")
    order = scene.order
    assert order is not None
    ceremony: dict[str, Value] = {
        "study": STUDY,
        "step": "commit",
        "members": list(MEMBERS),
        "threshold": 3,
        "profile": "additive-1",
        "seed": ceremony_seed("test-chain", order.height, STUDY),
        "commitments": {},
        "reveals": {},
        "set": [],
    }
    assert (order.instruction, order.arguments) == ("run_key_ceremony", ceremony)
    commitments = {m: study_digest("keying_commit", m) for m in MEMBERS}
    await scene.advance_to("keying_reveal")
    ceremony |= {"step": "reveal", "commitments": commitments}
    assert scene.order is not None
    assert scene.order.arguments == ceremony
    await scene.advance_to("keying_confirm")
    reveals = {m: study_digest("keying_reveal", m) for m in MEMBERS}
    ceremony |= {"step": "confirm", "reveals": reveals}
    assert scene.order.arguments == ceremony
    await scene.advance_to("counting")
    start: dict[str, Value] = {
        "study": STUDY,
        "stage": "counts",
        "step": "commit",
        "members": list(MEMBERS),
        "threshold": 3,
        "minimum": 10,
        "spec_digest": digest("spec"),
        "data_set": "cohort-1",
        "outputs": list(OUTPUTS),
        "requester_key_digest": digest("requester"),
        "key_digest": study_digest("keying_confirm"),
        "commitments": {},
        "round": 0,
        "iterate": b"",
        "verdicts": {},
        "source": b"",
        "digest": b"",
    }
    assert (scene.order.instruction, scene.order.arguments) == ("start_study", start)
    await scene.advance_to("counts_ready")
    counts = {m: study_digest("counting", m) for m in MEMBERS}
    assert scene.order.arguments == start | {"step": "verify", "commitments": counts}
    await scene.advance_to("checking")
    assert scene.order.instruction == "release_counts"
    assert scene.order.arguments == {
        "study": STUDY,
        "members": list(MEMBERS),
        "set": list(MEMBERS[:3]),
        "digest": study_digest("counts_ready"),
        "threshold": 3,
        "minimum": 10,
        "key_digest": study_digest("keying_confirm"),
        "source": b"",
    }
    await scene.advance_to("valuing")
    verdicts = {m: study_digest("checking", m) for m in MEMBERS[:3]}
    start |= {"stage": "values", "round": 1, "verdicts": verdicts}
    assert scene.order.arguments == start
    await scene.advance_to("values_ready")
    values = {m: study_digest("valuing", m) for m in MEMBERS}
    assert scene.order.arguments == start | {"step": "verify", "commitments": values}
    await scene.advance_to("releasing")
    assert scene.order.instruction == "release_result"
    assert scene.order.arguments == {
        "study": STUDY,
        "members": list(MEMBERS),
        "set": list(MEMBERS[:3]),
        "digest": study_digest("values_ready"),
        "requester_key_digest": digest("requester"),
        "key_digest": study_digest("keying_confirm"),
        "threshold": 3,
        "round": 1,
        "source": b"",
    }
    await scene.advance_to("released")
    assert scene.order.instruction == "retire_key"
    retired: dict[str, Value] = {"study": STUDY, "members": list(MEMBERS), "cause": "released"}
    assert scene.order.arguments == retired
    assert await scene.story.state(DIGEST + study_digest("values_ready")) == STUDY
    assert (await scene.instance()).position.timer == 0


async def test_the_set_is_the_first_members_that_agree_sorted(scene: StudyScene) -> None:
    await scene.advance_to("counts_ready")
    order = scene.order
    sum_digest = digest("sum")
    await scene.report("hospital-d", digest=sum_digest, order=order)
    await scene.report("hospital-b", digest=digest("another sum"), order=order)
    await scene.report("hospital-c", digest=sum_digest, order=order)
    assert await scene.at() == "counts_ready"
    await scene.report("hospital-a", digest=sum_digest, order=order)
    assert await scene.at() == "checking"
    assert scene.order is not None
    assert scene.order.arguments["set"] == ["hospital-a", "hospital-c", "hospital-d"]
    assert scene.order.arguments["digest"] == sum_digest


async def test_a_report_after_the_decision_is_refused_and_changes_nothing(
    scene: StudyScene,
) -> None:
    await scene.advance_to("counts_ready")
    order = scene.order
    for member in MEMBERS[:3]:
        await scene.report(member, digest=digest("sum"), order=order)
    result = await scene.report("hospital-d", digest=digest("sum"), order=order)
    assert result.reason == "ORDER_NOT_CURRENT"
    assert await scene.at() == "checking"


async def test_reports_are_by_named_members_once(scene: StudyScene) -> None:
    await scene.advance_to("releasing")
    assert (await scene.report("hospital-d", digest=digest("x"))).reason == "NOT_NAMED"
    assert (await scene.report("hospital-a", digest=digest("x"))).applied
    assert (await scene.report("hospital-a", digest=digest("y"))).reason == "ALREADY_REPORTED"
    assert (await scene.report("hospital-b")).reason == "DIGEST_REQUIRED"
    order = scene.order
    assert order is not None
    stranger = report((order.height, order.index), True, digest("x"))
    assert (await scene.story.act(scene.researcher, stranger)).reason == "NOT_NAMED"
    nowhere = report((order.height, order.index + 7), True, digest("x"))
    result = await scene.story.act(scene.story.member("hospital-a"), nowhere)
    assert result.reason == "ORDER_UNKNOWN"


async def test_a_report_of_an_earlier_step_is_refused(scene: StudyScene) -> None:
    await scene.advance_to("keying_commit")
    first = scene.order
    for member in MEMBERS[:3]:
        await scene.report(member, digest=digest("commitment"), order=first)
    await scene.report(MEMBERS[3], digest=digest("commitment"), order=first)
    assert await scene.at() == "keying_reveal"
    result = await scene.report("hospital-a", digest=digest("again"), order=first)
    assert result.reason == "ALREADY_REPORTED"


@pytest.mark.parametrize("state", [state for state in STEPS if state != "checking"])
async def test_one_failed_member_ends_the_study(scene: StudyScene, state: str) -> None:
    await scene.advance_to(state)
    assert (await scene.report("hospital-a", done=False)).applied
    assert await scene.failure() == "MEMBER_FAILED"
    assert scene.order is not None
    assert scene.order.instruction == "retire_key"


@pytest.mark.parametrize("state", ["keying_confirm", "counts_ready", "values_ready"])
async def test_members_that_cannot_agree_end_the_study(scene: StudyScene, state: str) -> None:
    await scene.advance_to(state)
    order = scene.order
    for member, made in zip(MEMBERS, ("one", "two", "one", "two"), strict=True):
        if await scene.at() == "failed":
            break
        await scene.report(member, digest=digest(made), order=order)
    assert await scene.failure() == "DISAGREED"
    assert scene.order is not None
    assert scene.order.instruction == "retire_key"


async def test_one_member_may_find_the_cohort_too_small_two_may_not(scene: StudyScene) -> None:
    await scene.advance_to("checking")
    order = scene.order
    await scene.report("hospital-a", done=False, order=order)
    assert await scene.at() == "checking"
    await scene.report("hospital-b", done=False, order=order)
    assert await scene.failure() == "COHORT_TOO_SMALL"
    assert scene.order is not None
    assert scene.order.instruction == "retire_key"


async def test_three_passes_outvote_one_failure(scene: StudyScene) -> None:
    await scene.advance_to("checking")
    order = scene.order
    await scene.report("hospital-a", done=False, order=order)
    for member in MEMBERS[1:]:
        await scene.report(member, digest=digest("no cell failed"), order=order)
    assert await scene.at() == "valuing"


@pytest.mark.parametrize("state", [one for one in STEPS if one not in RETRIED])
async def test_a_missed_deadline_ends_the_study(scene: StudyScene, state: str) -> None:
    await scene.advance_to(state)
    entered = (await scene.instance()).position.timer - 60
    scene.story.now = entered + 59
    await scene.story.applied(scene.story.member("hospital-a"), TICK)
    assert await scene.at() == state
    decided = await scene.story.applied(scene.story.member("hospital-a"), TICK)
    assert await scene.failure() == "DEADLINE_PASSED"
    assert [order.instruction for order in decided.orders] == ["retire_key"]


async def test_a_study_that_nobody_approves_lapses_without_orders(scene: StudyScene) -> None:
    scene.story.now += 60
    decided = await scene.story.applied(scene.story.member("hospital-a"), TICK)
    assert await scene.failure() == "DEADLINE_PASSED"
    assert not decided.orders


async def test_a_vote_may_be_changed_until_it_decides(scene: StudyScene) -> None:
    assert (await scene.vote("hospital-a", approve=False)).policies == ("member-votes",)
    for member in ("hospital-a", "hospital-b", "hospital-b"):  # twice is once
        await scene.vote(member)
        assert await scene.at() == "proposed"
    await scene.vote("hospital-c")
    assert await scene.at() == "keying_commit"
    assert (await scene.vote("hospital-d")).reason == "STATE_FORBIDS"


async def test_a_study_that_cannot_be_approved_any_more_is_rejected(scene: StudyScene) -> None:
    await scene.vote("hospital-a", approve=False)
    assert await scene.at() == "proposed"
    await scene.vote("hospital-b", approve=False)
    assert await scene.at() == "rejected"
    assert scene.order is None


async def test_members_of_the_study_vote_and_nobody_else(scene: StudyScene) -> None:
    three = await propose(
        scene.story, b"t" * 16, members=list(MEMBERS[:3]), threshold=3, approvals=3
    )
    assert (await three.vote("hospital-d")).reason == "POLICY_DENIED"
    act = vote(three.study, "approve", True)
    assert (await scene.story.act(three.researcher, act)).reason == "POLICY_DENIED"
    unknown = vote(three.study, "withdraw", True)
    result = await scene.story.act(scene.story.member("hospital-a"), unknown)
    assert result.reason == "TRANSITION_UNKNOWN"


@pytest.mark.parametrize("state", ["proposed", "counting", "releasing"])
@pytest.mark.parametrize("by", ["researcher", "hospital-c"])
async def test_the_researcher_or_a_member_withdraws(scene: StudyScene, state: str, by: str) -> None:
    await scene.advance_to(state)
    story = scene.story
    signer = scene.researcher if by == "researcher" else story.member(by)
    decided = await story.applied(signer, transition(STUDY, "withdraw"))
    assert await scene.at() == "withdrawn"
    assert [order.instruction for order in decided.orders] == ["retire_key"]
    assert (await scene.instance()).position.timer == 0


async def test_another_researcher_does_not_withdraw(scene: StudyScene) -> None:
    other = await scene.story.staff("hospital-b", "researcher", "other")
    result = await scene.story.act(other, transition(STUDY, "withdraw"))
    assert result.reason == "POLICY_DENIED"


async def test_the_researchers_key_of_an_ended_epoch_still_withdraws(story: Story) -> None:
    start = story.now
    await granted(story)
    story.now = start + story.genesis.parameters.epoch_seconds - 10
    scene = await propose(story)
    assert story.genesis.epoch_at(start) == story.genesis.epoch_at(story.now) == 1
    story.now += 20
    assert story.genesis.epoch_at(story.now) == 2
    refused = await story.act(scene.researcher, instantiate("study", b"2" * 16, study_terms()))
    assert refused.reason == "EPOCH_OVER"
    await story.applied(scene.researcher, transition(STUDY, "withdraw"))
    assert await scene.at() == "withdrawn"


@pytest.mark.parametrize("state", ["counts_ready", "values_ready"])
async def test_a_ciphertext_is_released_once_whatever_the_study(
    scene: StudyScene, state: str
) -> None:
    await scene.advance_to(state)
    order, made = scene.order, digest("the same sum")
    for member in MEMBERS[:3]:
        await scene.report(member, digest=made, order=order)
    second = await propose(scene.story, b"2" * 16)
    await second.advance_to(state)
    order = second.order
    for member in MEMBERS[:3]:
        await second.report(member, digest=made, order=order)
    assert await second.failure() == "DIGEST_RELEASED"
    assert second.order is not None
    assert second.order.instruction == "retire_key"
    assert await scene.story.state(DIGEST + made) == STUDY


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"members": ["hospital-a", "hospital-b"], "threshold": 2, "approvals": 2},
            "members: fewer than 3",
        ),
        ({"members": ["hospital-b", "hospital-a", "hospital-c"]}, "members: not a sorted list"),
        ({"members": ["hospital-a"] * 3}, "members: not a sorted list"),
        ({"members": ["hospital-a", "hospital-b", "hospital-x"]}, "members: not all are members"),
        ({"threshold": 2}, "threshold: not the quorum"),
        ({"threshold": 4, "approvals": 4}, "threshold: not the quorum"),
        ({"approvals": 2}, "approvals: not between"),
        ({"approvals": 5}, "approvals: not between"),
        ({"minimum": 9}, "minimum: not between 10"),
        ({"spec_digest": b""}, "spec_digest: not bytes"),
        ({"step_seconds": 29}, "step_seconds: not between 30"),
        ({"data_set": "diabetes"}, "data_set: not"),
        ({"outputs": []}, "outputs: "),
        ({"outputs": ["mean", "count"]}, "outputs: "),
        ({"outputs": ["median"]}, "outputs: "),
        ({"permit": bytes(16)}, "permit: "),
        ({"permit": b""}, "permit: "),
        ({"releases_max": 1}, "releases_max: not between 2"),
    ],
)
async def test_terms_out_of_form_make_no_study(
    story: Story, changed: dict[str, Value], message: str
) -> None:
    await granted(story)
    researcher = await story.staff("hospital-b", "researcher", "researcher")
    result = await story.act(researcher, instantiate("study", STUDY, study_terms(**changed)))
    assert result.reason == "TERMS_MALFORMED"
    assert result.message.startswith(message)


async def test_only_researchers_propose(story: Story) -> None:
    await granted(story)
    clinician = await story.staff("hospital-b", "clinician", "clinician")
    for signer in (clinician, story.member("hospital-b")):
        result = await story.act(signer, instantiate("study", STUDY, study_terms()))
        assert (result.reason, result.policies) == ("POLICY_DENIED", ())
