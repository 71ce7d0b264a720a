"""Resharings of a data key: who begins one, each step, the hand-over, and all that ends by it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from cipherward_chain.canonical import Value
from cipherward_chain.domains import ceremony_seed
from cipherward_chain.key_holders import KeyHolders, key_holders_key
from cipherward_chain.orders import Order
from cipherward_contract.marks import budget_key, budget_spent, depends_key
from cipherward_contract.templates.values import member_list
from cipherward_contract.testing import (
    MEMBERS,
    Story,
    contract_genesis,
    instantiate,
    open_story,
    report,
    transition,
)
from cipherward_contract.testing_data_keys import (
    KEY,
    KEY_RELEASES,
    RESHARING,
    STUDY,
    KeyScene,
    column_terms,
    granted_scores,
    handed_over,
    proposed_column_study,
    proposed_resharing,
    ready_key,
    resharing_terms,
)
from cipherward_contract.testing_registry import removed
from cipherward_contract.testing_studies import digest, granted

NEWCOMER = "hospital-e"
OTHERS = ("hospital-a", "hospital-b", "hospital-c", NEWCOMER)
# The states in which members work, in their order, and the step that each waits for.
STEPS = {
    "readying": "ready",
    "dealing": "deal",
    "answering": "answer",
    "confirming": "confirm",
    "giving": "test",
    "opening": "open",
}


@pytest.fixture
async def story(tmp_path: Path) -> AsyncGenerator[Story]:
    """A chain of five members; the fifth has never had a share."""
    genesis, keys = contract_genesis(members=5)
    async with open_story(tmp_path, genesis, keys) as opened:
        yield opened


@pytest.fixture
async def key(story: Story) -> KeyScene:
    return await ready_key(story)


async def releases(story: Story) -> int:
    raw = await story.state(budget_key(f"{KEY.hex()}/releases"))
    assert raw is not None  # its flags were opened
    return budget_spent(raw)


async def holders(story: Story) -> KeyHolders | None:
    raw = await story.state(key_holders_key(KEY))
    return None if raw is None else KeyHolders.from_bytes(raw)


async def test_a_key_goes_over_in_six_steps_each_with_what_the_one_before_has_left(
    key: KeyScene,
) -> None:
    story, variables = key.story, (await key.instance()).variables
    scene = await proposed_resharing(key, OTHERS)
    await scene.advance()
    for state, step in STEPS.items():
        assert await scene.at() == state
        left = (await scene.instance()).variables
        order = scene.order
        assert order is not None
        assert order.instruction == "reshare_key"
        is_first, is_tried = state == "readying", state in ("giving", "opening")
        reveals = {"confirming": "checks", "giving": "checks", "opening": "shares"}.get(state)
        later = state not in ("readying", "dealing")
        acts = {"readying": MEMBERS, "dealing": MEMBERS[:3]}.get(state, OTHERS)
        assert order.arguments == {
            "study": RESHARING,
            "source": KEY,
            "step": step,
            "members": list(acts),
            "holders": list(MEMBERS),
            "new": list(OTHERS),
            "dealers": [] if is_first else list(MEMBERS[:3]),
            "threshold": 3,
            "seed": left["test_seed"] if is_tried else b"",
            "commitments": left["commitments"] if later else {},
            "reveals": left[reveals] if reveals else {},
            # besides, what a new holder holds against what it is given
            "key_digest": variables["key_digest"],
            "evaluation_digest": variables["evaluation_digest"],
            "spec_digest": digest("columns"),
            "column_commitments": variables["column_commitments"],
        }
        if state == "giving":
            assert order.arguments["seed"] == ceremony_seed("test-chain", order.height, RESHARING)
        assert await holders(story) is None
        await scene.advance()
    assert await scene.at() == "handed_over"
    order = scene.order
    assert order is not None
    assert order.instruction == "hand_over_key"
    assert order.arguments == {
        "study": RESHARING,
        "source": KEY,
        "holders": list(MEMBERS),
        "new": list(OTHERS),
        "threshold": 3,
        "members": [*MEMBERS, NEWCOMER],
        "key_digest": variables["key_digest"],
    }
    assert await holders(story) == KeyHolders(OTHERS, 3, RESHARING)
    assert await key.at() == "ready"


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"holders": list(MEMBERS[:3])}, "sharing-holders"),
        ({"holders": [*MEMBERS, NEWCOMER]}, "sharing-holders"),
        ({"old_threshold": 4, "approvals": 4}, "sharing-threshold"),
        ({"key_digest": digest("another key")}, "key-digest"),
        ({"key_releases_max": KEY_RELEASES + 1}, "key-quota"),
        ({"data_set": "cohort-2"}, "key-data-set"),
    ],
)
async def test_what_is_said_of_the_key_and_its_holders_must_be_so(
    key: KeyScene, changed: dict[str, Value], rule: str
) -> None:
    terms = await resharing_terms(key, OTHERS, **changed)
    act = instantiate("key-resharing", RESHARING, terms)
    result = await key.story.act(key.story.member("hospital-a"), act)
    assert result.reason == "KEY_REFUSED"
    assert result.message.startswith(f"{rule}: ")
    assert await key.story.state(depends_key(KEY, RESHARING)) is None


async def test_a_smaller_minimum_than_the_keys_is_refused(story: Story) -> None:
    key = await ready_key(story, minimum=50)
    terms = await resharing_terms(key, OTHERS, minimum=49)
    act = instantiate("key-resharing", RESHARING, terms)
    result = await story.act(story.member("hospital-a"), act)
    assert (result.reason, result.message.split(":")[0]) == ("KEY_REFUSED", "key-minimum")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"members": ["hospital-a", "hospital-b", "hospital-x"]}, "members: not all are members"),
        (
            {"members": ["hospital-a", "hospital-b"], "threshold": 2},
            "members: fewer than 3 members",
        ),
        ({"threshold": 4}, "threshold: not the quorum of members"),
        ({"approvals": 2}, "approvals: not between old_threshold and the number of holders"),
        ({"old_threshold": 2}, "old_threshold: not between 3 and 64"),
        ({"key_digest": b"short"}, "key_digest: not a digest of 32 bytes"),
        ({"step_seconds": 29}, "step_seconds: not between 30 and 86400"),
    ],
)
async def test_terms_out_of_form_begin_no_resharing(
    key: KeyScene, changed: dict[str, Value], message: str
) -> None:
    terms = await resharing_terms(key, OTHERS, **changed)
    act = instantiate("key-resharing", RESHARING, terms)
    result = await key.story.act(key.story.member("hospital-a"), act)
    assert (result.reason, result.message) == ("TERMS_MALFORMED", message)


@pytest.mark.slow
async def test_at_most_ten_members_come_to_hold_a_key(tmp_path: Path) -> None:
    genesis, keys = contract_genesis(members=11)
    async with open_story(tmp_path, genesis, keys) as story:
        key = await ready_key(story)
        for count, reason in ((11, "TERMS_MALFORMED"), (10, "")):
            terms = await resharing_terms(key, sorted(genesis.members)[:count])
            act = instantiate("key-resharing", RESHARING, terms)
            assert (await story.act(story.member("hospital-a"), act)).reason == reason


async def test_nobody_but_a_holder_begins_a_resharing_or_decides_it(key: KeyScene) -> None:
    story = key.story
    begin = instantiate("key-resharing", RESHARING, await resharing_terms(key, OTHERS))
    researcher = await story.staff("hospital-b", "researcher", "researcher")
    for nobody in (researcher, story.member(NEWCOMER)):
        assert (await story.act(nobody, begin)).reason == "POLICY_DENIED"
    scene = await proposed_resharing(key, OTHERS)
    decided = await scene.vote("approve", [NEWCOMER])
    assert decided.results[0].reason == "POLICY_DENIED"
    await scene.vote("approve", MEMBERS[:2])
    assert await scene.at() == "proposed"
    decided = await scene.vote("approve", ["hospital-d"])
    assert await scene.at() == "readying"
    assert (await scene.instance()).variables["votes"] == {}
    assert [order.instruction for order in decided.orders] == ["reshare_key"]


async def test_a_resharing_of_a_key_that_is_not_ready_is_refused(key: KeyScene) -> None:
    terms = await resharing_terms(key, OTHERS)
    await key.vote("retire", MEMBERS[:3])
    act = instantiate("key-resharing", RESHARING, terms)
    result = await key.story.act(key.story.member("hospital-a"), act)
    assert (result.reason, result.message) == (
        "TERMS_MALFORMED",
        "source: the contract is retired",
    )


async def test_a_resharing_is_one_of_the_32_contracts_that_end_with_a_key(key: KeyScene) -> None:
    story, member = key.story, key.story.member("hospital-a")
    terms = await resharing_terms(key, OTHERS)
    first = await proposed_resharing(key, OTHERS)
    acts = [instantiate("key-resharing", bytes([n]) * 16, terms) for n in range(1, 33)]
    for act in acts[:-1]:
        await story.applied(member, act)
    result = await story.act(member, acts[-1])
    assert (result.reason, result.message.split(":")[0]) == ("KEY_REFUSED", "key-studies")
    await first.vote("approve", MEMBERS[:2], approve=False)
    assert await first.at() == "rejected"
    await story.applied(member, acts[-1])


async def _causes(scene: KeyScene, orders: tuple[Order, ...]) -> list[tuple[Value, Value]]:
    """Return to whom, and why, it was said that a contract's part of the key is to go."""
    return [
        (order.arguments["members"], order.arguments["cause"])
        for order in orders
        if (order.instance, order.instruction) == (scene.id, "retire_key")
    ]


