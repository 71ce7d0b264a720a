"""Studies of stored columns: the product of two hospitals' columns over the same patients."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.domains import batch_digest
from cipherward_compute.column_keys import PROFILE
from cipherward_studies.analyses.product_sum import ProductSumResult
from cipherward_studies.column_plan import ColumnPlan
from cipherward_studies.plan import Released
from cipherward_studies.spec import Draft
from cipherward_threshold.encryption import c1_digest
from cipherward_threshold.errors import WrongRequester
from cipherward_threshold.keys import public_key_digest
from cipherward_threshold.switching import RequesterKey, combine_switched

if TYPE_CHECKING:
    from conftest import DataKeyRun, StudyRun

# Four hospitals start, and multiply encrypted columns.
pytestmark = [pytest.mark.slow, pytest.mark.begins("ready")]

Values = NDArray[np.float64]
MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
SET = MEMBERS[:3]
COMMON = 12  # patients of both hospitals, as in the folder's data key


@pytest.fixture(scope="session")
def researcher() -> RequesterKey:
    return RequesterKey.generate(PROFILE, b"c" * 32)


@dataclass(frozen=True)
class ColumnStudy:
    """A study of the columns of a data key."""

    run: StudyRun
    source: bytes
    key: RequesterKey

    @property
    def plan(self) -> ColumnPlan:
        return ColumnPlan.of(self.run.spec)

    async def summed(self, stage: str) -> bytes:
        """Let all compute; return the digest that they agree on."""
        order = self.run.start_order(stage, "verify", source=self.source)
        (digest,) = set((await self.run.done(order)).values())
        return digest

    def open_counts(self, digest: bytes) -> Any:
        return self.run.release_order("release_counts", digest, SET, source=self.source)

    async def passed(self) -> None:
        """Run up to the verdicts."""
        passes = await self.run.done(self.open_counts(await self.summed("counts")))
        self.run.verdicts = {member: passes[member] for member in SET}

    async def released(self, digest: bytes) -> None:
        self.run.release = self.run.release_order("release_result", digest, SET, source=self.source)
        await self.run.done(self.run.release, SET)

    async def totals(self, digest: bytes, key: RequesterKey) -> list[int]:
        """Fetch every part as the researcher, check it and decrypt."""
        parts = [await self.run.result_of(member) for member in SET]
        (sums,) = {part.sums for part in parts}
        assert batch_digest([c1_digest(PROFILE, one) for one in sums]) == digest
        assert {tuple(part.verdicts) for part in parts} == {SET}
        found: list[int] = []
        for place, ciphertext in enumerate(sums):
            shares = [part.shares[place] for part in parts]
            switched = combine_switched(PROFILE, ciphertext, shares, circuit="product-sum")
            found += key.decrypt(switched, 1, bound=self.plan.bound(65_536))
        return found

    def answer(self, totals: Sequence[int]) -> ProductSumResult:
        (found,) = self.plan.finish([Released(b"", tuple(totals))], ()).results
        assert isinstance(found, ProductSumResult)
        return found


def a_study(run: DataKeyRun, key: RequesterKey, **changed: Any) -> ColumnStudy:
    document: dict[str, Any] = {
        "data_set": "cohort-1",
        "variables": [
            {"name": "age", "low": 0, "high": 120},
            {"name": "bmi", "low": 10, "high": 80},
        ],
        "analyses": [
            {
                "kind": "product_sum",
                "x": {"variable": "age", "at": "hospital-a"},
                "y": {"variable": "bmi", "at": "hospital-b", "fraction_bits": 8},
            }
        ],
        "profile": PROFILE,
        "minimum": 10,
        "data_key": {
            "id": run.id.hex(),
            "key_digest": public_key_digest(run.made.public_key).hex(),
            "releases_max": 100,
        },
        **changed,
    }
    study = replace(
        run.study,
        spec=Draft.from_document(document).spec(key.public_key()),
        study=secrets.token_bytes(16),
        template="column-study",
        key_digest=public_key_digest(run.made.public_key),
        commitments={},
        verdicts={},
    )
    return ColumnStudy(study, run.id, key)


async def begun(study: ColumnStudy) -> ColumnStudy:
    await study.run.put_spec()
    study.run.instantiate()
    return study


def pooled(run: DataKeyRun) -> tuple[Values, Values]:
    """Return what nobody has in one place: ages at one hospital, and bmi at the other."""
    both = [one.rows for one in run.patients[:COMMON]]
    ages = np.array([rows["hospital-a"][0] for rows in both])
    return ages, np.array([rows["hospital-b"][1] for rows in both])


async def test_a_product_across_two_hospitals_is_that_of_the_pooled_patients(
    living: DataKeyRun, researcher: RequesterKey
) -> None:
    study = await begun(a_study(living, researcher))
    await study.passed()

    order = study.run.start_order("values", "verify", source=living.id)
    killed = living.world.hospitals["hospital-c"]
    await killed.stop()  # in the middle of it, or before it has heard of it
    await killed.start()
    (digest,) = set((await study.run.done(order)).values())

    await study.released(digest)
    totals = await study.totals(digest, researcher)
    found, (ages, bmi) = study.answer(totals), pooled(living)
    assert totals[0] == 2 * COMMON  # neither who is at one hospital only, nor who has no value
    assert (found.patients, found.sum_x, found.sum_y) == (COMMON, ages.sum(), bmi.sum())
    assert found.product_sum == (ages * bmi).sum()
    assert found.covariance == pytest.approx(float(np.cov(ages, bmi)[0, 1]), rel=1e-12)
    with pytest.raises(WrongRequester):  # nobody else reads it
        await study.totals(digest, RequesterKey.generate(PROFILE, b"d" * 32))

    # The same two columns once more, asked by somebody with another text and another key.
    other = RequesterKey.generate(PROFILE, b"e" * 32)
    again = await begun(a_study(living, other, minimum=11))
    counts = await again.summed("counts")
    reports = await again.run.reports(again.open_counts(counts), SET)
    assert {one.outcome for one in reports.values()} == {chain_pb.OUTCOME_FAILED}
    assert (await again.run.seen_at("hospital-a")).failure_reason == "SHARE_ALREADY_GIVEN"

    retired = study.run.retire()
    await study.run.done(retired)
    seen = await study.run.seen_at("hospital-b")
    assert (seen.stage, seen.steps_done >= seen.steps_total) == ("released", True)


async def test_a_release_that_is_dead_goes_on_with_another_ciphertext(
    living: DataKeyRun, researcher: RequesterKey
) -> None:
    study = await begun(a_study(living, researcher))
    await study.passed()
    dead = await study.summed("values")

    digest = await study.run.refreshed("values", dead, SET, source=living.id)
    await study.released(digest)
    totals, (ages, bmi) = await study.totals(digest, researcher), pooled(living)
    assert study.answer(totals).product_sum == (ages * bmi).sum()


async def test_too_few_common_patients_other_columns_and_a_storage_that_lies_are_refused(
    living: DataKeyRun, researcher: RequesterKey
) -> None:
    study = await begun(a_study(living, researcher, minimum=COMMON + 1))
    reports = await study.run.reports(study.open_counts(await study.summed("counts")))
    assert {one.outcome for one in reports.values()} == {chain_pb.OUTCOME_FAILED}
    assert (await study.run.seen_at("hospital-a")).failure_reason == "COHORT_TOO_SMALL"

    product: dict[str, Any] = {
        "kind": "product_sum",
        "x": {"variable": "age", "at": "hospital-a"},
        "y": {"variable": "bmi", "at": "hospital-b", "fraction_bits": 7},
    }
    other = await begun(a_study(living, researcher, analyses=[product]))
    order = other.run.start_order("counts", "verify", source=living.id)
    reports = await other.run.reports(order)
    assert {one.outcome for one in reports.values()} == {chain_pb.OUTCOME_FAILED}
    assert (await other.run.seen_at("hospital-d")).failure_reason == "COLUMNS_DIFFER"

    lying = living.storages["hospital-a"]
    lying.lies = dict.fromkeys(lying.kept, b"another column")
    third = await begun(a_study(living, researcher))
    order = third.run.start_order("counts", "verify", source=living.id)
    reports = await third.run.reports(order)
    assert {one.outcome for one in reports.values()} == {chain_pb.OUTCOME_FAILED}
    seen = await third.run.seen_at("hospital-d")
    assert (seen.failure_reason, "hospital-a" in seen.failure) == ("PEER_WRONG", True)
