"""Entries of the chain's state, believed as far as a header proves them that follows from a place.

The place is where the store stands. Headers after it are reached by skipping verification.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.checkpoint import Checkpoint
from cipherward_chain.light_block import LightBlock
from cipherward_chain.light_skipping import CLOCK_DRIFT_SECONDS, LightSource, fetch, skip_to
from cipherward_chain.light_source import LightBlockUnavailable
from cipherward_chain.rejections import BlockRejected
from cipherward_chain.state_proof import StateProofRejected, verify_state_proof
from cipherward_chain.trust import TrustPoint
from cipherward_chain.wire import NANOS
from cipherward_storage.errors import StoreDiffers

KEYS_MAX: Final = 64  # of one question: the bound of `ReadState`
# For a header that is not made yet: one a heartbeat, 10 s, and members that are slow to agree.
HEADER_SECONDS: Final = 30.0
AGAIN_SECONDS: Final = 0.5

AskState: TypeAlias = Callable[[pb.ReadStateRequest], Awaitable[pb.ReadStateResponse]]
Clock: TypeAlias = Callable[[], int]


class ChainState:
    """The state of the chain that a store stands on."""

    def __init__(
        self,
        ask: AskState,
        headers: LightSource,
        place: Checkpoint,
        fresh_seconds: float,
        clock: Clock = time.time_ns,
    ) -> None:
        """Describe it; `open` it before it is read.

        Args:
            ask: contract's ReadState, untrusted.
            headers: the ledger's, untrusted.
            place: where the store stands: the chain must have it.
            fresh_seconds: how old the newest header may be.
            clock: nanoseconds of Unix time.
        """
        self._ask = ask
        self._headers = headers
        self._place = place
        self._fresh_seconds = fresh_seconds
        self._clock = clock
        self._trusted = TrustPoint.of_checkpoint(place)
        self._certified = b""  # the newest app hash that is believed

    async def open(self) -> int:
        """Hold the place against the chain; return the height of the chain's newest header.

        Raises:
            StoreDiffers: the chain has another block there, or has not reached it.
            LightBlockUnavailable: the ledger does not answer.
        """
        newest = await fetch(self._headers, 0)
        age = self._clock() / NANOS - newest.time_ns / NANOS
        if age > self._fresh_seconds + CLOCK_DRIFT_SECONDS:
            raise StoreDiffers(f"the ledger's newest block is {age:.0f} s old: start the ledgers")
        if newest.height < self._trusted.height:
            raise StoreDiffers(
                f"the store stands at block {self._place.height}, the chain at {newest.height}: "
                "start the ledgers of the newest state first"
            )
        await self._believe(await fetch(self._headers, self._trusted.height))
        await self._believe(newest)
        return newest.height

    async def read(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes | None]:
        """Return the values of up to `KEYS_MAX` keys, None for those that the state has not.

        Raises:
            StoreDiffers: a proof does not lead to a header that follows from the store's place.
            LightBlockUnavailable: the ledger does not answer.
            AioRpcError: contract does not.
        """
        answer = await self._ask(pb.ReadStateRequest(keys=keys))
        if answer.app_hash != self._certified:
            block = await self._made(answer.height + 1)
            await self._believe(block)
            if block.header.app_hash != answer.app_hash:
                raise StoreDiffers("contract answers another state than the chain's")
            self._certified = answer.app_hash
        proofs = {proof.key: proof for proof in answer.proofs}
        try:
            return {key: verify_state_proof(proofs[key], answer.app_hash, key) for key in keys}
        except (KeyError, StateProofRejected):
            raise StoreDiffers("contract does not prove what it answers") from None

    async def _made(self, height: int) -> LightBlock:
        """Return a header, once it is made. An empty block changes no state, but for the height."""
        try:
            async with asyncio.timeout(HEADER_SECONDS):
                while True:
                    try:
                        return await fetch(self._headers, height)
                    except LightBlockUnavailable:
                        await asyncio.sleep(AGAIN_SECONDS)
        except TimeoutError:
            raise LightBlockUnavailable(f"no header {height}") from None

    async def _believe(self, block: LightBlock) -> None:
        """Believe a header that is, or comes after, the newest that is believed."""
        if block.height == self._trusted.height:
            if block.hash != self._trusted.header_hash:
                raise StoreDiffers(f"the chain has another block {block.height}")
            return
        try:
            await skip_to(self._trusted, block, self._headers, self._clock())
        except BlockRejected as error:
            raise StoreDiffers(
                f"the chain does not follow from where the store stands: {error}"
            ) from None
        self._trusted = TrustPoint.of(block)
