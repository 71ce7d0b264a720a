"""Uses of a granted risk score: asked by the treating hospital, and read by it alone."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from cipherward.compute.v1 import compute_service_pb2 as compute_pb
from cipherward_client.sdk.errors import CheckFailed, ClientError, explaining
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.retries import Patience, patiently

ASK_SECONDS = 30.0
USE_SECONDS = 600.0  # a use has five steps of seconds; members on a slow line take longer


class InferenceUnfinished(CheckFailed):
    """The scores were not there in time."""

    reason = "INFERENCE_UNFINISHED"


@dataclass(frozen=True, slots=True)
class PatientScore:
    """One patient's score; `probability` is None of a linear model.

    known: of how many of the model's variables somebody has a value; the others count as zero.
    """

    reference: bytes
    known: int
    linear: float
    probability: float | None


@dataclass(frozen=True, slots=True)
class Inference:
    """A use. state: asked, released or failed. variables: of the model; 0 before it is released.

    reason, failure: why it came to no scores, as a word and in words; empty otherwise.
    """

    inference: bytes
    state: str
    variables: int
    reason: str
    failure: str
    scores: tuple[PatientScore, ...]


_STATES = {
    compute_pb.INFERENCE_STATE_ASKED: "asked",
    compute_pb.INFERENCE_STATE_RELEASED: "released",
    compute_pb.INFERENCE_STATE_FAILED: "failed",
}


async def infer(hospital: Hospital, risk_score: bytes, references: Sequence[bytes]) -> bytes:
    """Begin a use for patients of this hospital, by their references; return the use's id.

    Raises:
        ClientError: it is not granted or used already, or a patient cannot be scored.
    """
    request = compute_pb.InferRequest(
        request_id=str(uuid.uuid4()), risk_score=risk_score, references=references
    )
    with explaining():
        compute = hospital.alliance.compute_of(hospital.member)
        answer = await patiently(lambda left: compute.Infer(request, timeout=left), ASK_SECONDS)
        return answer.inference_id


async def show_inference(hospital: Hospital, inference: bytes) -> Inference:
    """Return a use of this hospital's as it stands, with its scores once they are released.

    Raises:
        ClientError: there is none, or it was over more than a day ago.
    """
    request = compute_pb.GetInferenceRequest(inference_id=inference)
    with explaining():
        compute = hospital.alliance.compute_of(hospital.member)
        answer = await patiently(
            lambda left: compute.GetInference(request, timeout=left), ASK_SECONDS
        )
        return inference_of(inference, answer)


async def await_scores(
    hospital: Hospital, inference: bytes, *, timeout_seconds: float = USE_SECONDS
) -> Inference:
    """Wait until a use is released or has failed.

    Raises:
        ClientError: it is neither in time (INFERENCE_UNFINISHED): ask for it again later.
    """
    with explaining():
        patience = Patience(timeout_seconds)
        while True:
            found = await show_inference(hospital, inference)
            if found.state != "asked":
                return found
            await patience.pause(InferenceUnfinished("the members are still at work"))


def inference_of(inference: bytes, answer: compute_pb.GetInferenceResponse) -> Inference:
    """Return the use that a compute service answers.

    Raises:
        ClientError: it has no state that this program knows.
    """
    state = _STATES.get(answer.state)
    if state is None:
        raise ClientError("NOT_SERVED", f"the state of the use is {answer.state}")
    # A logistic probability is 0 only for a score below -745, which no double tells apart from 0.
    logistic = any(one.probability for one in answer.scores)
    return Inference(
        inference,
        state,
        answer.variables,
        answer.failure_reason,
        answer.failure,
        tuple(
            PatientScore(
                one.reference, one.known, one.linear, one.probability if logistic else None
            )
            for one in answer.scores
        ),
    )
