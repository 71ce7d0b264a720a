"""Proven blocks that this ledger does not keep, passed on from other members' ledgers.

A ledger whose state was synced has no blocks before it, while its own member's storage or compute
may have stood lower when the ledger was lost: the orders of the blocks between must reach them. So
those blocks are asked for elsewhere, verified, and passed on; nothing is stored.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict

import structlog
from grpc import aio

from cipherward.chain.v1 import block_pb2 as chain
from cipherward_chain.errors import ChainError
from cipherward_chain.light import LightClient
from cipherward_chain.root_file import RootFile
from cipherward_chain.trust import checkpoint_at
from cipherward_ledger.clock import Clock
from cipherward_ledger.comet.metrics import RELAYED
from cipherward_ledger.comet.other_ledgers import OtherLedger, OtherLedgers
from cipherward_ledger.comet.verified_headers import NoHeaderBelieved, VerifiedHeaders

# Followers that are behind at the same time; one more begins by skipping again.
PLACES_MAX = 16
# What the others keep changes slowly, and anybody may ask for the status.
LOOK_SECONDS = 30.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Relay:
    """The other members' blocks. Opened with `others`; until then there are none."""

    def __init__(self, others: OtherLedgers, trusted: RootFile, clock: Clock) -> None:
        self._others = others
        self._trusted = trusted
        self._clock = clock
        self._places: OrderedDict[int, LightClient] = OrderedDict()  # by the next height
        self._kept: list[tuple[OtherLedger, int]] = []  # from which height on
        self._looked: float | None = None
        self._looking = asyncio.Lock()

    async def first_height(self) -> int:
        """Return the oldest block that somebody says to keep; 0 if nobody answers."""
        return min((first for _, first in await self._look()), default=0)

    async def _look(self) -> list[tuple[OtherLedger, int]]:
        async with self._looking:
            now = time.monotonic()
            if self._looked is None or now - self._looked > LOOK_SECONDS:
                answers = await self._others.statuses()
                self._kept = [(one, s.first_height) for one, s in answers if s.first_height]
                self._looked = now if self._kept else None
            return self._kept

    async def get(self, height: int) -> chain.ProvenBlock | None:
        """Return a verified block, or None if nobody answers one."""
        for ledger, first in await self._look():
            if first > height:
                continue
            try:
                block = await ledger.block(height)
                place = self._places.pop(height, None) or await self._place(height)
                await asyncio.to_thread(place.accept, block)
            except aio.AioRpcError:
                continue
            except NoHeaderBelieved:
                return None
            except ChainError as error:
                log.warning("other_ledger_disbelieved", member=ledger.member, why=error.reason)
                continue
            self._places[height + 1] = place
            while len(self._places) > PLACES_MAX:
                self._places.popitem(last=False)
            RELAYED.inc()
            return block
        return None

    async def _place(self, height: int) -> LightClient:
        """Return a client whose next block is that of `height`."""
        if height < 2:
            return LightClient(self._trusted.root)
        ledgers: tuple[OtherLedger, ...] = self._others.all
        headers = VerifiedHeaders(ledgers, self._trusted, self._clock.now_ns)
        target = await headers.light_block(height)
        return LightClient(self._trusted.root, checkpoint_at(target, self._trusted.root))
