"""Hands the outbox's transactions to the node, whose own mempool is in memory only.

Each is handed over when it arrives, again to every node process that starts, and again when it is
in no block after some seconds. The node says of what it knows that it knows it, so more often than
needed costs little and less often would lose transactions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from cipherward_ledger.clock import first_of
from cipherward_ledger.comet.metrics import BROADCASTS
from cipherward_ledger.comet.node_rpc import NodeAway, NodeRpc
from cipherward_ledger.mempool import Entry, Mempool

# In one request: about 5 ms of the node. Half of them fill a block.
BATCH_MAX = 250
BATCH_BYTES_MAX = 512 * 1024  # the body stays below 1 MiB, which aiohttp sends at once
# A block takes 0.1 to 1 s; what is in none after this is handed over again, so many a round.
AGAIN_SECONDS = 5.0
AGAIN_MAX = 1_000
PAUSE_SECONDS = 0.25  # when the node is away, full or catching up

# What the node says that is no refusal: it has it.
KNOWN = "tx already exists in cache"

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Broadcaster:
    """One task that hands over; `node_started` is for who watches the node."""

    def __init__(
        self, mempool: Mempool, rpc: NodeRpc, recorded: Callable[[], Awaitable[None]]
    ) -> None:
        """Describe it; `recorded` returns when every block committed by then is recorded.

        A node that has just started knows nothing of the transactions in its blocks, and would take
        them once more: contract refuses a repetition, but it would be in the chain.
        """
        self._mempool = mempool
        self._rpc = rpc
        self._recorded = recorded
        self._handed = 0  # the newest sequence that this node process was handed
        self._again = 0  # where the round of repetitions goes on
        self._again_due = 0.0
        self._ready = asyncio.Event()
        self._fresh = False  # the node process has started, and nothing was handed to it

    def node_changed(self, ready: bool) -> None:
        """Take note whether the node takes transactions; a new process is handed everything."""
        if ready and not self._ready.is_set():
            self._handed = 0
            self._fresh = True
            self._again_due = time.monotonic() + AGAIN_SECONDS
            self._ready.set()
        elif not ready:
            self._ready.clear()

    async def run(self) -> None:
        """Hand over, for ever."""
        while True:
            await self._ready.wait()
            if self._fresh:
                self._fresh = False
                await self._recorded()
            if not await self._hand_new():
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            await first_of(self._mempool.arrived(self._handed), self._due())
            if time.monotonic() >= self._again_due:
                await self._repeat()

    async def _due(self) -> None:
        await asyncio.sleep(max(0.0, self._again_due - time.monotonic()))

    async def _hand_new(self) -> bool:
        """Hand over what has arrived; return whether the node took it all."""
        while batch := _bounded(self._mempool.after(self._handed, BATCH_MAX)):
            if not await self._hand([entry for _, entry in batch]):
                return False
            self._handed = batch[-1][0]
        return True

    async def _repeat(self) -> None:
        """Hand over again what still waits and was handed over a round ago."""
        self._again_due = time.monotonic() + AGAIN_SECONDS
        left = AGAIN_MAX
        newest = self._handed
        while left > 0:
            waiting = self._mempool.after(self._again, min(left, BATCH_MAX))
            batch = _bounded([one for one in waiting if one[0] <= newest])
            if not batch:
                self._again = 0
                return
            if not await self._hand([entry for _, entry in batch]):
                return
            self._again = batch[-1][0]
            left -= len(batch)

    async def _hand(self, entries: Sequence[Entry]) -> bool:
        try:
            refusals = await self._rpc.broadcast([entry.content for entry in entries])
        except NodeAway:
            return False
        BROADCASTS.inc(len(entries))
        for refusal in refusals:
            if refusal and not refusal.startswith(KNOWN):
                # Full, or catching up: all of the batch is offered again.
                log.info("node_takes_no_transactions", why=refusal[:200])
                return False
        return True


def _bounded(found: Sequence[tuple[int, Entry]]) -> Sequence[tuple[int, Entry]]:
    """Return as many of the first as one request may carry, one at least."""
    size = 0
    for at, (_, entry) in enumerate(found):
        size += len(entry.content)
        if size > BATCH_BYTES_MAX and at:
            return found[:at]
    return found
