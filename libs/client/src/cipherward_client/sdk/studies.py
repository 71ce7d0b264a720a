"""Studies: proposed by a researcher, voted by the members, watched until they end."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import uuid
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_chain.acts import ID_BYTES
from cipherward_chain.canonical import encode
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.credentials import register_duty
from cipherward_client.sdk.errors import CheckFailed, explaining
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct, Submitter
from cipherward_client.sdk.permits import show_permit, staff_member
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.retries import PAUSE_SECONDS, Patience, is_passing, patiently
from cipherward_client.sdk.study_requests import (
    PROFILE,
    StudyRequest,
    StudyRequestInvalid,
    StudyVariable,
)
from cipherward_client.sdk.study_results import StudyResult, fetch_result, requester_key
from cipherward_client.wallet.entries import KeptStudy
from cipherward_client.wallet.wallet import Wallet
from cipherward_kit.errors import reason_of

__all__ = [
    "ProposedStudy",
    "StudyProgress",
    "StudyRequest",
    "StudyResult",
    "StudyVariable",
    "contribute_rows",
    "fetch_result",
    "propose_study",
    "vote",
    "watch_study",
    "withdraw_study",
]

TEMPLATE, VERSION = "study", 1
SPEC_SECONDS = 30.0
WATCH_SECONDS = 3600.0  # one stream; a study that takes longer is watched by the next
AWAY_SECONDS = 30.0  # a member that does not answer for so long is watched no more
WATCH_METHOD = "/cipherward.compute.v1.ComputeService/WatchStudy"


class SpecDigestDiffers(CheckFailed):
    """A member has stored another text than was sent."""

    reason = "RESULT_DIFFERS"


@dataclass(frozen=True, slots=True)
class ProposedStudy:
    """A study on the chain that waits for the members' votes."""

    study_id: bytes
    act: ProvenAct


@dataclass(frozen=True, slots=True)
class StudyProgress:
    """How far a study is at the member that is watched; `failure` says why it failed, or ""."""

    stage: str
    steps_done: int
    steps_total: int
    ended: bool
    failure: str


async def contribute_rows(
    hospital: Hospital,
    data_set: str,
    variables: Sequence[str],
    rows: Sequence[Sequence[float]],
    *,
    references: Sequence[bytes] = (),
    request_id: str | None = None,
) -> int:
    """Store the hospital's rows of a data set at its own compute service; return how many.

    Args:
        rows: a number for each variable, NaN where it is missing. They replace what was stored.
        references: of the rows' patients, 16 random bytes each: by them patients who opt out are
            left out. Without them no study counts the rows once a patient of the hospital is out.
        request_id: UUID; the same one again changes nothing.

    Raises:
        ClientError: the table is out of form or too large.
    """
    with explaining():
        if any(len(row) != len(variables) for row in rows):
            raise StudyRequestInvalid("a row has not one value for each variable")
        request = pb.ContributeRequest(
            request_id=request_id or str(uuid.uuid4()),
            data_set=data_set,
            variables=variables,
            values=[value for row in rows for value in row],
            references=b"".join(references),
        )
        compute = hospital.alliance.compute_of(hospital.member)
        response = await patiently(
            lambda left: compute.Contribute(request, timeout=left), SPEC_SECONDS
        )
        return response.rows


