"""The order that released a study's newest result: found with any member, and proven."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from grpc import aio

from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_chain.canonical import NotCanonical
from cipherward_chain.orders import Order
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import CheckFailed
from cipherward_client.sdk.proven_orders import OrderDiffers, orders_at
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.retries import is_away, is_passing
from cipherward_client.sdk.study_requests import members_of
from cipherward_client.wallet.entries import KeptStudy
from cipherward_kit.errors import reason_of

GET_STUDY = "/cipherward.compute.v1.ComputeService/GetStudy"
LOOK_SECONDS = 30.0


class StudyEnded(CheckFailed):
    """The study ended without a result."""

    reason = "STUDY_ENDED"


class NotReleased(CheckFailed):
    """The study has not been released yet."""

    reason = "NOT_RELEASED"


@dataclass(frozen=True, slots=True)
class ResultOrder:
    """A proven order to release: where it stands, who releases, which sums, of which round."""

    order: tuple[int, int]
    release_set: tuple[str, ...]
    digest: bytes
    requester_key_digest: bytes
    round: int


async def release_order(alliance: Alliance, asker: Asker, study: KeptStudy) -> ResultOrder:
    """Return the order of the newest release of a study that any of its members knows.

    Raises:
        StudyEnded, NotReleased: there is none, or none any more.
        OrderDiffers: what the members name is no such order.
        AioRpcError: no member answers.
    """
    states = await _states(alliance, asker, members_of(alliance, study), study.study_id)
    for state in states:
        if state.ended and state.stage != "released":
            raise StudyEnded(f"{state.stage}: {state.failure}".rstrip(": "))
    places = {
        (state.release_order.height, state.release_order.index)
        for state in states
        if state.HasField("release_order")
    }
    if not places:
        raise NotReleased(f"the study is {states[0].stage}")
    wrong: OrderDiffers | None = None
    for height, index in sorted(places, reverse=True):  # one that is wrong hides no other
        try:
            return await _proven(alliance, height, index, study.study_id)
        except OrderDiffers as error:
            wrong = error
    raise wrong or NotReleased("no member names the release")


async def _proven(alliance: Alliance, height: int, index: int, study_id: bytes) -> ResultOrder:
    orders = await orders_at(alliance, height)
    if index >= len(orders):
        raise OrderDiffers("the block has no such order")
    return _result_order(orders[index], study_id)


async def _states(
    alliance: Alliance, asker: Asker, members: Sequence[str], study_id: bytes
) -> list[pb.Study]:
    """Return the study as each member sees it that answers; at least one does."""

    async def look(member: str) -> pb.Study:
        request = pb.GetStudyRequest(read=asker.read(GET_STUDY, study_id))
        compute = alliance.compute_of(member)
        return (await compute.GetStudy(request, timeout=LOOK_SECONDS)).study

    found: list[pb.Study] = []
    failure: BaseException | None = None
    for answer in await asyncio.gather(*map(look, members), return_exceptions=True):
        if isinstance(answer, pb.Study):
            found.append(answer)
        elif isinstance(answer, aio.AioRpcError) and _may_pass(answer):
            failure = answer
        else:
            raise answer
    if not found:
        raise failure or NotReleased("no member knows the study")
    return found


def _may_pass(error: aio.AioRpcError) -> bool:
    return is_passing(error) or is_away(error) or reason_of(error) == "STUDY_UNKNOWN"


def _result_order(order: Order, study_id: bytes) -> ResultOrder:
    try:
        fields = order.fields()
        found = ResultOrder(
            order=(order.height, order.index),
            release_set=fields.texts("set"),
            digest=fields.octets("digest", length=32),
            requester_key_digest=fields.octets("requester_key_digest", length=32),
            round=fields.integer("round"),
        )
        same = order.instruction == "release_result" and fields.octets("study") == study_id
    except NotCanonical as error:
        raise OrderDiffers(f"the order is out of form: {error}") from error
    if not same or not found.release_set or found.round < 1:
        raise OrderDiffers("the order releases something else")
    return found
