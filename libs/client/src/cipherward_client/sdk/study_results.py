"""A study's released result: collected from the members, checked, and read with one's own key.

Nothing is believed that the chain does not prove: the release order is verified against the
trust root, the ciphertext against the digest in the order, and every share says for which
ciphertext, set and key it was made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from grpc import aio

from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_chain.canonical import NotCanonical
from cipherward_chain.orders import Order
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import CheckFailed, explaining
from cipherward_client.sdk.proven_orders import OrderDiffers, orders_at
from cipherward_client.sdk.questions import Asker, ask
from cipherward_client.sdk.retries import Patience, is_passing
from cipherward_client.sdk.study_requests import PROFILE, StudyRequest
from cipherward_client.wallet.entries import KeptStudy
from cipherward_client.wallet.wallet import Wallet
from cipherward_kit.errors import reason_of
from cipherward_threshold.study import StudyStatistics

# Imported where they are used: they load SEAL, which takes half a second that no other command
# should pay.
if TYPE_CHECKING:
    from cipherward_threshold.switching import RequesterKey

SERVICE = "/cipherward.compute.v1.ComputeService"
PART_SECONDS = 30.0


class StudyEnded(CheckFailed):
    """The study ended without a result."""

    reason = "STUDY_ENDED"


class NotReleased(CheckFailed):
    """The study has not been released yet."""

    reason = "NOT_RELEASED"


class ResultDiffers(CheckFailed):
    """A member's part is not of the result that was ordered."""

    reason = "RESULT_DIFFERS"


class ResultIncomplete(CheckFailed):
    """A member of the release set gave no part."""

    reason = "RESULT_INCOMPLETE"


@dataclass(frozen=True, slots=True)
class ResultOrder:
    """A proven order to release: where it stands, who releases, and which ciphertext."""

    order: tuple[int, int]
    release_set: tuple[str, ...]
    digest: bytes
    requester_key_digest: bytes


@dataclass(frozen=True, slots=True)
class ResultParts:
    """What the members of the release set gave: the sum's ciphertext, and a share each."""

    order: ResultOrder
    contributors: tuple[str, ...]
    ciphertext: bytes = field(repr=False)
    shares: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What the study says; `totals` are the released integers, `release_set` who released."""

    study_id: bytes
    statistics: StudyStatistics
    totals: tuple[int, ...]
    contributors: tuple[str, ...]
    release_set: tuple[str, ...]
    order: tuple[int, int]


async def fetch_result(alliance: Alliance, wallet: Wallet, study_id: bytes) -> StudyResult:
    """Return the result of a released study to its researcher.

    Raises:
        ClientError: there is none (yet), or the parts are not those of the release.
    """
    with explaining():
        parts = await fetch_parts(alliance, wallet, study_id)
        return await open_result(wallet, study_id, parts)


async def fetch_parts(alliance: Alliance, wallet: Wallet, study_id: bytes) -> ResultParts:
    """Return the ciphertext and the share of every member of the release set.

    Raises:
        ClientError: there is no release (yet), or a part is missing or of another result.
    """
    with explaining():
        study = wallet.study(study_id)
        asker = Asker(alliance, wallet.signer(study.scope))
        ordered = await _release_order(alliance, asker, study)
        async with asyncio.TaskGroup() as group:
            tasks = {
                member: group.create_task(_part(asker, member, study_id, ordered.order))
                for member in ordered.release_set
            }
        parts = {member: task.result() for member, task in tasks.items()}
        first = parts[ordered.release_set[0]]
        for member, part in parts.items():
            if not part.share:
                raise ResultIncomplete(f"{member} gave no share")
            if (part.ciphertext, part.contributors) != (first.ciphertext, first.contributors):
                raise ResultDiffers(f"{member} has another sum")
        return ResultParts(
            ordered,
            tuple(first.contributors),
            first.ciphertext,
            {member: part.share for member, part in parts.items()},
        )


async def open_result(wallet: Wallet, study_id: bytes, parts: ResultParts) -> StudyResult:
    """Combine the shares, read the totals with the study's own key, and finish the statistics.

    Raises:
        ClientError: the ciphertext is not the ordered one, shares are too few (TOO_FEW_SHARES) or
            wrong, or no regression follows.
    """
    with explaining():
        study = wallet.study(study_id)
        plan = StudyRequest.from_bytes(study.request).plan()
        seed = wallet.requester_seed(study_id)
        totals = await asyncio.to_thread(_totals, parts, seed, plan.sum_slots)
        return StudyResult(
            study_id=study_id,
            statistics=plan.finish(totals),
            totals=tuple(totals),
            contributors=parts.contributors,
            release_set=parts.order.release_set,
            order=parts.order.order,
        )


def requester_key(profile: str, seed: bytes) -> RequesterKey:
    """Return a researcher's key for one study. The first call in a process takes half a second."""
    from cipherward_threshold.switching import RequesterKey

    return RequesterKey.generate(profile, seed)