async def propose_study(
    alliance: Alliance, wallet: Wallet, request: StudyRequest, permit_id: bytes
) -> ProposedStudy:
    """Hand the study's text to every member and put the study on the chain.

    Args:
        wallet: of a researcher; from it comes the key that alone reads the result.
        permit_id: of the granted data permit under which it runs, and with which it ends.

    Raises:
        ActRefused: the terms are out of bounds or beyond the permit, or the wallet is no
            researcher's.
        ClientError: the request is impossible, or a member does not take the text.
    """
    with explaining():
        wallet.require_chain(alliance.chain_id)
        members = request.members or tuple(sorted(alliance.present))
        study_id = secrets.token_bytes(ID_BYTES)
        public_key = await asyncio.to_thread(
            lambda: requester_key(PROFILE, wallet.requester_seed(study_id)).public_key()
        )
        text = request.text(public_key)
        permit = await show_permit(alliance, wallet, permit_id)
        async with asyncio.TaskGroup() as group:
            for member in members:
                group.create_task(_put_text(alliance, member, text))
        scope = await register_duty(alliance, wallet, staff_member(wallet))
        terms = request.terms(
            members,
            (permit_id, permit.releases_max),
            hashlib.sha256(text).digest(),
            hashlib.sha256(public_key).digest(),
        )
        wallet.studies[study_id] = KeptStudy(study_id, scope, request.to_bytes())
        start = chain_pb.Instantiate(
            template=TEMPLATE, version=VERSION, instance_id=study_id, terms=terms
        )
        signer = wallet.signer(scope)
        act = await Submitter(alliance).submit([chain_pb.Act(instantiate=start)], signer)
        return ProposedStudy(study_id, act)


async def _put_text(alliance: Alliance, member: str, text: bytes) -> None:
    request = pb.PutStudySpecRequest(spec=text)
    compute = alliance.compute_of(member)
    response = await patiently(
        lambda left: compute.PutStudySpec(request, timeout=left), SPEC_SECONDS
    )
    if response.digest != hashlib.sha256(text).digest():
        raise SpecDigestDiffers(f"{member} has stored another text")


async def vote(hospital: Hospital, study_id: bytes, approve: bool = True) -> ProvenAct:
    """Say the member's yes or no to a proposed study.

    Raises:
        ActRefused: the study is not proposed any more, or the member has no part in it.
    """
    with explaining():
        said = chain_pb.Vote(instance_id=study_id, transition="approve", approve=approve)
        return await Submitter(hospital.alliance).submit([chain_pb.Act(vote=said)], hospital.signer)


async def withdraw_study(alliance: Alliance, who: Wallet | Hospital, study_id: bytes) -> ProvenAct:
    """End a study that has not ended, as its researcher or as one of its members.

    Raises:
        ActRefused: it has ended, or it is not this one's to withdraw.
    """
    with explaining():
        end = chain_pb.Transition(instance_id=study_id, transition="withdraw", arguments=encode({}))
        signer = who.signer if isinstance(who, Hospital) else who.signer(who.study(study_id).scope)
        return await Submitter(alliance).submit([chain_pb.Act(transition=end)], signer)


async def watch_study(
    alliance: Alliance, who: Wallet | Hospital, study_id: bytes, *, member: str = ""
) -> AsyncGenerator[StudyProgress]:
    """Yield how far a study is, whenever it changes, until it has ended.

    Args:
        who: its researcher, or a member.
        member: whose view is shown; by default the asking member's, or the first one's.

    Raises:
        ClientError: the study is unknown, not one's own, or the member does not answer.
    """
    with explaining():
        if isinstance(who, Hospital):
            asker, member = Asker.member(who), member or who.member
        else:
            asker = Asker(alliance, who.signer(who.study(study_id).scope))
            members = StudyRequest.from_bytes(who.study(study_id).request).members
            member = member or sorted(members or alliance.present)[0]
        compute = alliance.compute_of(member)
        patience, seen = Patience(AWAY_SECONDS), None
        while True:
            request = pb.WatchStudyRequest(read=asker.read(WATCH_METHOD, study_id))
            try:
                async for response in compute.WatchStudy(request, timeout=WATCH_SECONDS):
                    patience = Patience(AWAY_SECONDS)
                    found = _progress(response.study)
                    if found != seen:
                        yield found
                        seen = found
                    if found.ended:
                        return
                await asyncio.sleep(PAUSE_SECONDS)  # the member ended the stream, not the study
            except aio.AioRpcError as error:
                # The member may be a block behind whoever proposed.
                if not is_passing(error) and reason_of(error) != "STUDY_UNKNOWN":
                    raise
                await patience.pause(error)


def _progress(study: pb.Study) -> StudyProgress:
    return StudyProgress(
        study.stage, study.steps_done, study.steps_total, study.ended, study.failure
    )
