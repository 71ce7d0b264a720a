"""A whole study over four hospitals: exact, for the requester alone, and over afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pytest
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.orders import Order
from cipherward_kit.testing import eventually
from cipherward_threshold.parameters import profile
from cipherward_threshold.study import Rows

if TYPE_CHECKING:
    from conftest import StudyRun

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
pytestmark = pytest.mark.slow  # four hospitals start: about a second


def expected_totals(study: StudyRun, rows: Mapping[str, Rows]) -> list[int]:
    """Return the sum of what every hospital computes in the clear, in fixed point."""
    modulus = profile("additive-1").plain_modulus
    parts = [study.spec.plan.sums(rows[m], contributors=4, modulus=modulus) for m in study.members]
    return [sum(column) for column in zip(*parts, strict=True)]


async def test_the_result_is_exactly_the_sum_of_all_patients(
    study: StudyRun, rows: Mapping[str, Rows]
) -> None:
    digest = await study.to_result()
    totals = await study.totals(digest)
    assert totals == expected_totals(study, rows)
    found = study.finish(totals)
    pooled = np.concatenate([study.spec.plan.complete(rows[m]) for m in study.members])
    assert found.count == len(pooled) == 119
    assert list(found.means.values()) == pytest.approx(pooled.mean(axis=0), rel=1e-8)
    design = np.column_stack([np.ones(len(pooled)), pooled[:, :3]])
    expected = np.linalg.lstsq(design, pooled[:, 3], rcond=None)[0]
    assert found.regression is not None
    assert list(found.regression.coefficients.values()) == pytest.approx(expected[1:], rel=1e-6)


async def test_a_released_study_ends_and_its_result_stays(study: StudyRun) -> None:
    digest = await study.to_result()
    before = await study.totals(digest)
    await study.done(study.order("retire_key"))
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
    await study.done(study.order("retire_key"))
    while (response := await watch.read()) is not aio.EOF:
        seen.append(response.study)
    stages = [one.stage for one in seen]
    places = [STAGES.index(stage) for stage in stages]
    assert places == sorted(places)
    assert len(set(stages)) > 5  # changes that follow at once may be sent as one
    assert (stages[-1], seen[-1].ended) == ("released", True)


async def test_a_member_outside_the_set_has_the_sum_and_no_share(study: StudyRun) -> None:
    await study.to_result()
    await eventually(lambda: _has_result(study, "hospital-d"))
    part = await study.result_of("hospital-d")
    assert part.ciphertext
    assert not part.share


async def _has_result(study: StudyRun, member: str) -> bool:
    return (await study.seen_at(member)).steps_done == 9


async def test_any_three_members_may_be_the_set(study: StudyRun, rows: Mapping[str, Rows]) -> None:
    online = ("hospital-a", "hospital-c", "hospital-d")
    digest = await study.to_result(online)
    assert await study.totals(digest, online) == expected_totals(study, rows)


async def test_a_withdrawn_study_ends_and_its_keys_are_gone(study: StudyRun) -> None:
    await study.to_counts()
    act = chain_pb.Transition(instance_id=study.study, transition="withdraw", arguments=b"\xa0")
    height = study.world.chain.next_height()
    named = {"study": study.study, "members": list(study.members)}
    order = Order(height, 0, study.study, "study", "retire_key", named)
    study.world.append(chain_pb.Act(transition=act), orders=[order])
    await eventually(lambda: _ended(study))
    assert (await study.seen_at("hospital-a")).stage == "withdrawn"


async def _ended(study: StudyRun) -> bool:
    return (await study.seen_at("hospital-a")).ended