async def _ended_by(scene: KeyScene, state: str, how: str) -> None:
    """Let a resharing come to nothing in a state, and hold that it says why."""
    order = scene.order
    assert order is not None
    if how == "failed":
        for member in MEMBERS[:2]:
            if await scene.at() == state:
                await scene.report(member, done=False, order=order)
        failure = "HOLDERS_NOT_READY" if state == "readying" else "MEMBER_FAILED"
        assert (await scene.instance()).variables["failure"] == failure
    elif how == "late":
        await scene.report("hospital-a", digest=digest("in time"), order=order)
        await scene.overdue()
        variables = (await scene.instance()).variables
        assert variables["failure"] == "DEADLINE_PASSED"
        silent = member_list(variables["silent"])
        assert "hospital-a" not in silent
        assert "hospital-c" in silent
    else:
        await scene.act(scene.story.member(how), transition(scene.id, "withdraw"))
    assert await scene.at() == ("failed" if how in ("failed", "late") else "withdrawn")


@pytest.mark.parametrize("state", STEPS)
async def test_a_resharing_that_comes_to_nothing_leaves_the_key_its_holders_and_its_uses(
    key: KeyScene, state: str
) -> None:
    story = key.story
    study, _ = await proposed_column_study(key, step_seconds=86_400)
    ways = ("failed", "late", "hospital-d", NEWCOMER)  # the last two withdraw
    for number, how in enumerate(ways, 1):
        scene = await proposed_resharing(key, OTHERS, bytes([number]) * 16)
        await scene.advance_to(state)
        await _ended_by(scene, state, how)
        assert await key.at() == "ready"
        assert await holders(story) is None
        assert await story.state(depends_key(KEY, scene.id)) is None
        assert await story.state(depends_key(KEY, STUDY)) is not None
        assert await releases(story) == 1 + number * (state in ("giving", "opening"))
    await study.advance()
    assert await study.at() == "counts_ready"


