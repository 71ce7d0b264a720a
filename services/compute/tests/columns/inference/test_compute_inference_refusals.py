"""Uses of risk scores that are refused, fail or are late: each by name, and another may follow."""

from __future__ import annotations

import hashlib
import sqlite3
import uuid
from collections.abc import Awaitable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_chain.batches import unpacked
from cipherward_chain.canonical import Value, encode
from cipherward_chain.domains import MASK_COMMITMENT
from cipherward_chain.wire import NANOS
from cipherward_compute.arithmetic.inputs import Encryption, proven_batch
from cipherward_compute.column_keys import PROFILE
from cipherward_compute.framing import digest_of
from cipherward_compute.inference.masks import Mask, mask_context
from cipherward_compute.inference.models import WAITING_SECONDS
from cipherward_compute.inference.rows import KEPT_SECONDS
from cipherward_compute.instructions import Asked, Shared, StartStudy
from cipherward_kit.errors import reason_of
from cipherward_kit.testing import eventually
from cipherward_member.reports import OrderKey
from cipherward_threshold.messages import KeyShare
from cipherward_threshold.rings import profile_ring

if TYPE_CHECKING:
    from conftest import MakeModel, MakeScores, ScoreRun, World

pytestmark = [pytest.mark.slow, pytest.mark.begins("ready")]  # four hospitals start

MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
A, B, C, D = MEMBERS
THRESHOLD = 3


async def refused(call: Awaitable[Any]) -> str:
    with pytest.raises(aio.AioRpcError) as refusal:
        await call
    return reason_of(refusal.value)


def replaced(scores: ScoreRun, values: dict[int, int]) -> None:
    """Let hospital-a commit to a mask that it has encrypted honestly: a number for each slot."""
    database = scores.hospital.config.data_dir / "compute.db"
    connection = sqlite3.connect(database)
    query = "SELECT own FROM sums WHERE study = ? AND stage = 'counts' AND round = ?"
    place = (scores.study.study, scores.uses)
    (own,) = connection.execute(query, place).fetchone()
    public_key = unpacked(own)[1][-1]
    order = StartStudy(
        Shared(OrderKey(1, 0), scores.study.study, MEMBERS, "risk-score"),
        "counts",
        "verify",
        Asked(
            THRESHOLD,
            10,
            scores.model.digest,
            "cohort-1",
            ("risk_score",),
            scores.requester_key_digest,
            b"",
            scores.key.id,
        ),
        scores.uses,
        scores.request,
        {},
        {},
        b"",
    )
    context = mask_context(scores.study.world.chain.genesis.chain_id, A, order)
    encryption = Encryption(PROFILE, scores.key.made.public_key, context)
    slots = [values.get(slot, 0) for slot in range(len(scores.key.patients))]
    ciphertexts, (proof,) = unpacked(proven_batch(encryption, [slots]))
    octets = Mask(ciphertexts, proof, public_key).to_bytes()
    with connection:
        connection.execute(
            "UPDATE sums SET own = ? WHERE study = ? AND stage = 'counts' AND round = ?",
            (octets, *place),
        )
    connection.close()
    digest = hashlib.sha256(octets).digest()
    parts = scores.study.study, scores.uses.to_bytes(4, "big"), scores.request, digest
    scores.commitments = {A: digest_of(MASK_COMMITMENT, *parts)}


@contextmanager
def wrong_key_share(scores: ScoreRun, member: str) -> Generator[None]:
    """Let a member have another share than it was dealt while the context is open."""
    right = scores.key.made.shares[MEMBERS.index(member) + 1]
    ring = profile_ring(PROFILE)
    share = KeyShare.parse(ring.profile, right)
    wrong = replace(share, value=ring.add(share.value, np.ones_like(share.value)))
    scores.key.replace_key_share(member, wrong.to_bytes(ring.profile))
    yield
    scores.key.replace_key_share(member, right)


