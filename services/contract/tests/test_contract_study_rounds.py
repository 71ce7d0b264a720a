"""Studies of several rounds, and attempts whose members do not answer: what is given, and never."""

from __future__ import annotations

import pytest

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.canonical import Value
from cipherward_contract.entries import DIGEST
from cipherward_contract.marks import budget_key, budget_spent
from cipherward_contract.testing import MEMBERS, Story, transition
from cipherward_contract.testing_studies import (
    PERMIT,
    STUDY,
    StudyScene,
    digest,
    granted,
    propose,
)

ITERATE = digest("the next parameters")


def iterate(of: bytes = ITERATE, number: int = 2) -> pb.Act:
    return transition(STUDY, "iterate", iterate=of, round=number)


def ordered(scene: StudyScene, *names: str) -> dict[str, Value]:
    """Return arguments of the newest order."""
    assert scene.order is not None
    return {name: scene.order.arguments[name] for name in names}


async def spent(story: Story, name: str) -> int:
    raw = await story.state(budget_key(name))
    return 0 if raw is None else budget_spent(raw)


async def go_on(scene: StudyScene, of: bytes = ITERATE, number: int = 2) -> None:
    """Let the researcher name the next iterate, which is that of round `number`."""
    scene.noted(await scene.story.applied(scene.researcher, iterate(of, number)))


async def test_a_study_of_one_round_is_released_without_its_researcher(story: Story) -> None:
    scene = await propose(story, rounds_max=1)
    await scene.advance_to("released")
    instance = await scene.instance()
    assert "failure" not in instance.variables
    assert instance.position.timer == 0


async def test_every_round_has_an_iterate_a_number_and_a_release_of_its_own(story: Story) -> None:
    scene = await propose(story, rounds_max=3)
    await scene.advance_to("iterating")
    digests = [(await scene.instance()).variables["values_digest"]]
    for number in (2, 3):
        await go_on(scene, of=digest("iterate", str(number)), number=number)
        assert await scene.at() == "valuing"
        wanted: dict[str, Value] = {
            "stage": "values",
            "step": "commit",
            "round": number,
            "iterate": digest("iterate", str(number)),
            "commitments": {},
        }
        assert ordered(scene, *wanted) == wanted
        await scene.advance_to("releasing")
        assert ordered(scene, "round", "requester_key_digest") == {
            "round": number,
            "requester_key_digest": digest("requester"),
        }
        digests.append((await scene.instance()).variables["values_digest"])
        await scene.advance_to("iterating" if number < 3 else "released")
    assert len(set(digests)) == 3
    for made in digests:
        assert isinstance(made, bytes)
        assert await story.state(DIGEST + made) == STUDY
    # counts and three rounds of values
    assert await spent(story, f"{PERMIT.hex()}/cohort-1") == 4
    assert await spent(story, "cohort-1") == 4


async def test_only_the_researcher_names_an_iterate_or_concludes(story: Story) -> None:
    scene = await propose(story, rounds_max=2)
    await scene.advance_to("iterating")
    colleague = await story.staff("hospital-b", "researcher", "colleague")
    for signer in (colleague, *(story.member(name) for name in MEMBERS)):
        for act in (iterate(), transition(STUDY, "conclude")):
            assert (await story.act(signer, act)).reason == "POLICY_DENIED"
    assert await scene.at() == "iterating"
    swapped = transition(
        STUDY, "iterate", iterate=ITERATE, round=2, requester_key_digest=digest("another")
    )
    assert (await story.act(scene.researcher, swapped)).reason == "ARGUMENTS_MALFORMED"
    assert (await story.act(scene.researcher, iterate(b"short"))).reason == "ARGUMENTS_MALFORMED"


@pytest.mark.parametrize("late", [1, 2, 4])
async def test_an_iterate_of_another_round_is_refused(story: Story, late: int) -> None:
    scene = await propose(story, rounds_max=4)
    await scene.advance_to("iterating")
    await go_on(scene)
    await scene.advance_to("iterating")
    refused = await story.act(scene.researcher, iterate(number=late))
    if late == 1:
        assert refused.reason == "ARGUMENTS_MALFORMED"
    else:
        assert (refused.reason, list(refused.policies)) == ("POLICY_DENIED", ["another-round"])
    assert await scene.at() == "iterating"
    await go_on(scene, number=3)


@pytest.mark.parametrize("state", ["valuing", "values_ready", "releasing", "checking"])
async def test_an_iterate_is_named_only_when_the_study_waits_for_one(
    story: Story, state: str
) -> None:
    scene = await propose(story, rounds_max=2)
    await scene.advance_to(state)
    for act in (iterate(), transition(STUDY, "conclude")):
        assert (await story.act(scene.researcher, act)).reason == "STATE_FORBIDS"


@pytest.mark.parametrize("how", ["by its researcher", "by its time"])
async def test_a_study_that_goes_no_further_is_released_and_its_key_destroyed(
    story: Story, how: str
) -> None:
    scene = await propose(story, rounds_max=50)
    await scene.advance_to("iterating")
    if how == "by its time":
        decided = await scene.overdue()
    else:
        decided = await story.applied(scene.researcher, transition(STUDY, "conclude"))
    assert await scene.at() == "released"
    assert not (await scene.instance()).variables.get("failure")
    (retired,) = decided.orders
    assert (retired.instruction, retired.arguments["cause"]) == ("retire_key", "released")