def _totals(parts: ResultParts, seed: bytes, slots: int) -> list[int]:
    from cipherward_threshold.encryption import c1_digest
    from cipherward_threshold.switching import combine_switched

    if c1_digest(PROFILE, parts.ciphertext) != parts.order.digest:
        raise ResultDiffers("the ciphertext is not the one that was ordered")
    key = requester_key(PROFILE, seed)
    if key.fingerprint() != parts.order.requester_key_digest:
        raise ResultDiffers("the result was ordered for another key")
    switched = combine_switched(PROFILE, parts.ciphertext, list(parts.shares.values()))
    return key.decrypt(switched, slots)


async def _release_order(alliance: Alliance, asker: Asker, study: KeptStudy) -> ResultOrder:
    """Find where the release was ordered, from any member, and prove it."""
    members = StudyRequest.from_bytes(study.request).members or alliance.present
    state = await _state(alliance, asker, sorted(members), study.study_id)
    if not state.HasField("release_order"):
        if state.ended:
            raise StudyEnded(f"{state.stage}: {state.failure}".rstrip(": "))
        raise NotReleased(f"the study is {state.stage}")
    place = (state.release_order.height, state.release_order.index)
    orders = await orders_at(alliance, place[0])
    if place[1] >= len(orders):
        raise OrderDiffers("the block has no such order")
    return _result_order(orders[place[1]], study.study_id)


async def _state(alliance: Alliance, asker: Asker, members: list[str], study_id: bytes) -> pb.Study:
    """Return the study as the first member that answers sees it; prefer one with a release."""
    found: pb.Study | None = None
    failure: aio.AioRpcError | None = None
    for member in members:
        compute = alliance.compute_of(member)
        request = pb.GetStudyRequest(read=asker.read(f"{SERVICE}/GetStudy", study_id))
        try:
            found = (await compute.GetStudy(request, timeout=PART_SECONDS)).study
        except aio.AioRpcError as error:
            if not is_passing(error) and reason_of(error) != "STUDY_UNKNOWN":
                raise
            failure = error
        else:
            if found.HasField("release_order"):
                return found
    if found is None:
        raise failure or NotReleased("no member knows the study")
    return found


def _result_order(order: Order, study_id: bytes) -> ResultOrder:
    try:
        fields = order.fields()
        found = ResultOrder(
            order=(order.height, order.index),
            release_set=fields.texts("set"),
            digest=fields.octets("digest", length=32),
            requester_key_digest=fields.octets("requester_key_digest", length=32),
        )
        same = order.instruction == "release_result" and fields.octets("study") == study_id
    except NotCanonical as error:
        raise OrderDiffers(f"the order is out of form: {error}") from error
    if not same or not found.release_set:
        raise OrderDiffers("the order releases something else")
    return found


async def _part(
    asker: Asker, member: str, study_id: bytes, order: tuple[int, int]
) -> pb.GetResultResponse:
    """Return a member's part; it may still be making it."""
    compute = asker.alliance.compute_of(member)
    patience = Patience(PART_SECONDS)
    while True:
        try:
            return await ask(
                asker,
                f"{SERVICE}/GetResult",
                study_id,
                lambda read, left: compute.GetResult(pb.GetResultRequest(read=read), timeout=left),
                order=order,
            )
        except aio.AioRpcError as error:
            if reason_of(error) not in ("NOT_RELEASED", "STUDY_UNKNOWN"):
                raise
            await patience.pause(error)
