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
from cipherward_compute.chunks import received
from cipherward_compute.commitments import Contributed
from cipherward_compute.errors import StepFailed
from cipherward_compute.keyring import MessageKind
from cipherward_compute.sums import Stage, Sum
from cipherward_kit.errors import first_cause
from cipherward_member.peers import PeerChannels, PeerUnknown
from cipherward_member.reports import OrderKey

R = TypeVar("R")

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# A peer that waits for its block answers within a second of waiting; some MB take a second on a
# slow line.
CALL_SECONDS = 10.0
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
        grpc.StatusCode.CANCELLED,  # by the peer, which has ended
    )
)
STAGES: Mapping[Stage, pb.ContributionStage.ValueType] = {
    "counts": pb.CONTRIBUTION_STAGE_COUNTS,
    "values": pb.CONTRIBUTION_STAGE_VALUES,
}
KINDS: Mapping[MessageKind, pb.CeremonyMessageKind.ValueType] = {
    "reveal": pb.CEREMONY_MESSAGE_KIND_REVEAL,
    "deal": pb.CEREMONY_MESSAGE_KIND_DEAL,
    "check": pb.CEREMONY_MESSAGE_KIND_CHECK,
    "relin_first": pb.CEREMONY_MESSAGE_KIND_RELIN_FIRST,
    "relin_second": pb.CEREMONY_MESSAGE_KIND_RELIN_SECOND,
    "test": pb.CEREMONY_MESSAGE_KIND_TEST,
    "test_share": pb.CEREMONY_MESSAGE_KIND_TEST_SHARE,
    "opening": pb.CEREMONY_MESSAGE_KIND_OPENING,
    "reshare_mask": pb.CEREMONY_MESSAGE_KIND_RESHARE_MASK,
    "reshare_deal": pb.CEREMONY_MESSAGE_KIND_RESHARE_DEAL,
    "reshare_check": pb.CEREMONY_MESSAGE_KIND_RESHARE_CHECK,
    "reshare_share": pb.CEREMONY_MESSAGE_KIND_RESHARE_SHARE,
    "public_key": pb.CEREMONY_MESSAGE_KIND_PUBLIC_KEY,
    "evaluation_key": pb.CEREMONY_MESSAGE_KIND_EVALUATION_KEY,
    "columns": pb.CEREMONY_MESSAGE_KIND_COLUMNS,
}


class Peers:
    """The other members' compute services."""

    def __init__(self, channels: PeerChannels) -> None:
        self._channels = channels

    async def ceremony_message(self, member: str, study: bytes, kind: MessageKind) -> bytes:
        """Return a member's message of a ceremony or resharing; a deal is that to this member."""
        request = pb.GetCeremonyMessageRequest(study_id=study, kind=KINDS[kind])

        async def ask() -> bytes:
            stub = await self._stub(member)
            _, message = await received(
                member, stub.GetCeremonyMessage(request, timeout=CALL_SECONDS)
            )
            return message

        return await until_there(member, ask)

    async def contribution(self, member: str, wanted: Sum) -> Contributed:
        """Return a member's batch, and up to which block it says that opt-outs are in it."""
        request = pb.GetContributionRequest(
            study_id=wanted.study,
            stage=STAGES[wanted.stage],
            round=wanted.round,
            refreshed=wanted.refreshed,
        )

        async def ask() -> Contributed:
            stub = await self._stub(member)
            first, batch = await received(
                member, stub.GetContribution(request, timeout=CALL_SECONDS)
            )
            return Contributed(batch, first.opt_outs_height)

        return await until_there(member, ask)

    async def verdict(self, member: str, study: bytes) -> bytes:
        """Return which cells a member leaves out."""
        request = pb.GetVerdictRequest(study_id=study)

        async def ask() -> bytes:
            stub = await self._stub(member)
            return (await stub.GetVerdict(request, timeout=CALL_SECONDS)).verdict

        return await until_there(member, ask)

    async def column_manifest(self, member: str, study: bytes) -> bytes:
        """Return the list of a member's encrypted columns of a data key."""
        request = pb.GetColumnManifestRequest(study_id=study)

        async def ask() -> bytes:
            stub = await self._stub(member)
            return (await stub.GetColumnManifest(request, timeout=CALL_SECONDS)).manifest

        return await until_there(member, ask)

    async def decryption_shares(self, member: str, study: bytes, order: OrderKey) -> bytes:
        """Return a member's packed shares of the counts."""
        request = pb.GetDecryptionShareRequest(
            study_id=study, order=chain_pb.OrderRef(height=order.height, index=order.index)
        )

        async def ask() -> bytes:
            stub = await self._stub(member)
            _, shares = await received(
                member, stub.GetDecryptionShare(request, timeout=CALL_SECONDS)
            )
            return shares

        return await until_there(member, ask)

    async def _stub(self, member: str) -> ComputeServiceStub:
        return ComputeServiceStub(await self._channels.to(member))


async def from_all(members: tuple[str, ...], fetch: Callable[[str], Awaitable[R]]) -> dict[str, R]:
    """Return what `fetch` answers for each member, all asked at once.

    Raises:
        StepFailed: one of them gave a refusal that does not pass.
        whatever `fetch` raises, the first of it.
    """
    found: dict[str, R] = {}

    async def one(member: str) -> None:
        found[member] = await fetch(member)

    try:
        async with asyncio.TaskGroup() as group:
            for member in members:
                group.create_task(one(member))
    except ExceptionGroup as several:  # what one of them raised is what went wrong
        raise first_cause(several) from None
    return {member: found[member] for member in members}


async def until_there(member: str, call: Callable[[], Awaitable[R]]) -> R:
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