async def test_an_iterate_needs_a_release_that_is_left(story: Story) -> None:
    await granted(story, releases_max=3)
    scene = await propose(story, releases_max=3, rounds_max=5)
    await scene.advance_to("iterating")
    await go_on(scene)
    await scene.advance_to("iterating")
    refused = await story.act(scene.researcher, iterate(number=3))
    assert refused.reason == "BUDGET_SPENT"
    assert await scene.at() == "iterating"
    await story.applied(scene.researcher, transition(STUDY, "conclude"))
    assert await scene.at() == "released"


@pytest.mark.parametrize(("state", "stage"), [("checking", "counts"), ("releasing", "values")])
async def test_a_dead_attempt_is_made_again_on_another_ciphertext(
    story: Story, state: str, stage: str
) -> None:
    scene = await propose(story)
    await scene.advance_to(state)
    dead = (await scene.instance()).variables[f"{stage}_digest"]
    order = scene.order
    await scene.report("hospital-b", digest=digest("answered"), order=order)
    await scene.overdue()
    instance = await scene.instance()
    assert instance.position.state == f"{stage}_refreshing"
    silent = [m for m in MEMBERS[: 4 if stage == "counts" else 3] if m != "hospital-b"]
    assert instance.variables["silent"] == silent
    assert "failure" not in instance.variables
    wanted: dict[str, Value] = {
        "stage": stage,
        "step": "refresh",
        "digest": dead,
        "commitments": {},
    }
    assert ordered(scene, *wanted) == wanted
    late = await scene.report("hospital-a", digest=digest("late"), order=order)
    assert late.reason in ("ORDER_NOT_CURRENT", "ORDER_UNKNOWN")
    refresh = scene.order
    for member in ("hospital-d", "hospital-b", "hospital-c"):
        await scene.report(member, digest=digest("zeros", member), order=refresh)
    wanted = {
        "step": "add",
        "digest": dead,
        "commitments": {m: digest("zeros", m) for m in MEMBERS[1:]},
    }
    assert ordered(scene, *wanted) == wanted
    adding = scene.order
    for member in MEMBERS[:3]:
        await scene.report(member, digest=digest("the new sum"), order=adding)
    assert await scene.at() == state
    # who has made the zeros decrypts, whoever has added them first
    assert ordered(scene, "set", "digest") == {
        "set": list(MEMBERS[1:]),
        "digest": digest("the new sum"),
    }
    assert await story.state(DIGEST + digest("the new sum")) == STUDY
    # another attempt is no other result: nothing more of the quota is spent
    assert await spent(story, "cohort-1") == (1 if stage == "counts" else 2)
    await scene.advance_to("released")


async def test_an_attempt_on_the_ciphertext_of_the_dead_one_is_refused(story: Story) -> None:
    scene = await propose(story)
    await scene.advance_to("releasing")
    dead = (await scene.instance()).variables["values_digest"]
    assert isinstance(dead, bytes)
    await scene.overdue()
    await scene.advance_to("values_adding")
    order = scene.order
    for member in MEMBERS[:3]:
        await scene.report(member, digest=dead, order=order)
    assert await scene.failure() == "DIGEST_RELEASED"


@pytest.mark.slow
async def test_a_study_has_three_more_attempts_and_no_fourth(story: Story) -> None:
    scene = await propose(story)
    await scene.advance_to("checking")
    await scene.overdue()
    await scene.advance_to("checking")  # its own second attempt
    await scene.advance_to("releasing")
    for _ in range(2):
        await scene.overdue()
        assert await scene.at() == "values_refreshing"
        await scene.advance_to("releasing")
    decided = await scene.overdue()
    assert await scene.failure() == "RELEASE_DEAD"
    assert [order.instruction for order in decided.orders] == ["retire_key"]
    assert (await scene.instance()).variables["silent"] == list(MEMBERS[:3])


@pytest.mark.parametrize("state", ["values_refreshing", "values_adding"])
async def test_a_deadline_while_an_attempt_is_prepared_ends_the_study(
    story: Story, state: str
) -> None:
    scene = await propose(story)
    await scene.advance_to("releasing")
    await scene.overdue()
    await scene.advance_to(state)
    await scene.overdue()
    assert await scene.failure() == "DEADLINE_PASSED"
    assert (await scene.instance()).variables["silent"] == list(MEMBERS)


async def test_the_silent_are_named_when_a_deadline_ends_a_study(story: Story) -> None:
    scene = await propose(story)
    await scene.advance_to("counting")
    for member in ("hospital-a", "hospital-c"):
        await scene.report(member, digest=digest("counts", member), order=scene.order)
    await scene.overdue()
    assert await scene.failure() == "DEADLINE_PASSED"
    assert (await scene.instance()).variables["silent"] == ["hospital-b", "hospital-d"]


async def test_the_zeros_of_too_few_members_end_the_study(story: Story) -> None:
    scene = await propose(story)
    await scene.advance_to("checking")
    await scene.overdue()
    order = scene.order
    for member in MEMBERS[:2]:
        await scene.report(member, done=False, order=order)
    assert await scene.failure() == "MEMBER_FAILED"
