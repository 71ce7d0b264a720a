"""What the contract of a resharing orders is what compute services read, step by step."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from cipherward_compute.instructions import HandOverKey, ReshareKey, RetireKey
from cipherward_compute.order_meaning import awaited, concerned, stage_of
from cipherward_compute.order_reading import instruction_of
from cipherward_contract.testing import (
    MEMBERS,
    Story,
    contract_genesis,
    open_story,
    transition,
)
from cipherward_contract.testing_data_keys import KEY, RESHARING, proposed_resharing, ready_key

OTHERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-e")
STATES = ("readying", "dealing", "answering", "confirming", "giving", "opening")


@pytest.fixture
async def story(tmp_path: Path) -> AsyncGenerator[Story]:
    """A chain of five members; the fifth has never had a share."""
    genesis, keys = contract_genesis(members=5)
    async with open_story(tmp_path, genesis, keys) as opened:
        yield opened


async def test_every_order_of_a_resharing_is_read_as_it_is_meant(story: Story) -> None:
    scene = await proposed_resharing(await ready_key(story), OTHERS)
    everybody = tuple(sorted({*MEMBERS, *OTHERS}))
    await scene.advance()
    for state in STATES:
        assert scene.order is not None
        found = instruction_of(scene.order)
        assert isinstance(found, ReshareKey)
        assert (stage_of(found), found.resharing.source) == (state, KEY)
        acts = {"readying": tuple(MEMBERS), "dealing": found.dealers}.get(state, OTHERS)
        assert (awaited(found), concerned(found)) == (acts, everybody)
        await scene.advance()
    assert scene.order is not None
    found = instruction_of(scene.order)
    assert isinstance(found, HandOverKey)
    assert (found.resharing.new, found.shared.members) == (OTHERS, everybody)
    assert (stage_of(found), awaited(found)) == ("handed_over", ())


async def test_the_end_of_an_attempt_is_told_to_old_and_to_new_holders(story: Story) -> None:
    scene = await proposed_resharing(await ready_key(story), OTHERS)
    await scene.advance()
    decided = await scene.act(story.member(OTHERS[0]), transition(RESHARING, "withdraw"))
    ends = [instruction_of(order) for order in decided.orders]
    assert all(isinstance(one, RetireKey) for one in ends)
    told = {one.shared.members for one in ends if isinstance(one, RetireKey)}
    assert told == {tuple(MEMBERS), OTHERS}
