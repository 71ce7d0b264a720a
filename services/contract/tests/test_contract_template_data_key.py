"""Data keys: how one is made and tried, how its columns are fixed, and how it ends."""

from __future__ import annotations

import pytest

from cipherward_chain.canonical import Value
from cipherward_chain.domains import ceremony_seed
from cipherward_contract.entries import DIGEST
from cipherward_contract.marks import budget_key, budget_spent, depends_key
from cipherward_contract.testing import MEMBERS, Story, instantiate, transition, vote
from cipherward_contract.testing_data_keys import (
    DAY,
    KEY,
    SCORE,
    granted_scores,
    key_terms,
    proposed_column_study,
    proposed_key,
    ready_key,
)
from cipherward_contract.testing_studies import digest

KEYING = (
    *("keying_commit", "keying_reveal", "keying_confirm", "keying_relin_first"),
    *("keying_relin_second", "keying_relin_combine", "keying_test_commit", "keying_test_open"),
)


@pytest.mark.slow
async def test_a_key_is_made_in_eight_steps_each_with_the_digests_of_the_one_before(
    story: Story,
) -> None:
    scene = await proposed_key(story)
    await scene.advance()
    steps: list[Value] = []
    before: Value = {}
    while (state := await scene.at()) in KEYING:
        order = scene.order
        assert order is not None
        asked = order.arguments
        assert order.instruction == "run_key_ceremony"
        assert (asked["profile"], asked["threshold"]) == ("product-1", 3)
        steps.append(asked["step"])
        if state not in ("keying_commit", "keying_reveal"):
            assert asked["reveals"] == before
        assert asked["set"] == (list(MEMBERS[:3]) if state == "keying_test_open" else [])
        await scene.advance()
        variables = (await scene.instance()).variables
        before = variables.get("reveals", {})
    assert steps == [state.removeprefix("keying_") for state in KEYING]
    assert await scene.at() == "enrolling"
    variables = (await scene.instance()).variables
    assert {"key_digest", "evaluation_digest", "test_digest"} <= set(variables)


async def test_the_slots_are_fixed_by_the_block_that_closes_enrolment(story: Story) -> None:
    scene = await proposed_key(story)
    await scene.advance_to("enrolling")
    due = (await scene.instance()).origin.terms["enrol_until"]
    assert (await scene.instance()).position.timer == due
    decided = await scene.overdue()
    (order,) = decided.orders
    assert order.instruction == "fix_columns"
    assert (order.arguments["step"], order.arguments["seed"]) == ("commit", b"")
    await scene.advance()
    order = scene.order
    assert order is not None
    variables = (await scene.instance()).variables
    assert order.arguments["step"] == "verify"
    assert order.arguments["commitments"] == variables["column_commitments"]
    assert order.arguments["seed"] == ceremony_seed("test-chain", order.height, KEY)


async def test_the_flags_are_opened_and_spend_a_release_of_the_key(story: Story) -> None:
    scene = await proposed_key(story)
    await scene.advance_to("opening_flags")
    order = scene.order
    assert order is not None
    assert order.instruction == "release_counts"
    assert (order.arguments["set"], order.arguments["source"]) == (list(MEMBERS[:3]), b"")
    opened = order.arguments["digest"]
    assert isinstance(opened, bytes)
    assert await story.state(DIGEST + opened) == KEY
    raw = await story.state(budget_key(f"{KEY.hex()}/releases"))
    assert raw is not None
    assert budget_spent(raw) == 1
    await scene.advance()
    assert await scene.at() == "ready"


async def test_a_flag_that_is_none_ends_the_key(story: Story) -> None:
    scene = await proposed_key(story)
    await scene.advance_to("opening_flags")
    order = scene.order
    for member in MEMBERS[:2]:
        await scene.report(member, done=False, order=order)
    assert await scene.at() == "failed"
    assert (await scene.instance()).variables["failure"] == "FLAGS_REFUSED"
    assert scene.order is not None
    assert (scene.order.instruction, scene.order.arguments["cause"]) == ("retire_key", "failed")


@pytest.mark.slow
async def test_a_dead_opening_is_tried_again_with_another_seed_three_times(story: Story) -> None:
    scene = await proposed_key(story)
    await scene.advance_to("opening_flags")
    seeds: set[Value] = set()
    for _ in range(3):
        await scene.overdue()
        assert await scene.at() == "checking_flags"
        assert scene.order is not None
        seeds.add(scene.order.arguments["seed"])
        await scene.advance()
    assert len(seeds) == 3
    await scene.overdue()
    assert await scene.at() == "failed"
    assert (await scene.instance()).variables["failure"] == "RELEASE_DEAD"


@pytest.mark.parametrize("state", [*KEYING, "fixing", "checking_flags"])
async def test_a_missed_deadline_ends_the_key_and_names_the_silent(
    story: Story, state: str
) -> None:
    scene = await proposed_key(story)
    await scene.advance_to(state)
    await scene.report("hospital-c", digest=digest("in time"))
    decided = await scene.overdue()
    assert await scene.at() == "failed"
    variables = (await scene.instance()).variables
    assert variables["failure"] == "DEADLINE_PASSED"
    assert variables["silent"] == ["hospital-a", "hospital-b", "hospital-d"]
    assert [order.instruction for order in decided.orders] == ["retire_key"]


