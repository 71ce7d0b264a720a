"""Risk scores: a hospital scores its own patients by all members' columns, and alone reads it."""

from __future__ import annotations

import math
import uuid
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import pytest
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_kit.errors import reason_of
from cipherward_kit.testing import eventually
from cipherward_member.reports import OrderKey

if TYPE_CHECKING:
    from conftest import MakeScores, ScoreRun

# Four hospitals start, and multiply encrypted columns.
pytestmark = [pytest.mark.slow, pytest.mark.begins("ready")]

MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
A, B, _, D = MEMBERS
SET = MEMBERS[1:]  # who decrypts: the hospital that asks is not among them


async def refused(call: Awaitable[Any]) -> str:
    with pytest.raises(aio.AioRpcError) as refusal:
        await call
    return reason_of(refusal.value)


def ciphertexts_of(scores: ScoreRun) -> set[bytes]:
    """Return the c1 of every share that hospital-b has given."""
    return {row[1] for row in scores.rows("shares", B)}


async def shares_for(scores: ScoreRun, caller: str) -> bytes:
    """Fetch hospital-b's part of the scores as the compute service of another member."""
    assert scores.release is not None
    request = pb.GetDecryptionShareRequest(
        study_id=scores.study.study,
        order=chain_pb.OrderRef(height=scores.release.height, index=scores.release.index),
    )
    stub = scores.study.world.hospitals[B].stub(caller, "compute")
    return b"".join([one.chunk async for one in stub.GetDecryptionShare(request)])


async def test_scores_are_those_of_the_model_in_the_clear_and_go_to_their_hospital_alone(
    scores: ScoreRun, a_score: MakeScores
) -> None:
    one, two, *_, three, _, _ = scores.key.patients
    request_id = str(uuid.uuid4())
    inference = await scores.infer(three, one, two, request_id=request_id)
    await scores.released(await scores.to_scores())

    found = await scores.answer(inference, pb.INFERENCE_STATE_RELEASED)
    plan = scores.plan
    asked = (three, one, two)
    assert [score.reference for score in found.scores] == [p.reference(A) for p in asked]
    assert found.variables == 3
    order = found.release_order
    assert scores.release == OrderKey(order.height, order.index)
    for score, patient in zip(found.scores, asked, strict=True):
        known, linear = scores.in_the_clear(patient)
        assert score.known == known
        assert score.linear == pytest.approx(linear, abs=plan.error)
        assert score.probability == pytest.approx(1 / (1 + math.exp(-linear)), abs=plan.error)

    # Nobody but the hospital gets the parts, and what it keeps says nothing by itself.
    assert await refused(shares_for(scores, D)) == "STUDY_UNKNOWN"
    assert await shares_for(scores, A)
    ((*row,),) = scores.rows("inferences")
    assert not [one for one in row if isinstance(one, bytes) and three.reference(A) in one]
    assert scores.rows("inferences", B) == []

    # The same request again is the same use; another one with its id is refused.
    again = scores.asking([p.reference(A) for p in asked], request_id)
    assert (await scores.hospital.stub().Infer(again)).inference_id == inference
    other = scores.asking([one.reference(A)], request_id)
    assert await refused(scores.hospital.stub().Infer(other)) == "REQUEST_ID_REUSED"

    # A second use of the same patients, by another model of another kind, has other ciphertexts.
    before = ciphertexts_of(scores)
    same = await scores.infer(*asked)
    await scores.released(await scores.to_scores())
    repeated = await scores.answer(same, pb.INFERENCE_STATE_RELEASED)
    assert list(repeated.scores) == list(found.scores)
    new = ciphertexts_of(scores) - before
    assert len(new) == len(before - {row[1] for row in key_shares(scores)})
    assert {len(row[-1]) > 0 for row in scores.rows("shares", B) if row[1] in new} == {True}
    old = [row for row in scores.rows("shares", B) if row[2] == scores.study.study]
    assert [row for row in old if row[1] not in new and row[-1]] == []

    linear = a_score(kind="linear", intercept=1, terms=[{"variable": "bmi", "at": B, "weight": -2}])
    await linear.put_model()
    linear.propose()
    await eventually(lambda: len(linear.rows("risk_scores")) == 2, what="the proposal")
    inference = await linear.infer(one)
    await linear.released(await linear.to_scores())
    (score,) = (await linear.answer(inference, pb.INFERENCE_STATE_RELEASED)).scores
    error = linear.plan.error
    assert score.linear == pytest.approx(1 - 2 * 31.5, abs=error)
    assert (score.probability, score.known) == (0.0, 1)


def key_shares(scores: ScoreRun) -> list[tuple[Any, ...]]:
    """Return the shares that hospital-b gave of the data key's own checks."""
    return [row for row in scores.rows("shares", B) if row[2] == scores.key.id]


async def restarted(scores: ScoreRun) -> None:
    await scores.hospital.stop()
    await scores.hospital.start()


async def test_a_hospital_that_restarts_after_every_step_reads_its_scores_until_they_are_destroyed(
    scores: ScoreRun,
) -> None:
    one, *_ = scores.key.patients
    inference = await scores.infer(one)
    await restarted(scores)
    await scores.masked()
    await restarted(scores)
    digest = await scores.agreed("counts")
    await restarted(scores)
    await scores.study.done(scores.release_order("release_counts", digest))
    order = scores.order("values", "verify")
    await restarted(scores)  # in the middle of it, or before it has heard of it
    (digest,) = set((await scores.study.done(order)).values())
    scores.release = scores.release_order("release_result", digest)
    await restarted(scores)
    await scores.study.done(scores.release, SET)
    found = await scores.answer(inference, pb.INFERENCE_STATE_RELEASED)
    known, linear = scores.in_the_clear(one)
    (score,) = found.scores
    assert score.known == known
    assert score.linear == pytest.approx(linear, abs=scores.plan.error)

    waiting = await scores.infer(one)
    await scores.study.done(scores.study.retire("expired"))
    study = scores.study.study
    for member in MEMBERS:
        for table in ("sums", "releases", "opened", "risk_scores"):
            assert [row for row in scores.rows(table, member) if study in row] == []
        given = [row for row in scores.rows("shares", member) if row[2] == study]
        assert {row[-1] for row in given} <= {b""}
    request = pb.GetInferenceRequest(inference_id=inference)
    assert await refused(scores.hospital.stub().GetInference(request)) == "INFERENCE_UNKNOWN"
    ended = await scores.answer(waiting, pb.INFERENCE_STATE_FAILED)
    assert ended.failure_reason == "RISK_SCORE_ENDED"
    ask = scores.hospital.stub().Infer(scores.asking([one.reference(A)]))
    assert await refused(ask) == "RISK_SCORE_UNKNOWN"
