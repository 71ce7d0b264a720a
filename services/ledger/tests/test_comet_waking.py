"""The first news of a silent chain: ticks of the first validator, until there are some."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from cipherward_chain.authorization import MemberSigner
from cipherward_chain.genesis import Genesis
from cipherward_chain.testing import make_genesis
from cipherward_kit.readiness import Readiness
from cipherward_kit.testing import eventually
from cipherward_ledger.clock import NANOSECONDS
from cipherward_ledger.comet.waking import AGAIN_SECONDS, wake
from cipherward_ledger.testing import ManualClock, Submissions
from cipherward_ledger.ticker import Validators
from cipherward_ledger.tip import Position, Tip

GENESIS: Genesis = make_genesis(members=4, engine="cometbft")[0]
BEAT_SECONDS = GENESIS.parameters.heartbeat_seconds


@asynccontextmanager
async def waking(
    clock: ManualClock, tip: Tip, index: int = 0
) -> AsyncGenerator[tuple[Submissions, asyncio.Task[None]]]:
    """Wake a chain as a validator of four, ready from the start."""
    counter, signer = Submissions(), MemberSigner("hospital-a", bytes(32))
    views = tip, Validators(index, 4)
    running = asyncio.create_task(wake(GENESIS, signer, counter, clock.clock(), Readiness(), views))
    try:
        yield counter, running
    finally:
        running.cancel()
        await asyncio.wait([running])


def new_chain(height: int) -> Tip:
    return Tip(Position(height, 0, b"", None))


async def test_ticks_are_sent_until_the_chain_has_a_proven_block() -> None:
    clock, tip = ManualClock(0), new_chain(1)
    async with waking(clock, tip) as (counter, running):
        for sent in (1, 2, 3):  # the nodes that were handed the first have dropped it
            await eventually(lambda sent=sent: len(counter.submitted) == sent)
            await clock.sleeps(AGAIN_SECONDS)
            clock.advance(AGAIN_SECONDS)
        await eventually(lambda: len(counter.submitted) == 4)
        tip.move(Position(2, clock.now_ns(), b"", None))
        await asyncio.wait_for(running, 10)
    assert len(set(counter.submitted)) == 4  # each is another transaction: nobody has dropped it


async def test_a_chain_that_was_down_gets_one_tick_if_it_goes_on_at_once() -> None:
    clock, tip = ManualClock(BEAT_SECONDS * NANOSECONDS), new_chain(7)
    async with waking(clock, tip) as (counter, running):
        await eventually(lambda: counter.submitted)
        tip.move(Position(8, clock.now_ns(), b"", None))
        await asyncio.wait_for(running, 10)
    assert len(counter.submitted) == 1


async def test_nobody_ticks_on_a_chain_with_news_or_beside_the_first_validator() -> None:
    clock = ManualClock(BEAT_SECONDS * NANOSECONDS - 1)
    async with waking(clock, new_chain(7)) as (counter, running):
        await asyncio.wait_for(running, 10)
    assert not counter.submitted
    async with waking(clock, new_chain(0), index=1) as (counter, running):
        await asyncio.wait_for(running, 10)
    assert not counter.submitted