@pytest.mark.parametrize("how", ["late", "withdrawn"])
async def test_who_held_the_key_and_who_would_have_are_both_told_that_it_came_to_nothing(
    key: KeyScene, how: str
) -> None:
    scene = await proposed_resharing(key, OTHERS)
    await scene.advance_to("confirming")
    if how == "late":
        decided = await scene.overdue()
    else:
        member = key.story.member("hospital-a")
        decided = await scene.act(member, transition(RESHARING, "withdraw"))
    cause = "failed" if how == "late" else "withdrawn"
    told = await _causes(scene, decided.orders)
    assert told == [(list(MEMBERS), cause), (list(OTHERS), cause)]


async def test_a_proposal_that_nobody_decides_or_that_is_voted_down_needs_no_order(
    key: KeyScene,
) -> None:
    scene = await proposed_resharing(key, OTHERS)
    decided = await scene.overdue()
    assert (await scene.at(), decided.orders) == ("failed", ())
    other = await proposed_resharing(key, OTHERS, b"g" * 16)
    decided = await other.vote("approve", MEMBERS[:2], approve=False)
    assert (await other.at(), decided.orders) == ("rejected", ())
    assert await key.at() == "ready"


async def test_one_holder_that_is_not_ready_does_not_stop_the_others(key: KeyScene) -> None:
    scene = await proposed_resharing(key, OTHERS)
    await scene.advance()
    order = scene.order
    await scene.report("hospital-b", done=False, order=order)
    for member in ("hospital-d", "hospital-c", "hospital-a"):
        await scene.report(member, digest=digest("key"), order=order)
    assert await scene.at() == "dealing"
    assert (await scene.instance()).variables["dealers"] == [
        "hospital-a",
        "hospital-c",
        "hospital-d",
    ]


