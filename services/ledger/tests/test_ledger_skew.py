"""The clock is compared with block time: readiness says by how much it is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from cipherward_kit.readiness import Readiness
from cipherward_kit.testing import eventually
from cipherward_ledger.clock import NANOSECONDS
from cipherward_ledger.skew import (
    CLOCK_CONDITION,
    SKEW_SECONDS_MIN,
    SkewWatch,
    skew_bound,
    skew_ns,
)
from cipherward_ledger.testing import ManualClock
from cipherward_ledger.tip import Position, Tip

START_NS = 1_000_000 * NANOSECONDS
HEARTBEAT = 10.0


@dataclass
class World:
    """A chain with a heartbeat, and a clock that is `error` seconds off."""

    clock: ManualClock
    tip: Tip
    readiness: Readiness
    height: int = 0
    time_ns: int = START_NS
    voted_ns: int = START_NS

    async def block(self, *, after: float = HEARTBEAT, late: float = 0.0) -> None:
        """Let time pass and a block come, whose time is that of the votes for the one before."""
        self.clock.advance(after)
        self.time_ns += round(after * NANOSECONDS)
        self.height += 1
        made_ns = self.voted_ns - round(late * NANOSECONDS)
        self.tip.move(Position(self.height, made_ns, b"", None))
        await asyncio.sleep(0)  # the watch sees each block
        self.tip.move(Position(self.height, made_ns, b"executed", None))
        await asyncio.sleep(0)
        self.voted_ns = self.time_ns

    @property
    def why(self) -> str:
        return self.readiness.missing().get(CLOCK_CONDITION, "")


@pytest.fixture
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    begin_ns: int = getattr(request, "param", START_NS)
    clock, tip = ManualClock(START_NS), Tip(Position(0, begin_ns, b"", None))
    readiness = Readiness()
    watch = SkewWatch(tip, clock.clock(), readiness, 3 * HEARTBEAT)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch.run())
        await asyncio.sleep(0)
        yield World(clock, tip, readiness)
        task.cancel()


async def test_a_clock_that_is_right_is_ready_at_once_and_stays_so(world: World) -> None:
    assert world.readiness.ready
    for after in (HEARTBEAT, 0.1, HEARTBEAT, 0.1):
        await world.block(after=after)
        assert world.readiness.ready


@pytest.mark.parametrize(("error", "way"), [(3_600.0, "ahead of"), (-3_600.0, "behind")])
async def test_a_clock_that_jumps_is_named_and_forgiven_when_it_is_set_right(
    world: World, error: float, way: str
) -> None:
    for _ in range(2):
        await world.block()
    world.clock.advance(error)
    await world.block()
    for _ in range(3):
        await world.block()
    assert f"s {way} block time" in world.why
    assert "3600" in world.why or "3590" in world.why
    world.clock.advance(-error)
    for _ in range(2):
        await world.block()
    assert world.readiness.ready


async def test_a_clock_within_the_bound_is_ready(world: World) -> None:
    await world.block()
    world.clock.advance(skew_bound(3 * HEARTBEAT) - 0.5)
    for _ in range(6):
        await world.block()
        assert world.readiness.ready


async def test_a_chain_that_stood_still_says_nothing_about_the_clock(world: World) -> None:
    for after in (HEARTBEAT, 7_200.0, HEARTBEAT, 7_200.0, HEARTBEAT):
        await world.block(after=after)
        assert world.readiness.ready


async def test_blocks_that_are_caught_up_with_say_nothing_about_the_clock(world: World) -> None:
    world.tip.catching_up = True
    for late in (500.0, 400.0, 300.0):
        await world.block(after=0.01, late=late)
    world.tip.catching_up = False
    for _ in range(3):
        await world.block()
    assert world.readiness.ready


async def test_a_burst_of_missed_blocks_says_nothing_about_the_clock(world: World) -> None:
    await world.block()
    for late in range(60, 0, -1):
        await world.block(after=0.01, late=float(late))
        assert world.readiness.ready
    await world.block()
    assert world.readiness.ready


@pytest.mark.parametrize("world", [START_NS + 60 * NANOSECONDS], indirect=True)
async def test_a_clock_before_the_newest_block_is_named_at_the_start(world: World) -> None:
    await eventually(lambda: "60 s behind" in world.why)


def test_skew_is_what_is_outside_of_the_time_in_which_a_block_was_made() -> None:
    assert [skew_ns(time, 10, 20) for time in (7, 10, 15, 20, 24)] == [3, 0, 0, 0, -4]


def test_the_bound_leaves_two_heartbeats_and_never_is_that_of_a_busy_machine() -> None:
    assert skew_bound(30.0) == 10.0
    assert skew_bound(0.6) == SKEW_SECONDS_MIN
