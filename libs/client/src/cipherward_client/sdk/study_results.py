"""A study's released result: collected from the members, checked, and read with one's own key.

Nothing is believed that the chain does not prove: the release order is verified against the
trust root, the ciphertext against the digest in the order, and every share says for which
ciphertext, set and key it was made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_chain.batches import BatchMalformed, unpacked
from cipherward_chain.domains import batch_digest
from cipherward_client.sdk.column_studies import bound_of, circuit_of, widths_of
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import CheckFailed, explaining
from cipherward_client.sdk.questions import Asker, ask
from cipherward_client.sdk.study_orders import ResultOrder, release_order
from cipherward_client.sdk.study_requests import kept_draft
from cipherward_client.wallet.entries import KeptRound, KeptStudy
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.answer import Answer
from cipherward_studies.column_plan import ColumnPlan, plan_for
from cipherward_studies.plan import Plan, Released
from cipherward_studies.verdict import left_out, parse_verdict

# Imported where they are used: they load SEAL, which takes half a second that no other command
# should pay.
if TYPE_CHECKING:
    from cipherward_threshold.switching import RequesterKey

SERVICE = "/cipherward.compute.v1.ComputeService"


class ResultDiffers(CheckFailed):
    """A member's part is not of the result that was ordered."""

    reason = "RESULT_DIFFERS"


class ResultIncomplete(CheckFailed):
    """A member of the release set gave no part."""

    reason = "RESULT_INCOMPLETE"


class RoundsMissing(CheckFailed):
    """The wallet lacks rounds of the study that were released before the newest."""

    reason = "ROUNDS_MISSING"


