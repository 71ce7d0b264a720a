"""Headers of the chain from other members' ledgers, each believed before anything is done with it.

Belief begins at the genesis (or at what a trust root file names) and skips from there, over the
headers that announced other validators: every ledger keeps those for ever, so the way is there
however much the ledgers have pruned.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right, insort
from collections.abc import Callable, Sequence

import structlog
from grpc import aio

from cipherward.chain.v1 import block_pb2 as chain
from cipherward_chain.comet import ValidatorSet, parse_header
from cipherward_chain.errors import ChainError
from cipherward_chain.light_block import LightBlock
from cipherward_chain.light_skipping import fetch, skip_to
from cipherward_chain.light_source import LightBlockUnavailable
from cipherward_chain.root_file import RootFile
from cipherward_chain.trust import TrustPoint
from cipherward_ledger.comet.other_ledgers import OtherLedger
from cipherward_ledger.history import Term
from cipherward_ledger.recording import terms_from

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class NoHeaderBelieved(Exception):
    """No other member's ledger answers a header of that height that can be believed."""


class VerifiedHeaders:
    """Asks one ledger after another, until one answers what can be believed."""

    def __init__(
        self,
        ledgers: Sequence[OtherLedger],
        trusted: RootFile,
        now_ns: Callable[[], int],
    ) -> None:
        """Begin at what is trusted; the ledgers are asked in the order given."""
        self._ledgers = ledgers
        self._first_set = trusted.root.validators
        self._chain_id = trusted.root.chain_id
        self._root = root = trusted.point
        self._now_ns = now_ns
        self._heights = [root.height]
        self._points: dict[int, TrustPoint] = {root.height: root}
        self._blocks: dict[int, LightBlock] = {}
        self._one = asyncio.Lock()

    async def light_block(self, height: int) -> LightBlock:
        """Return the certified header of `height`, with commit and validators.

        Raises:
            NoHeaderBelieved: nobody has it, or what they have is not of this chain.
        """
        async with self._one:
            for ledger in () if height in self._blocks else self._ledgers:
                try:
                    await self._believe(ledger, await fetch(ledger.headers, height))
                    break
                except LightBlockUnavailable:
                    continue
                except ChainError as error:
                    _distrust(ledger, error)
            block = self._blocks.get(height)
        if block is None:
            raise NoHeaderBelieved(f"height {height} is not available")
        return block

    async def newest(self, ledger: OtherLedger) -> LightBlock | None:
        """Return the newest header of one ledger; None if it has none that can be believed."""
        async with self._one:
            try:
                block = await fetch(ledger.headers, 0)
                if block.height not in self._blocks:
                    await self._believe(ledger, block)
                return self._blocks[block.height]
            except LightBlockUnavailable:
                return None
            except ChainError as error:
                _distrust(ledger, error)
                return None

    async def terms(self, height: int) -> list[Term]:
        """Return every set of validators since the genesis, up to the one of `height` + 1.

        They begin at the genesis whatever is trusted: each change is signed by the set before it.

        Raises:
            NoHeaderBelieved: nobody's list leads to the certified set of that height.
        """
        following = await self.light_block(height + 1)
        for ledger in self._ledgers:
            try:
                changes = [one for one in await ledger.changes() if _height(one) <= height]
                terms = await asyncio.to_thread(terms_from, changes, self._first_set, height)
            except aio.AioRpcError:
                continue
            except ChainError as error:
                _distrust(ledger, error)
                continue
            if terms[-1].validators == following.validators:
                return terms
            log.warning("validator_changes_incomplete", member=ledger.member)
        raise NoHeaderBelieved(f"the validators of height {height} are not available")

    async def _believe(self, ledger: OtherLedger, target: LightBlock) -> None:
        before = self._before(target.height)
        if target.height == before.height:
            return
        if before.height + 1 < target.height and before.validators != target.validators:
            await self._step_over_changes(ledger, target.height)
            before = self._before(target.height)
        for block in await skip_to(before, target, ledger.headers, self._now_ns()):
            self._keep(block)

    async def _step_over_changes(self, ledger: OtherLedger, height: int) -> None:
        """Believe the headers that announced other sets on the way, as far as they help."""
        try:
            changes = await ledger.changes()
        except aio.AioRpcError:
            return
        for change in changes:
            at = _height(change)
            if not self._root.height < at < height or at in self._blocks:
                continue
            before = self._before(at)
            raw = chain.LightBlock(
                header=change.header,
                commit=change.commit,
                validators=before.validators.to_bytes(),
            )
            step = LightBlock.parse(raw, self._chain_id)
            for block in await skip_to(before, step, ledger.headers, self._now_ns()):
                self._keep(block)
            self._announced(step, change)

    def _announced(self, step: LightBlock, change: chain.ValidatorChange) -> None:
        """Know the set of the header after a believed one, from what the believed one announced."""
        announced = ValidatorSet.from_bytes(change.validators)
        if announced.hash() == step.header.next_validators_hash:
            point = TrustPoint.of(step)
            self._points[step.height] = TrustPoint(
                point.height, point.header_hash, point.time_ns, announced
            )

    def _before(self, height: int) -> TrustPoint:
        """Return the newest believed header up to `height`."""
        place = bisect_right(self._heights, height)
        if not place:
            raise NoHeaderBelieved(f"height {height} is before what is trusted")
        return self._points[self._heights[place - 1]]

    def _keep(self, block: LightBlock) -> None:
        if block.height not in self._points:
            insort(self._heights, block.height)
            self._points[block.height] = TrustPoint.of(block)
        self._blocks[block.height] = block


def _height(change: chain.ValidatorChange) -> int:
    return parse_header(change.header).height


def _distrust(ledger: OtherLedger, error: ChainError) -> None:
    """Say whose answer cannot be believed: a fault of that member, or an attack."""
    log.warning("other_ledger_disbelieved", member=ledger.member, why=error.reason)
