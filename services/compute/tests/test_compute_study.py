"""A whole study over four hospitals: exact, for the requester alone, and over afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pytest
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_kit.errors import reason_of
from cipherward_kit.testing import eventually
from cipherward_member.reports import OrderKey
from cipherward_studies.analyses.linear_regression import LinearRegressionResult
from cipherward_studies.analyses.moments import MomentsResult

if TYPE_CHECKING:
    from conftest import Rows, StudyRun

STAGES = (
    "proposed",
    "keying_commit",
    "keying_reveal",
    "keying_confirm",
    "counting",
    "counts_ready",
    "checking",
    "valuing",
    "values_ready",
    "releasing",
    "released",
)
MOMENTS_BEFORE_RELEASE = ("keyed", "counted", "passed", "valued")
pytestmark = pytest.mark.slow  # four hospitals start: about a second


def expected_totals(study: StudyRun, rows: Mapping[str, Rows]) -> list[int]:
    """Return the sum of what every hospital computes in the clear, in fixed point."""
    names = study.spec.names
    parts = [
        study.plan.local([dict(zip(names, rows[m].T, strict=True))], (0,), b"")
        for m in study.members
    ]
    return [sum(column) for column in zip(*parts, strict=True)]


@pytest.mark.begins("released")
async def test_the_result_is_exactly_the_sum_of_all_patients(
    study: StudyRun, rows: Mapping[str, Rows]
) -> None:
    digest = await study.to_result()
    totals = await study.totals(digest)
    assert totals == expected_totals(study, rows)
    assert await study.left_out() == (0,)  # how few rows were incomplete is not told
    found = study.finish(totals)
    pooled = np.concatenate([rows[m] for m in study.members])
    pooled = pooled[~np.isnan(pooled).any(axis=1)]
    assert found.patients == len(pooled) == 119
    moments, regression = found.results
    assert isinstance(moments, MomentsResult)
    assert [one.sum for one in moments.variables] == pytest.approx(pooled.sum(axis=0), rel=1e-7)
    design = np.column_stack([np.ones(len(pooled)), pooled[:, :3]])
    expected = np.linalg.lstsq(design, pooled[:, 3], rcond=None)[0]
    assert isinstance(regression, LinearRegressionResult)
    assert [one.estimate for one in regression.coefficients] == pytest.approx(expected, rel=1e-5)


@pytest.mark.begins("released")
async def test_a_released_study_ends_and_its_result_stays(study: StudyRun) -> None:
    digest = await study.to_result()
    before = await study.totals(digest)
    await study.done(study.retire())
    seen = await study.seen_at("hospital-b")
    assert (seen.stage, seen.ended, seen.failure) == ("released", True, "")
    assert seen.steps_done == seen.steps_total == 9
    assert await study.totals(digest) == before


async def test_a_watcher_sees_the_stages_in_order_until_the_end(study: StudyRun) -> None:
    study.instantiate()
    watch = study.watch("hospital-c")
    seen = [(await watch.read()).study]
    assert seen[0].stage == "proposed"
    await study.to_result()
    await study.done(study.retire())
    while (response := await watch.read()) is not aio.EOF:
        seen.append(response.study)
    stages = [one.stage for one in seen]
    places = [STAGES.index(stage) for stage in stages]
    assert places == sorted(places)
    assert len(set(stages)) > 5  # changes that follow at once may be sent as one
    assert (stages[-1], seen[-1].ended) == ("released", True)


@pytest.mark.begins("released")
async def test_a_member_outside_the_set_has_the_sum_and_no_share(study: StudyRun) -> None:
    await study.to_result()
    await eventually(lambda: _has_result(study, "hospital-d"))
    part = await study.result_of("hospital-d")
    assert part.sums
    assert not part.shares


async def _has_result(study: StudyRun, member: str) -> bool:
    return (await study.seen_at(member)).steps_done == 9


@pytest.mark.begins("counted")
async def test_any_three_members_may_be_the_set(study: StudyRun, rows: Mapping[str, Rows]) -> None:
    online = ("hospital-a", "hospital-c", "hospital-d")
    digest = await study.to_result(online)
    assert await study.totals(digest, online) == expected_totals(study, rows)


@pytest.mark.begins("counted")
@pytest.mark.parametrize(
    ("cause", "stage", "failure"),
    [
        ("withdrawn", "withdrawn", ""),
        ("permit-ended", "ended", "its data permit has ended"),
        ("failed", "failed", "it ended while counts_ready: too few reports, or its time ran out"),
    ],
)
async def test_a_study_that_is_cut_ends_with_its_reason_and_its_keys_are_gone(
    study: StudyRun, cause: str, stage: str, failure: str
) -> None:
    await study.to_counts()
    watch = study.watch("hospital-a")
    await watch.read()
    await study.done(study.retire(cause))
    seen = await study.seen_at("hospital-a")
    assert (seen.stage, seen.ended) == (stage, True)
    assert seen.failure.startswith(failure)
    last = None
    while (response := await watch.read()) is not aio.EOF:
        last = response.study
    assert last is not None
    assert (last.stage, last.failure) == (seen.stage, seen.failure)


@pytest.mark.parametrize(
    "moment",
    ["", *(pytest.param(one, marks=pytest.mark.begins(one)) for one in MOMENTS_BEFORE_RELEASE)],
)
async def test_a_study_that_is_cut_gives_its_peers_nothing_more(
    study: StudyRun, moment: str
) -> None:
    """It is cut at its first order or later; whatever it has made by then stays with its member."""
    if not moment:
        await study.done(study.ceremony_order("commit"))
    await study.done(study.retire("permit-ended"))
    peer = study.world.hospitals["hospital-a"].stub("hospital-b", "compute")
    reveal, deal = pb.CEREMONY_MESSAGE_KIND_REVEAL, pb.CEREMONY_MESSAGE_KIND_DEAL
    counts, values = pb.CONTRIBUTION_STAGE_COUNTS, pb.CONTRIBUTION_STAGE_VALUES
    release = study.started or OrderKey(1, 0)
    named = chain_pb.OrderRef(height=release.height, index=release.index)
    study_id = study.study
    for call in (
        peer.GetCeremonyMessage(pb.GetCeremonyMessageRequest(study_id=study_id, kind=reveal)),
        peer.GetCeremonyMessage(pb.GetCeremonyMessageRequest(study_id=study_id, kind=deal)),
        peer.GetContribution(pb.GetContributionRequest(study_id=study_id, stage=counts)),
        peer.GetContribution(pb.GetContributionRequest(study_id=study_id, stage=values, round=1)),
        peer.GetDecryptionShare(pb.GetDecryptionShareRequest(study_id=study_id, order=named)),
    ):
        with pytest.raises(aio.AioRpcError) as refusal:
            await call.read()
        assert reason_of(refusal.value) == "STUDY_ENDED"
    with pytest.raises(aio.AioRpcError) as refusal:
        await peer.GetVerdict(pb.GetVerdictRequest(study_id=study_id))
    assert reason_of(refusal.value) == "STUDY_ENDED"