async def test_a_wrong_mask_or_a_wrong_share_ends_a_use_by_name_and_another_use_may_follow(
    scores: ScoreRun,
) -> None:
    own, *_, wild, stranger = scores.key.patients
    for values in ([(stranger, 1)], [(own, 2)], [(own, 1), (wild, 1)]):
        inference = await scores.infer(own)
        await scores.masked()
        replaced(scores, {scores.slot_of(one): number for one, number in values})
        order = scores.release_order("release_counts", await scores.agreed("counts"))
        reports = await scores.study.reports(order)
        assert {one.outcome for one in reports.values()} == {chain_pb.OUTCOME_FAILED}
        found = await scores.answer(inference, pb.INFERENCE_STATE_FAILED)
        assert found.failure_reason == "MASK_REFUSED"
        seen = await scores.study.seen_at(C)
        assert (seen.failure_reason, A in seen.failure) == ("MASK_REFUSED", True)

    # A share of another polynomial than was dealt is as well formed as the right one.
    inference = await scores.infer(own)
    digest = await scores.to_scores()
    with wrong_key_share(scores, B):
        await scores.released(digest)
        found = await scores.answer(inference, pb.INFERENCE_STATE_FAILED)
    assert (found.failure_reason, list(found.scores)) == ("SCORES_UNREADABLE", [])

    inference = await scores.infer(own)
    await scores.released(await scores.to_scores())
    assert len((await scores.answer(inference, pb.INFERENCE_STATE_RELEASED)).scores) == 1


async def test_what_cannot_be_asked_is_refused_by_name(
    scores: ScoreRun, a_score: MakeScores
) -> None:
    one, *_, wild, stranger = scores.key.patients
    infer, reference = scores.hospital.stub().Infer, one.reference(A)
    malformed = [
        scores.asking([reference], "1"),
        scores.asking([]),
        scores.asking([reference, reference]),
        scores.asking([b"short"]),
        pb.InferRequest(request_id=str(uuid.uuid4()), risk_score=b"short", references=[reference]),
    ]
    for request in malformed:
        assert await refused(infer(request)) == "INFERENCE_MALFORMED"
    find = scores.hospital.stub().GetInference
    assert await refused(find(pb.GetInferenceRequest(inference_id=b"1"))) == "INFERENCE_MALFORMED"
    unknown = pb.GetInferenceRequest(inference_id=bytes(16))
    assert await refused(find(unknown)) == "INFERENCE_UNKNOWN"
    put = scores.hospital.holder().PutModel
    assert await refused(put(pb.PutModelRequest(model=b"?"))) == "MODEL_MALFORMED"

    # Neither somebody else's patient, nor one without a value when the columns were fixed.
    for nobody in (wild.reference(A), stranger.reference(B), bytes(16)):
        assert await refused(infer(scores.asking([reference, nobody]))) == "PATIENT_NOT_ENROLLED"
    elsewhere = scores.study.world.hospitals[B].stub().Infer
    assert await refused(elsewhere(scores.asking([one.reference(B)]))) == "RISK_SCORE_UNKNOWN"
    await scores.hospital.stub().PutOptOut(
        pb.PutOptOutRequest(reference=reference, choice=pb.OPT_OUT_CHOICE_OUT)
    )
    assert await refused(infer(scores.asking([reference]))) == "PATIENT_NOT_ENROLLED"
    await scores.hospital.stub().PutOptOut(
        pb.PutOptOutRequest(reference=reference, choice=pb.OPT_OUT_CHOICE_IN)
    )

    # What the chain refuses has come to nothing, and says why.
    scores.study.world.ledger.refusal = "POLICY_DENIED"
    begun = await infer(scores.asking([reference]))
    found = await scores.answer(begun.inference_id, pb.INFERENCE_STATE_FAILED)
    assert found.failure_reason == "POLICY_DENIED"
    scores.study.world.ledger.refusal = ""

    # Models that nobody handed over, of columns that are not there, or of weights too far apart.
    age = {"variable": "age", "at": A, "weight": 1}
    far = [{**age, "weight": 10**6}, {"variable": "bmi", "at": B, "weight": "0.001"}]
    cases = (
        ("not handed", [age], ()),
        ("nothing beside the largest", far, (A,)),
        ("no column of height", [{**age, "variable": "height"}], (A,)),
    )
    for says, terms, handed in cases:
        other, known = a_score(terms=terms), len(scores.rows("risk_scores"))
        for member in handed:
            await other.put_model(member)
        other.propose()
        await eventually(lambda known=known: len(scores.rows("risk_scores")) > known)
        with pytest.raises(aio.AioRpcError, match=says) as refusal:
            await infer(other.asking([reference]))
        assert reason_of(refusal.value) == "RISK_SCORE_NOT_READY"

    # One use after the other; and no use that the chain did not take in time.
    inference = await scores.infer(one)
    assert await refused(infer(scores.asking([reference]))) == "RISK_SCORE_NOT_READY"
    later = int(scores.study.world.clock.seconds) + 400
    scores.study.world.clock.seconds = later
    assert await refused(infer(scores.asking([reference]))) == "CHAIN_STALE"
    scores.study.world.chain.append([], time_ns=later * NANOS)
    found = await scores.answer(inference, pb.INFERENCE_STATE_FAILED)
    assert found.failure_reason == "NOT_TAKEN_IN_TIME"