@pytest.mark.parametrize("state", ["proposed", "keying_confirm", "enrolling", "fixing"])
async def test_any_member_withdraws_from_a_key_that_is_not_ready(story: Story, state: str) -> None:
    scene = await proposed_key(story)
    await scene.advance_to(state)
    await scene.act(story.member("hospital-d"), transition(KEY, "withdraw"))
    assert await scene.at() == "withdrawn"


async def test_a_ready_key_is_retired_by_vote_and_not_by_one(story: Story) -> None:
    scene = await ready_key(story)
    refused = await story.act(story.member("hospital-d"), transition(KEY, "withdraw"))
    assert refused.reason == "STATE_FORBIDS"
    for member, approve in (("hospital-a", True), ("hospital-b", False), ("hospital-c", False)):
        await scene.act(story.member(member), vote(KEY, "retire", approve))
    assert await scene.at() == "ready"
    assert (await scene.instance()).variables["votes"] == {}
    for member in MEMBERS[:3]:
        await scene.act(story.member(member), vote(KEY, "retire", True))
    assert await scene.at() == "retired"
    assert scene.order is not None
    assert (scene.order.instruction, scene.order.arguments["cause"]) == ("retire_key", "retired")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["expired", "retired"])
async def test_what_computes_with_a_key_ends_with_it_in_the_same_block(
    story: Story, how: str
) -> None:
    key = await ready_key(story, enrol_until=story.now + 600, expires=story.now + 3_000)
    study, _ = await proposed_column_study(key, step_seconds=86_400)
    await study.advance_to("checking")
    scores = await granted_scores(key, expires=story.now + 2 * DAY)
    if how == "expired":
        decided = await key.overdue()
    else:
        for member in MEMBERS[:2]:
            await key.act(story.member(member), vote(KEY, "retire", True))
        decided = await key.act(story.member("hospital-c"), vote(KEY, "retire", True))
    assert [await one.at() for one in (key, study, scores)] == ["retired", "ended", "ended"]
    causes = {o.instance: o.arguments["cause"] for o in decided.orders if "cause" in o.arguments}
    assert causes == {KEY: how, study.id: "key-ended", SCORE: "key-ended"}
    assert await story.state(depends_key(KEY, study.id)) is None


@pytest.mark.slow
async def test_a_key_with_nothing_left_ends_when_the_last_that_used_it_has_ended(
    story: Story,
) -> None:
    key = await ready_key(story, releases_max=3)  # one is spent on its flags
    study, _ = await proposed_column_study(key)
    other, researcher = await proposed_column_study(key, b"d" * 16)
    await study.advance_to("released")
    assert (await key.at(), await other.at()) == ("ready", "proposed")
    await other.advance_to("counts_ready")
    order = other.order
    for member in MEMBERS[:3]:
        await other.report(member, digest=digest("more"), order=order)
    assert (await other.instance()).variables["failure"] == "BUDGET_SPENT"
    assert await key.at() == "retired"
    late = await story.act(researcher, transition(other.id, "withdraw"))
    assert late.reason == "STATE_FORBIDS"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"members": ["hospital-a", "hospital-b"], "threshold": 2, "approvals": 2}, "members: "),
        ({"threshold": 2}, "threshold: "),
        ({"minimum": 9}, "minimum: "),
        ({"year": 26}, "year: "),
        ({"releases_max": 1}, "releases_max: "),
        ({"enrol_until": 1}, "enrol_until: "),
        ({"data_set": "diabetes"}, "data_set: "),
    ],
)
async def test_terms_out_of_form_make_no_key(
    story: Story, changed: dict[str, Value], message: str
) -> None:
    act = instantiate("data-key", KEY, key_terms(story, **changed))
    result = await story.act(story.member("hospital-a"), act)
    assert result.reason == "TERMS_MALFORMED"
    assert result.message.startswith(message)


async def test_a_key_is_proposed_by_its_members_and_ends_after_it_is_ready(story: Story) -> None:
    researcher = await story.staff("hospital-b", "researcher", "researcher")
    result = await story.act(researcher, instantiate("data-key", KEY, key_terms(story)))
    assert result.reason == "POLICY_DENIED"
    others = key_terms(story, members=list(MEMBERS[1:]), threshold=3)
    result = await story.act(story.member("hospital-a"), instantiate("data-key", KEY, others))
    assert result.reason == "POLICY_DENIED"
    short = key_terms(story, expires=story.now + DAY)
    result = await story.act(story.member("hospital-a"), instantiate("data-key", KEY, short))
    assert (result.reason, result.policies) == ("POLICY_DENIED", ("ends-before-it-is-ready",))


async def test_members_that_make_another_evaluation_key_cannot_go_on(story: Story) -> None:
    scene = await proposed_key(story)
    await scene.advance_to("keying_relin_combine")
    order = scene.order
    for member, made in zip(MEMBERS, ("one", "two", "one", "two"), strict=True):
        if await scene.at() == "failed":
            break
        await scene.report(member, digest=digest(made), order=order)
    assert (await scene.instance()).variables["failure"] == "DISAGREED"
