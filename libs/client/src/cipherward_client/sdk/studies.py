"""Studies: proposed by a researcher, voted by the members, watched until they end."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_chain.acts import ID_BYTES
from cipherward_client.sdk.column_studies import template_of
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.contract_acts import take, vote_on
from cipherward_client.sdk.contributions import contribute_rows
from cipherward_client.sdk.credentials import register_duty
from cipherward_client.sdk.errors import CheckFailed, explaining
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct, Submitter
from cipherward_client.sdk.permits import show_permit, staff_member
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.retries import PAUSE_SECONDS, Patience, is_passing, patiently
from cipherward_client.sdk.study_requests import (
    kept_bytes,
    kept_draft,
    study_terms,
)
from cipherward_client.sdk.study_results import StudyResult, fetch_result, requester_key
from cipherward_client.wallet.entries import KeptStudy
from cipherward_client.wallet.wallet import Wallet
from cipherward_kit.errors import reason_of
from cipherward_studies.spec import Draft

__all__ = [
    "ProposedStudy",
    "StudyProgress",
    "StudyResult",
    "contribute_rows",
    "fetch_result",
    "propose_study",
    "vote",
    "watch_study",
    "withdraw_study",
]

VERSION = 1  # of the templates
SPEC_SECONDS = 30.0  # also until a member that is some blocks behind knows of a study
WATCH_SECONDS = 3600.0  # one stream; a study that takes longer is watched by the next
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
    """How far a study is at the member that is watched.

    Attributes:
        failure, reason: why it failed, in words and as a word of a closed list; or empty.
        round: the newest of the values, from 1; 0 before.
        members: those of the study; `reported` and `failed` are those of them whose report about
            the newest step is on the chain, and whose step failed; `awaited` those whose report is
            still waited for.
    """

    stage: str
    steps_done: int
    steps_total: int
    ended: bool
    failure: str
    reason: str = ""
    round: int = 0
    members: tuple[str, ...] = ()
    reported: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()


async def propose_study(
    alliance: Alliance, wallet: Wallet, draft: Draft, permit_id: bytes
) -> ProposedStudy:
    """Hand the study's text to every member and put the study on the chain.

    Args:
        wallet: of a researcher; from it comes the key that alone reads the result.
        permit_id: of the granted data permit under which it runs, and with which it ends.

    Raises:
        ActRefused: the terms are out of bounds or beyond the permit, or the wallet is no
            researcher's.
        ClientError: the draft is impossible, or a member does not take the text.
    """
    with explaining():
        wallet.require_chain(alliance.chain_id, alliance.genesis.digest)
        members = draft.members or tuple(sorted(alliance.present))
        study_id = secrets.token_bytes(ID_BYTES)
        public_key = await asyncio.to_thread(
            lambda: requester_key(draft.profile, wallet.requester_seed(study_id)).public_key()
        )
        spec = draft.spec(public_key)
        permit = await show_permit(alliance, wallet, permit_id)
        async with asyncio.TaskGroup() as group:
            for member in members:
                group.create_task(_put_text(alliance, member, spec.octets))
        scope = await register_duty(alliance, wallet, staff_member(wallet))
        terms = study_terms(draft, spec, members, (permit_id, permit.releases_max))
        wallet.studies[study_id] = KeptStudy(study_id, scope, kept_bytes(draft))
        start = chain_pb.Instantiate(
            template=template_of(draft), version=VERSION, instance_id=study_id, terms=terms
        )
        signer = wallet.signer(scope)
        act = await Submitter(alliance).submit([chain_pb.Act(instantiate=start)], signer)
        wallet.studies[study_id] = replace(wallet.study(study_id), transaction=act.transaction_id)
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
        return await vote_on(hospital, study_id, "approve", approve)


async def withdraw_study(alliance: Alliance, who: Wallet | Hospital, study_id: bytes) -> ProvenAct:
    """End a study that has not ended, as its researcher or as one of its members.

    Raises:
        ActRefused: it has ended, or it is not this one's to withdraw.
    """
    with explaining():
        signer = who.signer if isinstance(who, Hospital) else who.signer(who.study(study_id).scope)
        return await take(alliance, signer, study_id, "withdraw")


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
            members = kept_draft(who.study(study_id).request).members
            member = member or sorted(members or alliance.present)[0]
        compute = alliance.compute_of(member)
        patience, seen = Patience.through_restart(SPEC_SECONDS), None
        while True:
            request = pb.WatchStudyRequest(read=asker.read(WATCH_METHOD, study_id))
            try:
                async for response in compute.WatchStudy(request, timeout=WATCH_SECONDS):
                    patience = Patience.through_restart(SPEC_SECONDS)
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
        study.stage,
        study.steps_done,
        study.steps_total,
        study.ended,
        study.failure,
        study.failure_reason,
        study.round,
        tuple(study.members),
        tuple(study.reported),
        tuple(study.failed),
        tuple(study.awaited),
    )
