"""The load: open-loop at a fixed rate, or closed-loop with so many acts in flight.

Latency of an open loop counts from the moment at which a transaction was to be sent, not from when
it was: a target that stalls is charged for what had to wait (no coordinated omission). It ends when
the member that took the transaction shows its block. Ledgers show proven blocks, which the loader
does not verify: it matches bytes. Verification is every client's own work, elsewhere.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from bench.load.target import Block, Target

# Calls of one member that wait for an answer: more would only queue in the loader.
CALLS_MAX = 256
# In one call: what a hospital's system gathers in some milliseconds of full load.
BATCH = 50
# Calls of one member at once in a closed loop: while one is answered, another is read.
SENDERS = 4
# The last block of a load; a chain that has stopped is noticed after this.
DRAIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Open:
    """Transactions at `rate` a second over all members, evenly spaced or as a Poisson process."""

    rate: float
    poisson: bool = True


@dataclass(frozen=True, slots=True)
class Closed:
    """Transactions as fast as they are committed, at most `in_flight` of them at once."""

    in_flight: int
    batch: int = BATCH


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a load.

    seconds: from the first transaction's moment to the block that shows the last one.
    sending: seconds until the last one was sent. backlog: transactions not committed then.
    """

    transactions: int
    seconds: float
    sending: float
    backlog: int
    latencies: Sequence[float]
    blocks: int


class _Watch:
    """Sees what is committed: every block as each member shows it."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.intended: dict[str, dict[bytes, float]] = {m: {} for m in target.members}
        self.latencies: list[float] = []
        self.last = 0.0
        self.sent = 0
        self._counted = 0  # committed transactions, by the first member's blocks
        self._unread: list[tuple[str, float, int]] = []
        self.blocks = 0
        self._moved = asyncio.Event()
        self._watched: set[str] = set()

    @property
    def in_flight(self) -> int:
        """Transactions that were sent and are not committed."""
        return self.sent - self._counted

    async def follow(self, member: str) -> None:
        """See a member's blocks, for ever."""
        async with aclosing(self._target.blocks(member)) as blocks:
            async for block in blocks:
                self._see(member, block)

    def _see(self, member: str, block: Block) -> None:
        now = time.perf_counter()
        if member not in self._watched:
            self._watched.add(member)
            self._moved.set()
        if not block.count:
            return
        if block.transactions is None:
            self._unread.append((member, now, block.height))
        else:
            self._match(member, now, block.transactions)
        if member == self._target.members[0]:
            self._counted += block.count
            self.blocks += 1
            self._moved.set()

    def _match(self, member: str, now: float, transactions: Sequence[bytes]) -> None:
        own = self.intended[member]
        for raw in transactions:
            since = own.pop(raw, None)
            if since is not None:
                self.latencies.append(now - since)
                self.last = max(self.last, now)

    async def everywhere(self) -> None:
        """Return when every member's blocks are seen."""
        async with asyncio.timeout(DRAIN_SECONDS):
            while len(self._watched) < len(self._target.members):
                self._moved.clear()
                await self._moved.wait()

    async def below(self, most: int) -> None:
        """Return when fewer than `most` are in flight."""
        while self.in_flight >= most:
            self._moved.clear()
            await self._moved.wait()

    async def settle(self) -> None:
        """Return when everything that was sent is committed where it was sent.

        Raises:
            TimeoutError: something is not.
        """
        async with asyncio.timeout(DRAIN_SECONDS):
            while any(self.intended.values()):
                unread, self._unread = self._unread, []
                for member, at, height in unread:
                    self._match(member, at, await self._target.transactions(member, height))
                await asyncio.sleep(0.02)


async def run(target: Target, load: Mapping[str, Sequence[bytes]], how: Open | Closed) -> Run:
    """Send a load and return what became of it.

    Args:
        load: signed transactions by the member that is to take them.

    Raises:
        Refused: the target refused a part of it.
        TimeoutError: a part of it was never committed.
    """
    watch = _Watch(target)
    async with asyncio.TaskGroup() as group:
        following = [group.create_task(watch.follow(member)) for member in target.members]
        await watch.everywhere()
        began = time.perf_counter()
        async with asyncio.TaskGroup() as senders:
            for member, transactions in load.items():
                if isinstance(how, Open):
                    rate = how.rate / len(load)
                    sending = _send_open(target, watch, (member, transactions), rate, how.poisson)
                else:
                    sending = _send_closed(target, watch, (member, transactions), how)
                senders.create_task(sending)
        sending_seconds, backlog = time.perf_counter() - began, watch.in_flight
        await watch.settle()
        for task in following:
            task.cancel()
    return Run(
        transactions=watch.sent,
        seconds=watch.last - began,
        sending=sending_seconds,
        backlog=backlog,
        latencies=sorted(watch.latencies),
        blocks=watch.blocks,
    )


async def _send_open(
    target: Target, watch: _Watch, load: tuple[str, Sequence[bytes]], rate: float, poisson: bool
) -> None:
    """Send one member's transactions when each is due, whatever becomes of those before."""
    member, transactions = load
    calls = asyncio.Semaphore(CALLS_MAX)
    due = _moments(len(transactions), rate, poisson)

    async def call(batch: Sequence[bytes]) -> None:
        try:
            await target.submit(member, batch)
        finally:
            calls.release()

    at = 0
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        while at < len(transactions):
            now = time.perf_counter() - began
            if due[at] > now:
                await asyncio.sleep(due[at] - now)
                continue
            first = at
            while at < len(transactions) and due[at] <= now and at - first < BATCH:
                watch.intended[member][transactions[at]] = began + due[at]
                at += 1
            watch.sent += at - first
            await calls.acquire()
            group.create_task(call(transactions[first:at]))


def _moments(count: int, rate: float, poisson: bool) -> list[float]:
    """Return when each transaction is due, in seconds from the start."""
    moments: list[float] = []
    at = 0.0
    for _ in range(count):
        at += random.expovariate(rate) if poisson else 1 / rate
        moments.append(at)
    return moments


async def _send_closed(
    target: Target, watch: _Watch, load: tuple[str, Sequence[bytes]], how: Closed
) -> None:
    """Send one member's transactions whenever fewer are in flight than allowed."""
    member, transactions = load
    batches = [transactions[at : at + how.batch] for at in range(0, len(transactions), how.batch)]
    batches.reverse()  # taken from the end

    async def send() -> None:
        while batches:
            await watch.below(how.in_flight)
            if not batches:
                return
            batch = batches.pop()
            watch.sent += len(batch)
            watch.intended[member].update(dict.fromkeys(batch, time.perf_counter()))
            await target.submit(member, batch)

    async with asyncio.TaskGroup() as group:
        for _ in range(SENDERS):
            group.create_task(send())
