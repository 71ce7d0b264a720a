"""What one data set gives: over all permits, studies and researchers, exact results and noisy."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from cipherward_contract.marks import budget_key, budget_spent
from cipherward_contract.testing import MEMBERS, Story, contract_genesis, open_story, transition
from cipherward_contract.testing_studies import StudyScene, digest, granted, propose

SECOND = b"q" * 16  # another permit
RELEASES, RHO = 5, 1_000_000  # what one data set gives on this chain


@pytest.fixture
async def story(tmp_path: Path) -> AsyncGenerator[Story]:
    """A chain on which a data set gives little."""
    genesis, keys = contract_genesis(data_set_releases_max=RELEASES, data_set_rho_max=RHO)
    async with open_story(tmp_path, genesis, keys) as opened:
        yield opened


async def spent(story: Story, name: str) -> int:
    raw = await story.state(budget_key(name))
    return 0 if raw is None else budget_spent(raw)


async def pass_counts(scene: StudyScene) -> None:
    """Let enough members pass the counts."""
    await scene.advance_to("checking")
    order = scene.order
    for member in MEMBERS[:3]:
        await scene.report(member, digest=digest("no cell failed", member), order=order)


async def test_a_data_set_gives_so_many_results_over_all_permits_and_researchers(
    story: Story,
) -> None:
    await granted(story)
    await granted(story, SECOND)
    await (await propose(story, bytes([1]) * 16)).advance_to("released")
    await (await propose(story, bytes([2]) * 16, permit=SECOND)).advance_to("released")
    assert await spent(story, "cohort-1") == 4
    third = await propose(story, bytes([3]) * 16, permit=SECOND)
    await pass_counts(third)
    assert await third.failure() == "BUDGET_SPENT"
    assert await spent(story, "cohort-1") == RELEASES
    other = await propose(story, bytes([4]) * 16, data_set="cohort-2")
    await other.advance_to("released")


@pytest.mark.parametrize("studies", [1, 2])
async def test_noisy_values_spend_their_rho_and_no_exact_result(story: Story, studies: int) -> None:
    await granted(story)
    for number in range(studies):
        scene = await propose(story, bytes([1 + number]) * 16, rho=400_000, rho_max=400_000)
        await scene.advance_to("released")
    assert await spent(story, "cohort-1/rho") == studies * 400_000
    assert await spent(story, "cohort-1") == studies  # the counts, which the members open
    left = REGISTRY.get_sample_value("cipherward_contract_budget_least_left_ratio")
    assert left == pytest.approx(min(1 - studies / RELEASES, 1 - studies * 400_000 / RHO))


async def test_a_data_set_gives_so_much_rho_over_all_permits_and_researchers(story: Story) -> None:
    await granted(story)
    await granted(story, SECOND)
    first = await propose(story, bytes([1]) * 16, rho=600_000, rho_max=600_000)
    await first.advance_to("released")
    second = await propose(story, bytes([2]) * 16, permit=SECOND, rho=600_000, rho_max=600_000)
    await pass_counts(second)
    assert await second.failure() == "BUDGET_SPENT"
    assert await spent(story, "cohort-1/rho") == 600_000
    # an exact one is still to be had
    await (await propose(story, bytes([3]) * 16)).advance_to("released")


async def test_all_rounds_of_a_study_stay_within_its_own_rho(story: Story) -> None:
    await granted(story)
    scene = await propose(story, rounds_max=50, rho=100_000, rho_max=250_000)
    await scene.advance_to("iterating")
    second, third = (
        transition(scene.study, "iterate", iterate=digest("next"), round=number)
        for number in (2, 3)
    )
    scene.noted(await story.applied(scene.researcher, second))
    await scene.advance_to("iterating")
    assert (await story.act(scene.researcher, third)).reason == "BUDGET_SPENT"
    assert await spent(story, "cohort-1/rho") == 200_000
    assert await scene.at() == "iterating"


async def test_a_study_whose_rho_is_more_than_it_may_spend_releases_nothing(story: Story) -> None:
    await granted(story)
    scene = await propose(story, rho=2, rho_max=1)
    await pass_counts(scene)
    assert await scene.failure() == "BUDGET_SPENT"
    assert await spent(story, "cohort-1/rho") == 0