@dataclass(frozen=True, slots=True)
class ResultParts:
    """What the members of the release set gave: the sums, and each member's share of each.

    verdicts: of the guardians, by which every contributor left cells out.
    """

    order: ResultOrder
    contributors: tuple[str, ...]
    verdicts: Mapping[str, bytes]
    ciphertexts: tuple[bytes, ...] = field(repr=False)
    shares: Mapping[str, tuple[bytes, ...]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What the study says; `totals` are the released integers, `release_set` who released."""

    study_id: bytes
    answer: Answer
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
    """Return the newest sums, and the shares of every member of the release set.

    Raises:
        ClientError: there is no release (yet), or a part is missing or of another result.
    """
    with explaining():
        study = wallet.study(study_id)
        asker = Asker(alliance, wallet.signer(study.scope))
        ordered = await release_order(alliance, asker, study)
        async with asyncio.TaskGroup() as group:
            tasks = {
                member: group.create_task(_part(asker, member, study_id, ordered.order))
                for member in ordered.release_set
            }
        parts = {member: task.result() for member, task in tasks.items()}
        first = parts[ordered.release_set[0]]
        for member, part in parts.items():
            if len(part.shares) != len(part.sums):
                raise ResultIncomplete(f"{member} gave no share")
            if replace(part, shares=()) != replace(first, shares=()):
                raise ResultDiffers(f"{member} has another sum")
        return ResultParts(
            ordered,
            first.contributors,
            first.verdicts,
            first.sums,
            {member: part.shares for member, part in parts.items()},
        )


async def open_result(wallet: Wallet, study_id: bytes, parts: ResultParts) -> StudyResult:
    """Combine the shares, read the totals with the study's own key, and finish the statistics.

    Raises:
        ClientError: the ciphertext is not the ordered one, shares are too few (TOO_FEW_SHARES) or
            wrong, or the wallet lacks the rounds before (ROUNDS_MISSING).
    """
    with explaining():
        opened = await read_round(wallet, study_id, parts)
        kept = wallet.study(study_id).rounds[: parts.order.round - 1]
        rounds = [Released(one.iterate, one.totals) for one in (*kept, opened.kept)]
        answer = await asyncio.to_thread(opened.plan.finish, rounds, opened.kept.left_out)
        return StudyResult(
            study_id=study_id,
            answer=answer,
            totals=opened.kept.totals,
            contributors=parts.contributors,
            release_set=parts.order.release_set,
            order=parts.order.order,
        )


@dataclass(frozen=True, slots=True)
class OpenedRound:
    """A released round of a study as the wallet keeps it, and the plan that it belongs to."""

    plan: Plan | ColumnPlan
    kept: KeptRound


async def read_round(wallet: Wallet, study_id: bytes, parts: ResultParts) -> OpenedRound:
    """Combine the shares of a round and read its totals with the study's own key.

    Raises:
        ClientError: as `open_result`.
    """
    with explaining():
        study, seed = wallet.study(study_id), wallet.requester_seed(study_id)
        iterate = _iterate(study, parts.order.round)

        def work() -> OpenedRound:
            plan, key = plan_of(study, seed)
            if key.fingerprint() != parts.order.requester_key_digest:
                raise ResultDiffers("the result was ordered for another key")
            totals = _totals(parts, key, plan)
            cells = len(plan.cells)
            verdicts = [parse_verdict(one, cells) for one in parts.verdicts.values()]
            kept = KeptRound(parts.order.order, iterate, tuple(totals), left_out(verdicts))
            return OpenedRound(plan, kept)

        return await asyncio.to_thread(work)


def plan_of(study: KeptStudy, seed: bytes) -> tuple[Plan | ColumnPlan, RequesterKey]:
    """Return the plan of an own study, and the key that reads it. Half a second: use a thread.

    Args:
        seed: of the wallet, for this study.
    """
    draft = kept_draft(study.request)
    key = requester_key(draft.profile, seed)
    return plan_for(draft.spec(key.public_key())), key


def _iterate(study: KeptStudy, number: int) -> bytes:
    """Return the parameters of a round of an own study, as the wallet knows them."""
    if number == 1:
        return b""
    known = [*(one.iterate for one in study.rounds), *([study.asked] * bool(study.asked))]
    if number > len(known):
        raise RoundsMissing(f"round {number} was released, and the wallet knows {len(known)}")
    return known[number - 1]


def requester_key(profile: str, seed: bytes) -> RequesterKey:
    """Return a researcher's key for one study. The first call in a process takes half a second."""
    from cipherward_threshold.switching import RequesterKey

    return RequesterKey.generate(profile, seed)


def _totals(parts: ResultParts, key: RequesterKey, plan: Plan | ColumnPlan) -> list[int]:
    from cipherward_threshold.encryption import c1_digest
    from cipherward_threshold.switching import combine_switched

    profile = plan.spec.profile
    digests = [c1_digest(profile, one) for one in parts.ciphertexts]
    widths, circuit, bound = widths_of(plan), circuit_of(plan), bound_of(plan)
    if batch_digest(digests) != parts.order.digest or len(digests) != len(widths):
        raise ResultDiffers("the ciphertexts are not the ones that were ordered")
    totals: list[int] = []
    for place, ciphertext in enumerate(parts.ciphertexts):
        shares = [one[place] for one in parts.shares.values()]
        switched = combine_switched(profile, ciphertext, shares, circuit=circuit)
        totals += key.decrypt(switched, widths[place], bound=bound)
    return totals


@dataclass(frozen=True, slots=True)
class _Part:
    """What one member gives; no shares when it is not in the set."""

    contributors: tuple[str, ...]
    verdicts: dict[str, bytes]
    sums: tuple[bytes, ...]
    shares: tuple[bytes, ...]


async def _part(asker: Asker, member: str, study_id: bytes, order: tuple[int, int]) -> _Part:
    """Return a member's part; it may still be making it."""
    compute = asker.alliance.compute_of(member)

    async def collected(read: chain_pb.AuthorizedRead, left: float) -> _Part:
        stream = compute.GetResult(pb.GetResultRequest(read=read), timeout=left)
        return _part_of(member, [message async for message in stream])

    method, not_yet = f"{SERVICE}/GetResult", ("NOT_RELEASED", "STUDY_UNKNOWN")
    return await ask(asker, method, study_id, collected, order=order, not_yet=not_yet)


def _part_of(member: str, messages: Sequence[pb.GetResultResponse]) -> _Part:
    try:
        sums, shares = unpacked(b"".join(message.chunk for message in messages))
    except BatchMalformed as error:
        raise ResultDiffers(f"{member}: {error}") from None
    head = messages[0]
    verdicts = {one.member: one.verdict for one in head.verdicts}
    return _Part(tuple(head.contributors), verdicts, sums, shares)