@pytest.mark.parametrize("state", ["readying", "confirming", "opening"])
async def test_members_that_have_made_different_things_go_no_further(
    key: KeyScene, state: str
) -> None:
    scene = await proposed_resharing(key, OTHERS)
    await scene.advance_to(state)
    order = scene.order
    assert order is not None
    named = member_list(order.arguments["members"])
    for member, made in zip(named, ("one", "two", "two", "one"), strict=True):
        if await scene.at() != state:
            break
        await scene.report(member, digest=digest(made), order=order)
    assert (await scene.instance()).variables["failure"] == "DISAGREED"
    assert await holders(key.story) is None


async def test_only_those_that_a_step_names_report_it(key: KeyScene) -> None:
    scene = await proposed_resharing(key, OTHERS)
    await scene.advance_to("dealing")
    assert (await scene.report("hospital-d", digest=digest("deal"))).reason == "NOT_NAMED"
    await scene.advance_to("answering")
    assert (await scene.report("hospital-d", digest=digest("check"))).reason == "NOT_NAMED"
    assert (await scene.report(NEWCOMER)).reason == "DIGEST_REQUIRED"


async def test_every_attempt_spends_a_release_and_none_is_made_when_they_are_spent(
    story: Story,
) -> None:
    key = await ready_key(story, releases_max=2)  # one is spent on its flags
    scene = await proposed_resharing(key, OTHERS)
    await scene.advance_to("giving")
    assert await releases(story) == 2
    study, _ = await proposed_column_study(key)  # or else the key would end with the attempt
    await scene.act(story.member("hospital-a"), transition(RESHARING, "withdraw"))
    other = await proposed_resharing(key, OTHERS, b"g" * 16)
    await other.advance_to("confirming")
    await other.advance()
    assert (await other.instance()).variables["failure"] == "BUDGET_SPENT"
    assert (await key.at(), await study.at()) == ("ready", "proposed")
    await study.overdue()
    assert await key.at() == "retired"


