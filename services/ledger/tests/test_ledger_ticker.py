"""Ticks: sent when a timer falls due and nothing else makes a block, and by one ledger of n."""

from __future__ import annotations

from typing import Any

from cipherward_chain.transactions import parse_transaction
from cipherward_kit.testing import eventually
from cipherward_ledger.clock import NANOSECONDS
from cipherward_ledger.ticker import rank


async def test_a_timer_fires_on_an_idle_chain_by_one_tick_of_the_member(still_world: Any) -> None:
    world, manual = still_world
    world.contract.next_timer_ns = manual.now_ns() + 7 * NANOSECONDS
    async with world.ledger() as ledger:
        await ledger.ready()
        manual.advance(6.9)
        assert world.contract.next_timer_ns is not None
        manual.advance(0.1)
        await eventually(lambda: world.contract.next_timer_ns is None)
        await eventually(lambda: world.contract.committed == 4)
        blocks = await ledger.blocks(1, 3)
    (content,) = [one for block in blocks for one in block.transactions]
    tick = parse_transaction(content)
    assert [act.WhichOneof("act") for act in tick.body.acts] == ["tick"]
    assert tick.authorization.member.member_id == "hospital-a"


async def test_no_tick_is_sent_when_another_block_has_fired_the_timer(still_world: Any) -> None:
    world, manual = still_world
    world.contract.next_timer_ns = manual.now_ns() + 7 * NANOSECONDS
    async with world.ledger() as ledger:
        await ledger.ready()
        world.contract.gate.clear()
        transaction_id = await ledger.submit(world.transaction())
        await eventually(lambda: world.contract.committed == 2)
        world.contract.next_timer_ns = None  # the block that stands has fired it
        world.contract.gate.set()
        await ledger.receipt(transaction_id)
        manual.advance(9)
        await ledger.receipt(await ledger.submit(world.transaction()))
    assert len(world.contract.applied) == 2


async def test_a_tick_is_sent_again_while_timers_are_left_due(still_world: Any) -> None:
    world, manual = still_world
    due = manual.now_ns() + NANOSECONDS
    world.contract.next_timer_ns = due
    world.contract.timers_left = 2  # as when more are due than one block may fire
    async with world.ledger() as ledger:
        await ledger.ready()
        manual.advance(1)
        await eventually(lambda: len(world.contract.applied) == 1)
        for ticks in (2, 3):
            manual.advance(1.1)
            await eventually(lambda ticks=ticks: len(world.contract.applied) == ticks)
        await eventually(lambda: world.contract.next_timer_ns is None)


def test_ranks_are_a_turn_of_all_validators_at_every_height() -> None:
    for height in range(1, 9):
        assert sorted(rank(index, height, 4) for index in range(4)) == [0, 1, 2, 3]
    assert {rank(0, height, 1) for height in range(9)} == {0}
