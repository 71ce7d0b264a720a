"""Column studies: bound to a key and a permit, counts first, and attempts that spend of the key."""

from __future__ import annotations

import pytest

from cipherward_chain.canonical import Value
from cipherward_contract.entries import DIGEST
from cipherward_contract.marks import budget_key, budget_spent
from cipherward_contract.testing import MEMBERS, Story, instantiate, transition
from cipherward_contract.testing_data_keys import (
    KEY,
    KEY_RELEASES,
    STUDY,
    KeyScene,
    column_terms,
    proposed_column_study,
    proposed_key,
    ready_key,
)
from cipherward_contract.testing_studies import PERMIT, digest, granted


@pytest.fixture
async def key(story: Story) -> KeyScene:
    return await ready_key(story)


async def spent(story: Story, name: str) -> int:
    raw = await story.state(budget_key(name))
    return 0 if raw is None else budget_spent(raw)


def ordered(scene: KeyScene, *names: str) -> dict[str, Value]:
    assert scene.order is not None
    return {name: scene.order.arguments[name] for name in names}


@pytest.mark.slow
async def test_a_column_study_runs_to_its_release_and_leaves_the_key(key: KeyScene) -> None:
    scene, _ = await proposed_column_study(key)
    await scene.advance_to("counts_ready")
    wanted: dict[str, Value] = {
        "stage": "counts",
        "step": "verify",
        "source": KEY,
        "commitments": {},
        "key_digest": (await key.instance()).variables["key_digest"],
        "round": 0,
    }
    assert ordered(scene, *wanted) == wanted
    await scene.advance_to("checking")
    assert ordered(scene, "source", "set") == {"source": KEY, "set": list(MEMBERS[:3])}
    await scene.advance_to("values_ready")
    verdicts = (await scene.instance()).variables["verdicts"]
    wanted = {"stage": "values", "step": "verify", "round": 1, "verdicts": verdicts}
    assert ordered(scene, *wanted) == wanted
    await scene.advance_to("releasing")
    assert ordered(scene, "requester_key_digest", "source") == {
        "requester_key_digest": digest("requester"),
        "source": KEY,
    }
    await scene.advance_to("released")
    assert ordered(scene, "study", "cause") == {"study": STUDY, "cause": "released"}
    assert await key.at() == "ready"
    story = key.story
    for budget in (f"{PERMIT.hex()}/cohort-1", "cohort-1"):
        assert await spent(story, budget) == 2
    assert await spent(story, f"{KEY.hex()}/releases") == 3  # its flags too


async def test_the_same_question_on_the_same_columns_is_not_answered_twice(key: KeyScene) -> None:
    first, _ = await proposed_column_study(key)
    await first.advance_to("counts_ready")
    order = first.order
    for member in MEMBERS[:3]:
        await first.report(member, digest=digest("the counts"), order=order)
    assert await key.story.state(DIGEST + digest("the counts")) == STUDY
    second, _ = await proposed_column_study(key, b"d" * 16)
    await second.advance_to("counts_ready")
    order = second.order
    for member in MEMBERS[:3]:
        await second.report(member, digest=digest("the counts"), order=order)
    assert (await second.instance()).variables["failure"] == "DIGEST_RELEASED"


async def test_an_attempt_after_a_dead_one_spends_of_the_key_alone(key: KeyScene) -> None:
    scene, _ = await proposed_column_study(key)
    await scene.advance_to("checking")
    await scene.overdue()
    assert await scene.at() == "counts_refreshing"
    story = key.story
    assert await spent(story, "cohort-1") == 1
    assert await spent(story, f"{KEY.hex()}/releases") == 3
    await scene.advance_to("released")


async def test_a_column_study_does_not_outlive_its_permit(key: KeyScene) -> None:
    scene, _ = await proposed_column_study(key)
    await scene.advance_to("checking")
    await scene.act(key.story.member("hospital-a"), transition(PERMIT, "revoke"))
    assert await scene.at() == "ended"
    assert ordered(scene, "cause") == {"cause": "permit-ended"}
    assert await key.at() == "ready"


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"key_digest": digest("another key")}, "key-digest"),
        ({"key_releases_max": KEY_RELEASES - 1}, "key-quota"),
        ({"data_set": "cohort-2"}, "key-data-set"),
        ({"members": list(MEMBERS[:3])}, "key-members"),
    ],
)
async def test_what_is_said_of_the_key_must_be_so(
    key: KeyScene, changed: dict[str, Value], rule: str
) -> None:
    story = key.story
    await granted(story, outputs=["count", "product_sum"])
    researcher = await story.staff("hospital-b", "researcher", "researcher")
    terms = await column_terms(key, **changed)
    result = await story.act(researcher, instantiate("column-study", STUDY, terms))
    assert result.reason == "KEY_REFUSED"
    assert result.message.startswith(f"{rule}: ")


async def test_a_smaller_minimum_than_the_keys_is_refused(story: Story) -> None:
    key = await ready_key(story, minimum=50)
    await granted(story, outputs=["count", "product_sum"])
    researcher = await story.staff("hospital-b", "researcher", "researcher")
    terms = await column_terms(key, minimum=20)
    result = await story.act(researcher, instantiate("column-study", STUDY, terms))
    assert result.reason == "KEY_REFUSED"
    assert result.message.startswith("key-minimum: ")


async def test_nothing_is_computed_with_a_key_that_is_not_ready(story: Story) -> None:
    key = await proposed_key(story)
    await key.advance_to("enrolling")
    await granted(story, outputs=["count", "product_sum"])
    researcher = await story.staff("hospital-b", "researcher", "researcher")
    terms = await column_terms(key)
    result = await story.act(researcher, instantiate("column-study", STUDY, terms))
    assert (result.reason, result.message) == (
        "TERMS_MALFORMED",
        "source: the contract is enrolling",
    )


@pytest.mark.slow
async def test_at_most_32_contracts_compute_with_a_key_at_once(key: KeyScene) -> None:
    story = key.story
    first, researcher = await proposed_column_study(key)
    await granted(story, b"q" * 16, outputs=["count", "product_sum"])
    for number in range(1, 32):
        permit = PERMIT if number < 16 else b"q" * 16
        terms = await column_terms(key, permit=permit)
        act = instantiate("column-study", bytes([number]) * 16, terms)
        await story.applied(researcher, act)
    full = instantiate("column-study", b"e" * 16, await column_terms(key, permit=b"q" * 16))
    result = await story.act(researcher, full)
    assert result.reason == "KEY_REFUSED"
    assert result.message.startswith("key-studies: ")
    await story.applied(researcher, transition(first.id, "withdraw"))
    await story.applied(researcher, full)