async def test_the_hand_over_ends_what_was_bound_to_the_old_holders_and_binds_to_the_new(
    key: KeyScene,
) -> None:
    story = key.story
    study, researcher = await proposed_column_study(key, step_seconds=86_400)
    await study.advance_to("checking")
    scores = await granted_scores(key)
    scene = await proposed_resharing(key, OTHERS)
    await scene.advance_to("opening")
    assert (await study.at(), await scores.at()) == ("checking", "granted")
    await scene.advance()
    assert [await one.at() for one in (study, scores)] == ["ended", "ended"]
    assert study.order is not None
    for dependent in (STUDY, scores.id, RESHARING):
        assert await story.state(depends_key(KEY, dependent)) is None
    old = await column_terms(key, members=list(MEMBERS), threshold=3)
    result = await story.act(researcher, instantiate("column-study", b"o" * 16, old))
    assert (result.reason, result.message.split(":")[0]) == ("KEY_REFUSED", "key-members")
    await granted(story, b"q" * 16, outputs=["count", "product_sum"], holders=list(OTHERS))
    again, _ = await proposed_column_study(key, b"n" * 16, permit=b"q" * 16)
    await again.advance_to("counts_ready")
    assert again.order is not None
    assert again.order.arguments["members"] == list(OTHERS)


async def test_what_ends_by_a_hand_over_says_so_in_the_same_block(key: KeyScene) -> None:
    study, _ = await proposed_column_study(key, step_seconds=86_400)
    await study.advance_to("checking")
    other = await proposed_resharing(key, MEMBERS, b"g" * 16)
    await other.advance_to("answering")
    scene = await proposed_resharing(key, OTHERS)
    await scene.advance_to("opening")
    order, decided = scene.order, None
    assert order is not None
    for member in OTHERS:
        act = report((order.height, order.index), True, digest("open"))
        decided = await key.story.applied(key.story.member(member), act)
    assert decided is not None
    told = [(one.instance, one.instruction) for one in decided.orders]
    assert sorted(told) == sorted(
        [
            (RESHARING, "hand_over_key"),
            (STUDY, "retire_key"),
            (other.id, "retire_key"),
            (other.id, "retire_key"),
        ]
    )
    assert await other.at() == "ended"
    causes = [one.arguments["cause"] for one in decided.orders if "cause" in one.arguments]
    assert causes == ["key-ended"] * 3
    assert await holders(key.story) == KeyHolders(OTHERS, 3, RESHARING)


async def test_a_second_resharing_begins_with_the_new_holders_and_supersedes_the_first(
    key: KeyScene,
) -> None:
    story = key.story
    first = await handed_over(key, OTHERS)
    lie = await resharing_terms(key, MEMBERS, holders=list(MEMBERS))
    act = instantiate("key-resharing", b"g" * 16, lie)
    result = await story.act(story.member("hospital-d"), act)
    assert (result.reason, result.message.split(":")[0]) == ("KEY_REFUSED", "sharing-holders")
    truth = instantiate("key-resharing", b"g" * 16, await resharing_terms(key, MEMBERS))
    assert (await story.act(story.member("hospital-d"), truth)).reason == "POLICY_DENIED"
    everybody = (*MEMBERS, NEWCOMER)
    second = await proposed_resharing(key, everybody, b"g" * 16)
    await second.advance_to("answering")
    assert second.order is not None
    assert second.order.arguments["holders"] == list(OTHERS)
    assert await first.at() == "handed_over"
    await second.advance_to("handed_over")
    assert await first.at() == "superseded"
    assert await holders(story) == KeyHolders(everybody, 4, b"g" * 16)
    assert first.order is not None
    assert first.order.instruction == "hand_over_key"  # nobody is told anything of the first