async def test_a_member_without_the_model_and_a_step_that_is_late_end_a_use(
    a_score: MakeScores,
) -> None:
    scores = a_score()
    await scores.put_model(A, B)
    scores.propose(step_seconds=60)
    await eventually(lambda: bool(scores.rows("risk_scores")), what="the proposal")
    one, *_ = scores.key.patients
    inference = await scores.infer(one)
    await scores.masked()
    reports = await scores.study.reports(scores.order("counts", "verify"))
    failed = {name for name, r in reports.items() if r.outcome == chain_pb.OUTCOME_FAILED}
    assert failed == {C, D}
    seen = await scores.study.seen_at(D)
    assert seen.failure_reason == "SPEC_NOT_HANDED_OVER"
    found = await scores.answer(inference, pb.INFERENCE_STATE_FAILED)
    assert found.failure_reason == "MEMBER_FAILED"  # the first of them ends it
    assert C in found.failure or D in found.failure

    inference = await scores.infer(one)
    scores.order("counts", "commit", iterate=bytes(32))  # a use that this member did not ask for
    await eventually(lambda: scores.rows("studies WHERE failure_reason = 'REQUEST_UNKNOWN'"))
    await scores.masked()
    later = int(scores.study.world.clock.seconds) + 100
    scores.study.world.clock.seconds = later
    scores.study.world.chain.append([], time_ns=later * NANOS)
    found = await scores.answer(inference, pb.INFERENCE_STATE_FAILED)
    assert found.failure_reason == "TIME_OUT"

    # A day later nobody remembers it.
    later += KEPT_SECONDS + 1
    scores.study.world.clock.seconds = later
    scores.study.world.chain.append([], time_ns=later * NANOS)
    await eventually(lambda: not scores.rows("inferences"), what="forgetting")


async def test_models_that_no_contract_names_are_bounded_and_forgotten(
    lone: World, a_model: MakeModel
) -> None:
    hospital = lone.hospitals[A]
    await hospital.stop()
    hospital.config = hospital.config.model_copy(update={"specs_waiting_max": 2})
    await hospital.start()

    def put(intercept: int) -> Awaitable[pb.PutModelResponse]:
        model = a_model(intercept=intercept)
        return hospital.holder().PutModel(pb.PutModelRequest(model=model.to_bytes()))

    first = await put(1)
    for intercept in (2, 2):
        await put(intercept)
    assert await refused(put(3)) == "MODELS_FULL"

    terms: dict[str, Value] = {
        "source": bytes(16),
        "hospital": [B],
        "members": list(MEMBERS),
        "threshold": THRESHOLD,
        "model_digest": first.digest,
        "step_seconds": 600,
        "expires": int(lone.clock.seconds) + 86_400,
    }
    act = chain_pb.Instantiate(
        template="risk-score", version=1, instance_id=bytes(16), terms=encode(terms)
    )
    lone.append(chain_pb.Act(instantiate=act))

    def models() -> int:
        connection = sqlite3.connect(hospital.config.data_dir / "compute.db")
        (found,) = connection.execute("SELECT count(*) FROM models").fetchone()
        connection.close()
        return found

    async def taken() -> bool:  # the first one waits no more, and makes room
        try:
            await put(3)
        except aio.AioRpcError:
            return False
        return True

    await eventually(taken)
    assert models() == 3
    lone.clock.seconds += WAITING_SECONDS + 1
    await put(4)
    assert models() == 2
