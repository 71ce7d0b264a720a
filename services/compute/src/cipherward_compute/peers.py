"""Fetching what the other members' compute services have stored.

A peer may be a block behind, restarting or away: whatever is not a wrong answer is asked again,
until the contract gives the step up and its retirement cancels us. What a peer sends is judged by
whoever asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import grpc
import structlog
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward.compute.v1.compute_service_pb2_grpc import ComputeServiceStub
from cipherward_compute.commitments import Contributed
from cipherward_compute.errors import StepFailed
from cipherward_compute.instructions import Stage
from cipherward_member.peers import PeerChannels, PeerUnknown
from cipherward_member.reports import OrderKey

R = TypeVar("R")

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# A peer that waits for its block answers within a second of waiting; the bytes take milliseconds.
CALL_SECONDS = 5.0
# A peer that is a block behind is there in some milliseconds; one that restarts, in seconds.
RETRY_SECONDS, RETRY_SECONDS_MAX = 0.01, 1.0
# No step of a contract may take longer: then the contract has ended, heard or not.
STEP_SECONDS_MAX = 86_400.0
# Answers that say "not now"; any other is said at once and for good.
PASSING = frozenset(
    (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.FAILED_PRECONDITION,  # NOT_YET_MADE, STUDY_ENDED, CHAIN_STALE
        grpc.StatusCode.NOT_FOUND,  # STUDY_UNKNOWN: it has not seen the block
        grpc.StatusCode.UNAUTHENTICATED,  # a certificate that is being renewed
        grpc.StatusCode.INTERNAL,
    )
)
STAGES: Mapping[Stage, pb.ContributionStage.ValueType] = {
    "counts": pb.CONTRIBUTION_STAGE_COUNTS,
    "values": pb.CONTRIBUTION_STAGE_VALUES,
}


class Peers:
    """The other members' compute services."""

    def __init__(self, channels: PeerChannels) -> None:
        self._channels = channels

    async def ceremony_message(self, member: str, study: bytes) -> bytes:
        """Return what a member reveals to all."""
        return await self._message(member, study, pb.CEREMONY_MESSAGE_KIND_PUBLIC_KEY_SHARE)

    async def deal(self, member: str, study: bytes) -> bytes:
        """Return a member's deal to this one."""
        return await self._message(member, study, pb.CEREMONY_MESSAGE_KIND_DEAL)

    async def contribution(self, member: str, study: bytes, stage: Stage) -> Contributed:
        """Return a member's ciphertext, and up to which block it says that opt-outs are in it."""
        request = pb.GetContributionRequest(study_id=study, stage=STAGES[stage])

        async def ask() -> pb.GetContributionResponse:
            return await (await self._stub(member)).GetContribution(request, timeout=CALL_SECONDS)

        found = await _until_there(member, ask)
        return Contributed(found.ciphertext, found.opt_outs_height)

    async def decryption_share(self, member: str, study: bytes, order: OrderKey) -> bytes:
        """Return a member's share of the counts."""
        request = pb.GetDecryptionShareRequest(
            study_id=study, order=chain_pb.OrderRef(height=order.height, index=order.index)
        )

        async def ask() -> pb.GetDecryptionShareResponse:
            stub = await self._stub(member)
            return await stub.GetDecryptionShare(request, timeout=CALL_SECONDS)

        return (await _until_there(member, ask)).share

    async def _message(
        self, member: str, study: bytes, kind: pb.CeremonyMessageKind.ValueType
    ) -> bytes:
        request = pb.GetCeremonyMessageRequest(study_id=study, kind=kind)

        async def ask() -> pb.GetCeremonyMessageResponse:
            stub = await self._stub(member)
            return await stub.GetCeremonyMessage(request, timeout=CALL_SECONDS)

        return (await _until_there(member, ask)).message

    async def _stub(self, member: str) -> ComputeServiceStub:
        return ComputeServiceStub(await self._channels.to(member))


async def from_all(members: tuple[str, ...], fetch: Callable[[str], Awaitable[R]]) -> dict[str, R]:
    """Return what `fetch` answers for each member, all asked at once.

    Raises:
        StepFailed: one of them gave a refusal that does not pass.
    """
    found: dict[str, R] = {}

    async def one(member: str) -> None:
        found[member] = await fetch(member)

    try:
        async with asyncio.TaskGroup() as group:
            for member in members:
                group.create_task(one(member))
    except* StepFailed as several:
        raise next(iter(_leaves(several))) from None
    return {member: found[member] for member in members}


def _leaves(group: BaseExceptionGroup[StepFailed]) -> list[StepFailed]:
    leaves: list[StepFailed] = []
    for error in group.exceptions:
        leaves.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return leaves


async def _until_there(member: str, call: Callable[[], Awaitable[R]]) -> R:
    """Call until it is answered.

    Raises:
        StepFailed: a refusal that does not pass, or none for a day.
    """
    pause = RETRY_SECONDS
    try:
        async with asyncio.timeout(STEP_SECONDS_MAX):
            while True:
                try:
                    return await call()
                except aio.AioRpcError as error:
                    code: grpc.StatusCode = error.code()
                    if code not in PASSING:
                        raise StepFailed(f"{member} refuses: {code.name}") from None
                    log.debug("peer_asked_again", member=member, code=code.name)
                except PeerUnknown:
                    log.info("peer_unknown", member=member)
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_SECONDS_MAX)
    except TimeoutError:
        raise StepFailed(f"{member} has not answered for a day") from None
