"""Presentations are verified by identity, in batches of whatever has come in meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from grpc import aio

from cipherward.identity.v1 import identity_service_pb2 as pb
from cipherward.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from cipherward_chain.authorization import PresentationClaim
from cipherward_kit.errors import reason_of
from cipherward_ledger.errors import IdentityAway

# What identity takes in one call, in number and, with room for the frame, in bytes.
BATCH_MAX = 256
BATCH_BYTES_MAX = 3 * 1024 * 1024
# 256 presentations take identity less than a second; a caller waits no longer than this.
VERIFY_SECONDS = 5.0
# Claims that wait for the call before theirs: four full batches.
QUEUE_MAX = 4 * BATCH_MAX

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Asked:
    claim: PresentationClaim
    size: int
    answer: asyncio.Future[bool]


class PresentationVerifier:
    """Asks identity, one batch at a time; while a batch is out, the next one gathers."""

    def __init__(self, stub: IdentityServiceStub) -> None:
        self._stub = stub
        self._queue: asyncio.Queue[_Asked] = asyncio.Queue(QUEUE_MAX)
        self._left: _Asked | None = None  # did not fit the batch before

    async def verify(self, claims: Sequence[PresentationClaim]) -> list[bool]:
        """Return whether each presentation is valid for its context.

        Raises:
            IdentityAway: identity has not answered in time.
        """
        loop = asyncio.get_running_loop()
        asked = [_Asked(c, _size(c), loop.create_future()) for c in claims]
        try:
            async with asyncio.timeout(2 * VERIFY_SECONDS):  # the batch before, and ours
                for one in asked:
                    await self._queue.put(one)
                return list(await asyncio.gather(*(one.answer for one in asked)))
        except TimeoutError:
            raise IdentityAway("identity does not verify presentations in time") from None

    async def run(self) -> None:
        """Send batches, for ever."""
        while True:
            batch = await self._gather()
            try:
                valid = await self._ask(batch)
            except IdentityAway as away:
                for one in batch:
                    if not one.answer.done():
                        one.answer.set_exception(away)
                        one.answer.exception()  # its caller may have stopped waiting
                continue
            for one, verdict in zip(batch, valid, strict=True):
                if not one.answer.done():
                    one.answer.set_result(verdict)

    async def _gather(self) -> list[_Asked]:
        """Wait for a claim and take what waits with it, within one call's bounds."""
        batch = [self._left or await self._queue.get()]
        self._left = None
        size = batch[0].size
        while len(batch) < BATCH_MAX and not self._queue.empty():
            one = self._queue.get_nowait()
            if one.answer.done():  # its caller is gone
                continue
            size += one.size
            if size > BATCH_BYTES_MAX:
                self._left = one
                break
            batch.append(one)
        return batch

    async def _ask(self, batch: Sequence[_Asked]) -> list[bool]:
        request = pb.VerifyPresentationsRequest(
            presentations=[
                pb.PresentationToVerify(presentation=a.claim.presentation, context=a.claim.context)
                for a in batch
            ]
        )
        try:
            answer = await self._stub.VerifyPresentations(request, timeout=VERIFY_SECONDS)
        except aio.AioRpcError as error:
            log.warning("identity_away", status=error.code().name, reason=reason_of(error))
            raise IdentityAway("identity does not verify presentations now") from None
        if len(answer.valid) != len(batch):
            log.error("identity_answer_incomplete", asked=len(batch), answered=len(answer.valid))
            raise IdentityAway("identity does not verify presentations now")
        return list(answer.valid)


def _size(claim: PresentationClaim) -> int:
    return claim.presentation.ByteSize() + len(claim.context)