async def test_those_that_are_left_go_on_with_a_key_whose_holder_has_left(key: KeyScene) -> None:
    story, rest = key.story, MEMBERS[:3]
    await removed(story, "hospital-d", b"m" * 16, (*rest, NEWCOMER))
    researcher = await story.staff("hospital-b", "researcher", "researcher")
    await granted(story, outputs=["count", "product_sum"], holders=list(rest))
    for members, reason in ((MEMBERS, "TERMS_MALFORMED"), (rest, "KEY_REFUSED")):
        terms = await column_terms(key, members=list(members))
        act = instantiate("column-study", STUDY, terms)
        assert (await story.act(researcher, act)).reason == reason
    scene = await handed_over(key, rest, holders=list(rest))
    assert (await scene.instance()).variables["dealers"] == list(rest)
    assert await holders(story) == KeyHolders(rest, 3, RESHARING)
    study, _ = await proposed_column_study(key)
    await study.advance_to("counts_ready")


async def test_a_dealer_that_leaves_stops_the_attempt_and_not_the_next(key: KeyScene) -> None:
    story = key.story
    scene = await proposed_resharing(key, OTHERS)
    await scene.advance_to("dealing")
    await removed(story, "hospital-b", b"m" * 16, ("hospital-a", *MEMBERS[2:], NEWCOMER))
    await scene.overdue()
    assert await scene.at() == "failed"
    rest = ["hospital-a", *MEMBERS[2:]]
    again = await proposed_resharing(key, (*rest, NEWCOMER), b"g" * 16, holders=rest)
    await again.vote("approve", rest)
    assert await again.at() == "readying"


async def test_the_holders_of_today_end_a_key_and_all_that_computes_with_it(key: KeyScene) -> None:
    story = key.story
    scene = await handed_over(key, OTHERS)
    scores = await granted_scores(key)
    attempt = await proposed_resharing(key, MEMBERS, b"g" * 16)
    left = await scene.vote("retire", ["hospital-d"])
    assert left.results[0].reason == "POLICY_DENIED"
    await scene.vote("retire", OTHERS[:2])
    decided = await scene.vote("retire", [NEWCOMER])
    ended = [await one.at() for one in (scene, key, scores, attempt)]
    assert ended == ["retired", "retired", "ended", "ended"]
    assert await holders(story) is None
    assert await _causes(scene, decided.orders) == [(list(OTHERS), "retired")]
    assert await _causes(key, decided.orders) == [(list(MEMBERS), "retired")]


async def test_a_vote_against_the_keys_end_leaves_it(key: KeyScene) -> None:
    scene = await handed_over(key, OTHERS)
    await scene.vote("retire", OTHERS[:1])
    decided = await scene.vote("retire", OTHERS[1:3], approve=False)
    assert (await scene.at(), await key.at()) == ("handed_over", "ready")
    assert (await scene.instance()).variables["votes"] == {}
    assert decided.orders == ()


@pytest.mark.parametrize("how", ["expired", "retired by those that made it", "spent"])
async def test_the_end_of_a_key_reaches_those_that_hold_it_now(story: Story, how: str) -> None:
    # one release is spent on its flags, one on trying the new sharing, one on the study's counts
    key = await ready_key(story, releases_max=3)
    scene = await handed_over(key, OTHERS)
    if how == "expired":
        decided = await key.overdue()
    elif how == "spent":
        await granted(story, outputs=["count", "product_sum"], holders=list(OTHERS))
        study, researcher = await proposed_column_study(key)
        await study.advance_to("checking")
        decided = await study.act(researcher, transition(STUDY, "withdraw"))
    else:
        decided = await key.vote("retire", MEMBERS[:3])
    assert (await key.at(), await scene.at()) == ("retired", "ended")
    assert await holders(story) is None
    told = await _causes(scene, decided.orders)
    assert told == [(list(MEMBERS), "key-ended"), (list(OTHERS), "key-ended")]


async def test_a_superseded_resharing_hears_of_the_keys_end_no_more(key: KeyScene) -> None:
    first = await handed_over(key, OTHERS)
    second = await handed_over(key, MEMBERS, b"g" * 16)
    decided = await key.vote("retire", MEMBERS[:3])
    assert (await first.at(), await second.at()) == ("superseded", "ended")
    assert await _causes(first, decided.orders) == []
