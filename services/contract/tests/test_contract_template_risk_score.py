"""Risk scores: granted once, asked by one hospital, the mask before the scores, to its own key."""

from __future__ import annotations

import pytest

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.canonical import Value
from cipherward_contract.marks import budget_key, budget_spent
from cipherward_contract.testing import MEMBERS, Story, instantiate, transition
from cipherward_contract.testing_data_keys import (
    DAY,
    KEY,
    SCORE,
    KeyScene,
    granted_scores,
    ready_key,
    score_terms,
)
from cipherward_contract.testing_studies import digest

HOSPITAL = "hospital-b"


def infer(use: str = "first") -> pb.Act:
    return transition(SCORE, "infer", request=digest(use), requester_key_digest=digest("key", use))


@pytest.fixture
async def scores(story: Story) -> KeyScene:
    return await granted_scores(await ready_key(story))


async def releases(story: Story) -> int:
    raw = await story.state(budget_key(f"{KEY.hex()}/releases"))
    return 0 if raw is None else budget_spent(raw)


def ordered(scene: KeyScene, *names: str) -> dict[str, Value]:
    assert scene.order is not None
    return {name: scene.order.arguments[name] for name in names}


@pytest.mark.slow
async def test_every_use_has_a_mask_a_key_and_a_number_of_its_own(scores: KeyScene) -> None:
    story = scores.story
    for number, use in enumerate(("first", "second"), 1):
        await scores.act(story.member(HOSPITAL), infer(use))
        assert await scores.at() == "masking"
        wanted: dict[str, Value] = {
            "step": "commit",
            "stage": "counts",
            "members": [HOSPITAL],
            "round": number,
            "iterate": digest(use),
            "source": KEY,
        }
        assert ordered(scores, *wanted) == wanted
        await scores.advance()
        commitments = (await scores.instance()).variables["mask_commitments"]
        wanted = {"step": "verify", "members": list(MEMBERS), "commitments": commitments}
        assert ordered(scores, *wanted) == wanted
        assert isinstance(commitments, dict)
        assert set(commitments) == {HOSPITAL}
        await scores.advance_to("scoring")
        assert ordered(scores, "stage", "step") == {"stage": "values", "step": "verify"}
        await scores.advance_to("releasing")
        wanted = {"requester_key_digest": digest("key", use), "round": number, "source": KEY}
        assert ordered(scores, *wanted) == wanted
        await scores.advance_to("granted")
    assert await releases(story) == 1 + 2 * 3
    result = await story.act(story.member(HOSPITAL), infer("third"))
    assert (result.reason, result.policies) == ("POLICY_DENIED", ("used-up",))


async def test_nobody_else_asks_for_a_score(scores: KeyScene) -> None:
    story = scores.story
    clinician = await story.staff(HOSPITAL, "clinician", "clinician")
    for signer in (clinician, *(story.member(name) for name in MEMBERS if name != HOSPITAL)):
        assert (await story.act(signer, infer())).reason == "POLICY_DENIED"
    assert await scores.at() == "granted"


async def test_a_mask_of_others_patients_gives_no_scores_and_spends_the_use(
    scores: KeyScene,
) -> None:
    story = scores.story
    await scores.act(story.member(HOSPITAL), infer())
    await scores.advance_to("checking")
    order = scores.order
    for member in ("hospital-a", "hospital-c"):
        await scores.report(member, done=False, order=order)
    instance = await scores.instance()
    assert instance.position.state == "granted"
    assert (instance.variables["failure"], instance.uses) == ("MASK_REFUSED", 1)
    assert await releases(story) == 1 + 3
    await scores.act(story.member(HOSPITAL), infer("second"))
    assert (await scores.instance()).variables["failure"] == ""


@pytest.mark.parametrize("state", ["masking", "mask_ready", "checking", "scoring", "releasing"])
async def test_a_use_that_is_late_is_over_and_another_may_follow(
    scores: KeyScene, state: str
) -> None:
    story = scores.story
    await scores.act(story.member(HOSPITAL), infer())
    await scores.advance_to(state)
    late = scores.order
    await scores.overdue()
    instance = await scores.instance()
    assert instance.position.state == "granted"
    assert instance.variables["failure"] == "DEADLINE_PASSED"
    assert instance.variables["silent"]
    refused = await scores.report(HOSPITAL, digest=digest("late"), order=late)
    assert refused.reason in ("ORDER_NOT_CURRENT", "ORDER_UNKNOWN")
    await scores.act(story.member(HOSPITAL), infer("second"))


async def test_a_key_with_two_releases_left_gives_no_score(story: Story) -> None:
    scores = await granted_scores(await ready_key(story, releases_max=3))
    result = await story.act(story.member(HOSPITAL), infer())
    assert result.reason == "BUDGET_SPENT"
    assert await scores.at() == "granted"


async def test_a_grant_ends_at_its_time_even_while_it_is_used(scores: KeyScene) -> None:
    story = scores.story
    story.now = (await scores.instance()).position.timer - 20
    await scores.act(story.member(HOSPITAL), infer())
    await scores.overdue()
    assert await scores.at() == "granted"
    await scores.overdue()  # the block's timers come before what the hospital would ask
    assert await scores.at() == "expired"
    result = await story.act(story.member(HOSPITAL), infer("second"))
    assert result.reason == "STATE_FORBIDS"
    assert ordered(scores, "study", "cause") == {"study": SCORE, "cause": "expired"}


@pytest.mark.parametrize("state", ["granted", "masking", "releasing"])
async def test_any_member_ends_a_grant(scores: KeyScene, state: str) -> None:
    story = scores.story
    if state != "granted":
        await scores.act(story.member(HOSPITAL), infer())
    await scores.advance_to(state)
    await scores.act(story.member("hospital-d"), transition(SCORE, "give_up"))
    assert await scores.at() == "revoked"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"hospital": ["hospital-a", "hospital-b"]}, "TERMS_MALFORMED"),
        ({"hospital": []}, "TERMS_MALFORMED"),
        ({"uses_max": 0}, "TERMS_MALFORMED"),
        ({"hospital": ["hospital-c"]}, "POLICY_DENIED"),
        ({"key_digest": digest("another")}, "KEY_REFUSED"),
    ],
)
async def test_scores_out_of_form_or_for_another_are_not_proposed(
    story: Story, changed: dict[str, Value], reason: str
) -> None:
    terms = await score_terms(await ready_key(story), **changed)
    result = await story.act(story.member(HOSPITAL), instantiate("risk-score", SCORE, terms))
    assert result.reason == reason


async def test_scores_are_granted_by_enough_members_in_time(story: Story) -> None:
    key = await ready_key(story)
    scene = KeyScene(story, SCORE)
    terms = await score_terms(key, expires=story.now + DAY)
    await scene.act(story.member(HOSPITAL), instantiate("risk-score", SCORE, terms))
    assert (await story.act(story.member(HOSPITAL), infer())).reason == "STATE_FORBIDS"
    await scene.overdue()
    assert await scene.at() == "failed"
