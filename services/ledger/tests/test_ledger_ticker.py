"""Ticks: sent when a timer falls due and nothing else makes a block, and by one ledger of n."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from cipherward_chain.authorization import MemberSigner
from cipherward_chain.transactions import parse_transaction
from cipherward_kit.testing import eventually
from cipherward_ledger.clock import NANOSECONDS
from cipherward_ledger.testing import ManualClock, Submissions
from cipherward_ledger.ticker import AGAIN_SECONDS, Ticker, Validators, rank
from cipherward_ledger.tip import Position, Tip


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


async def tick_is_over(manual: ManualClock) -> None:
    """Return when the ticker waits for its next; the outbox too looks every second."""
    await manual.sleeps(AGAIN_SECONDS, sleepers=2)


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
            await tick_is_over(manual)
            manual.advance(1.1)
            await eventually(lambda ticks=ticks: len(world.contract.applied) == ticks)
        await eventually(lambda: world.contract.next_timer_ns is None)


async def test_a_tick_whose_block_is_older_than_the_timer_is_followed_by_another(
    still_world: Any,
) -> None:
    world, manual = still_world
    world.contract.votes_age_ns = NANOSECONDS // 2  # block time is that of the votes before
    world.contract.next_timer_ns = manual.now_ns() + NANOSECONDS
    async with world.ledger() as ledger:
        await ledger.ready()
        manual.advance(1)
        await eventually(lambda: len(world.contract.applied) == 1)
        assert world.contract.next_timer_ns is not None
        await tick_is_over(manual)
        manual.advance(0.9)
        await ledger.receipt(world.contract.applied[0])
        assert len(world.contract.applied) == 1  # one second apart
        manual.advance(0.2)
        await eventually(lambda: world.contract.next_timer_ns is None)
    assert len(world.contract.applied) == 2


async def test_one_tick_closes_a_window_whose_height_is_reached(still_world: Any) -> None:
    world, manual = still_world
    world.contract.next_deadline = 5
    async with world.ledger() as ledger:
        await ledger.ready()
        await ledger.receipt(await ledger.submit(world.transaction()))
        while (height := world.contract.committed) < world.contract.next_deadline:
            assert len(world.contract.applied) == 1
            # By a heartbeat.
            await manual.passes(lambda height=height: world.contract.committed > height)
        await eventually(lambda: world.contract.next_deadline == 0)
    assert len(world.contract.applied) == 2  # what was submitted, and the tick


@asynccontextmanager
async def tickers(
    clock: ManualClock, tip: Tip, places: Sequence[Validators]
) -> AsyncGenerator[list[Submissions]]:
    """Run a ticker for each place, with an admission of its own."""
    counters = [Submissions() for _ in places]
    signer = MemberSigner("hospital-a", bytes(32))
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(Ticker(one, tip, clock.clock(), signer, "chain", place).run())
            for one, place in zip(counters, places, strict=True)
        ]
        yield counters
        for task in running:
            task.cancel()


def sent(counters: list[Submissions]) -> list[int]:
    return [len(one.submitted) for one in counters]


async def settled() -> None:
    """Let everything that is due run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_others_tick_in_their_turn_while_the_timer_is_left_due() -> None:
    clock, height = ManualClock(0), 6
    tip = Tip(Position(height, 0, b"", 5 * NANOSECONDS))
    places = [Validators(index, 4) for index in range(4)] + [Validators(None, 4)]
    async with tickers(clock, tip, places) as counters:
        clock.advance(4.9)
        await settled()
        assert sent(counters) == [0] * 5
        clock.advance(0.15)
        await settled()
        assert sent(counters) == [0, 0, 1, 0, 0]  # the rank of 2 at height 6 is 0
        clock.advance(0.2)
        await settled()
        assert sent(counters) == [0, 0, 1, 1, 0]
        tip.move(Position(height + 1, NANOSECONDS, b"", None))
        clock.advance(9)
        await settled()
        assert sent(counters) == [0, 0, 1, 1, 0]


async def test_a_ticker_follows_its_place_and_stands_still_while_it_has_none() -> None:
    clock, place = ManualClock(0), Validators(None, 3)
    tip = Tip(Position(3, 0, b"", NANOSECONDS))
    async with tickers(clock, tip, [place]) as counters:
        clock.advance(5)
        await settled()
        assert sent(counters) == [0]
        place.index, place.count = 3, 4  # a vote has seated it; its rank at height 3 is 0
        clock.advance(1.1)
        await settled()
        assert sent(counters) == [1]


async def test_a_window_is_closed_by_one_ledger_in_its_turn_and_not_before_its_height() -> None:
    clock, height = ManualClock(0), 6
    tip = Tip(Position(height - 1, 0, b"", 60 * NANOSECONDS, height))
    async with tickers(clock, tip, [Validators(index, 4) for index in range(4)]) as counters:
        clock.advance(9)
        await settled()
        assert sent(counters) == [0] * 4
        tip.move(Position(height, 9 * NANOSECONDS, b"", 60 * NANOSECONDS, height))
        await settled()
        clock.advance(0.15)
        await settled()
        assert sent(counters) == [0, 0, 1, 0]  # the rank of 2 at height 6 is 0
        tip.move(Position(height + 1, 9 * NANOSECONDS, b"", 60 * NANOSECONDS, height + 8))
        clock.advance(9)
        await settled()
        assert sent(counters) == [0, 0, 1, 0]


def test_ranks_are_a_turn_of_all_validators_at_every_height() -> None:
    for height in range(1, 9):
        assert sorted(rank(index, height, 4) for index in range(4)) == [0, 1, 2, 3]
    assert {rank(0, height, 1) for height in range(9)} == {0}
