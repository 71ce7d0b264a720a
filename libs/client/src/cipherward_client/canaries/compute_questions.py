"""What the members' compute services hand each other for a study, and nobody else."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_chain.acts import ID_BYTES
from cipherward_client.canaries.asking import ASK_SECONDS, Question, first_of, refused_read
from cipherward_client.canaries.spots import Case, Path, Spot
from cipherward_client.canaries.stage import Stage
from cipherward_client.sdk.connection import Alliance

NOT_FOR_YOU = ("CALLER_REFUSED",)


def compute_questions(stage: Stage) -> Iterator[Question]:
    """Yield the questions: of a person to the own member, of its systems to every member."""
    yield _inputs(stage.holder, stage.hospital.member)
    for member in stage.hospital.alliance.present:
        yield _inputs(stage.hospital.alliance, member)


def _inputs(alliance: Alliance, member: str) -> Question:
    # Who may call is asked before what is asked for: the study need not be there.
    request = pb.GetContributionRequest(
        study_id=secrets.token_bytes(ID_BYTES), stage=pb.CONTRIBUTION_STAGE_COUNTS
    )

    async def call() -> object:
        compute = alliance.compute_of(member)
        return await first_of(compute.GetContribution(request, timeout=ASK_SECONDS))

    return Question(Spot(Path.STUDY_INPUT, Case.OUTSIDE), refused_read(call, NOT_FOR_YOU))
