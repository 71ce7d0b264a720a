"""What operators see of the contracts: decisions, timers, reviews that nobody made, budgets."""

from __future__ import annotations

import dataclasses

import pytest
from prometheus_client import REGISTRY

from cipherward_contract.chain_rules import ChainRules
from cipherward_contract.entries import timer_key
from cipherward_contract.figures import HAND_OVER, HAND_OVER_SECONDS, least_left
from cipherward_contract.testing import TICK, Story, instantiate, transition
from cipherward_contract.testing_records import DAY, READER_KEY, RECORD

EMERGENCY = b"e" * 16
HOUR = 3_600
MEMBER = "hospital-c"


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"cipherward_contract_{name}", labels) or 0


async def broken_glass(story: Story) -> int:
    """Open a record in an emergency; return when that was."""
    await story.record(RECORD, templates=("consent/1", "emergency-access/1"))
    clinician = await story.staff("hospital-b", "clinician", "clinician")
    began = story.now
    terms = {"record": RECORD, "reader_key": READER_KEY, "reason": "unconscious"}
    act = instantiate("emergency-access", EMERGENCY, terms | {"visit_seconds": HOUR})
    await story.applied(clinician, act)
    return began


async def test_decisions_are_counted_by_outcome(story: Story) -> None:
    before = figure("decisions_total", outcome="permitted", reason="")
    await broken_glass(story)
    assert figure("decisions_total", outcome="permitted", reason="") == before + 1
    refused = {"outcome": "refused", "reason": "POLICY_DENIED"}
    before = figure("decisions_total", **refused)
    researcher = await story.staff("hospital-b", "researcher", "researcher")
    terms = {"record": RECORD, "reader_key": READER_KEY, "reason": "unconscious"}
    act = instantiate("emergency-access", b"f" * 16, terms | {"visit_seconds": HOUR})
    assert not (await story.act(researcher, act)).applied
    assert figure("decisions_total", **refused) == before + 1


async def test_a_review_is_overdue_until_somebody_makes_it(story: Story) -> None:
    began = await broken_glass(story)
    missed = figure("notices_total", kind="review-missed")
    story.now = began + HOUR
    await story.applied(story.member(MEMBER), TICK)
    assert figure("reviews_overdue") == 0
    story.now = began + 3 * DAY
    await story.applied(story.member(MEMBER), TICK)
    assert figure("reviews_overdue") == 1
    assert figure("notices_total", kind="review-missed") == missed + 1
    story.now += HOUR
    act = transition(EMERGENCY, "review_late", finding="justified")
    await story.applied(story.member("hospital-a"), act)
    assert figure("reviews_overdue") == 0


async def test_a_review_that_is_handed_over_is_overdue_no_more(story: Story) -> None:
    began = await broken_glass(story)
    story.now = began + HOUR
    await story.applied(story.member(MEMBER), TICK)
    story.now = began + 3 * DAY
    await story.applied(story.member(MEMBER), TICK)
    timer = await story.state(timer_key(began + 7 * DAY, EMERGENCY))
    assert timer == HAND_OVER  # what the count looks for is what the template makes
    assert began + 7 * DAY <= story.now + HAND_OVER_SECONDS
    story.now = began + 7 * DAY
    await story.applied(story.member(MEMBER), TICK)
    assert figure("reviews_overdue") == 0


async def test_a_late_timer_shows_by_how_much(story: Story) -> None:
    began = await broken_glass(story)
    assert figure("timer_next_timestamp_seconds") == began + HOUR
    fired, late = figure("timer_late_seconds_count"), figure("timer_late_seconds_sum")
    story.now = began + HOUR + 40
    await story.block()  # an empty block fires nothing
    assert figure("timers_due") == 1
    await story.applied(story.member(MEMBER), TICK)
    assert figure("timers_due") == 0
    assert figure("timer_late_seconds_count") == fired + 1
    assert figure("timer_late_seconds_sum") - late >= 40


@pytest.mark.parametrize(
    ("budgets", "left"),
    [
        ([], 1),
        ([("cohort", 3)], 0.7),
        ([("cohort", 3), ("cohort/rho", 900)], 0.1),
        ([("cohort/rho", 250), ("other", 5)], 0.5),
        ([("cohort", 12)], 0),  # the bound was lowered after it was spent
        ([("aabb/cohort", 9), ("aabb/attempts", 3), ("aabb/releases", 100)], 1),
    ],
)
async def test_the_least_budget_is_that_of_data_sets(
    story: Story, budgets: list[tuple[str, int]], left: float
) -> None:
    rules = dataclasses.replace(rules_of(story), data_set_releases_max=10, data_set_rho_max=1000)
    assert least_left(budgets, rules) == pytest.approx(left)


def rules_of(story: Story) -> ChainRules:
    latest = story.chain.latest
    assert latest is not None
    return latest[1]
