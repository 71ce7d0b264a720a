"""Cells that are left out, rounds that follow from results, noise, and several ciphertexts."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_chain.canonical import encode
from cipherward_kit.testing import eventually
from cipherward_studies.analyses.histogram import HistogramResult
from cipherward_studies.plan import Released

if TYPE_CHECKING:
    from conftest import MakeSpec, Rows, StudyRun, World

pytestmark = pytest.mark.slow  # four hospitals start: about a second

FAILED, DONE = chain_pb.OUTCOME_FAILED, chain_pb.OUTCOME_DONE


def local_sums(
    study: StudyRun, rows: Mapping[str, Rows], left_out: tuple[int, ...], iterate: bytes = b""
) -> list[int]:
    """Return the sum of what every hospital computes in the clear, without noise."""
    names = ("age", "bmi", "bp", "progression")
    parts = [
        study.plan.local([dict(zip(names, rows[m].T, strict=True))], left_out, iterate)
        for m in study.members
    ]
    return [sum(column) for column in zip(*parts, strict=True)]


@pytest.fixture
def by_age(study: StudyRun, a_spec: MakeSpec) -> StudyRun:
    """A histogram of ages, of which no patient is above 90."""
    spec = a_spec(
        variables=[{"name": "age", "low": 0, "high": 400}],
        analyses=[{"kind": "histogram", "variable": "age", "edges": [30, 50, 70, 100, 200]}],
    )
    return replace(study, spec=spec)


@pytest.mark.begins("keyed")
async def test_cells_with_too_few_patients_are_left_out_by_everybody(
    by_age: StudyRun, rows: Mapping[str, Rows]
) -> None:
    digest = await by_age.to_result()
    totals = await by_age.totals(digest)
    left_out = await by_age.left_out()
    assert totals == local_sums(by_age, rows, left_out)
    labels = [by_age.plan.cells[place].label for place in left_out]
    found = by_age.finish(totals, left_out)
    assert list(found.left_out) == labels
    (result,) = found.results
    assert isinstance(result, HistogramResult)
    assert len(labels) >= 3  # the excluded, and the two empty bins at the end


@pytest.mark.begins("keyed")
async def test_a_verdict_that_is_not_the_one_on_the_chain_names_its_guardian(
    world: World, by_age: StudyRun
) -> None:
    await by_age.to_passed()
    path = world.hospitals["hospital-b"].config.data_dir / "compute.db"
    connection = sqlite3.connect(path)
    try:
        with connection:
            connection.execute("UPDATE verdicts SET verdict = ?", (encode({"failed": []}),))
    finally:
        connection.close()
    reports = await by_age.reports(by_age.start_order("values", "commit"))
    assert {report.outcome for report in reports.values()} == {FAILED}
    assert (await by_age.seen_at("hospital-a")).failure == (
        "hospital-b: its verdict is not the one that it committed to"
    )


@pytest.mark.begins("keyed")
async def test_a_verdict_that_names_no_cells_names_its_guardian(
    world: World, by_age: StudyRun
) -> None:
    from cipherward_chain.domains import verdict_digest

    await by_age.to_passed()
    forged = encode({"failed": [999]})
    connection = sqlite3.connect(world.hospitals["hospital-b"].config.data_dir / "compute.db")
    try:
        with connection:
            connection.execute("UPDATE verdicts SET verdict = ?", (forged,))
    finally:
        connection.close()
    by_age.verdicts["hospital-b"] = verdict_digest(by_age.study, "hospital-b", forged)
    reports = await by_age.reports(by_age.start_order("values", "commit"))
    assert {report.outcome for report in reports.values()} == {FAILED}
    assert "names no cells" in (await by_age.seen_at("hospital-a")).failure


@pytest.mark.begins("keyed")
async def test_a_study_of_several_ciphertexts_is_one_release(
    study: StudyRun, a_spec: MakeSpec, rows: Mapping[str, Rows]
) -> None:
    """Nine histograms of 999 bins do not fit one ciphertext; nearly all cells are left out."""
    histogram = {"kind": "histogram", "variable": "age", "bins": 999}
    spec = a_spec(
        variables=[{"name": "age", "low": 0, "high": 400}],
        analyses=[*([histogram] * 9), {"kind": "moments", "variables": ["age"]}],
    )
    wide = replace(study, spec=spec)
    assert wide.plan.ciphertexts(wide.plan.value_slots) == 2
    digest = await wide.to_result()
    parts = await wide.parts(digest)
    assert {(len(part.sums), len(part.shares)) for part in parts} == {(2, 2)}
    assert await wide.totals(digest) == local_sums(wide, rows, await wide.left_out())


@pytest.fixture
def noisy(study: StudyRun, a_spec: MakeSpec) -> StudyRun:
    return replace(study, spec=a_spec(rho_micro=10_000_000))


@pytest.mark.begins("keyed")
async def test_a_private_study_has_noise_of_the_promised_size(
    noisy: StudyRun, rows: Mapping[str, Rows]
) -> None:
    digest = await noisy.to_result()
    totals = await noisy.totals(digest)
    exact = local_sums(noisy, rows, await noisy.left_out())
    differences = np.array(totals, dtype=object) - np.array(exact, dtype=object)
    for block in noisy.plan.noise(b""):
        # Four members give sigma^2 / 2 each: of the whole, twice the variance that must remain.
        part = np.array(differences[block.start : block.stop], dtype=np.float64)
        assert np.abs(part).max() < 12 * block.sigma
        if len(part) > 10:
            assert part.std() > block.sigma / 3


@pytest.mark.begins("keyed")
async def test_noise_is_not_drawn_again_after_a_crash(world: World, noisy: StudyRun) -> None:
    await noisy.to_passed()
    world.ledger.away = True
    order = noisy.start_order("values", "commit")
    hospitals = list(world.hospitals.values())
    own = "SELECT own FROM sums WHERE stage = 'values'"
    for hospital in hospitals:
        await eventually(lambda one=hospital: bool(found(one.config.data_dir, own)), seconds=60)
    before = [found(hospital.config.data_dir, own) for hospital in hospitals]
    for hospital in hospitals:
        await hospital.stop()
    world.ledger.away = False
    for hospital in hospitals:
        await hospital.start()
    commitments = await noisy.done(order)
    assert [found(hospital.config.data_dir, own) for hospital in hospitals] == before
    await noisy.done(noisy.start_order("values", "verify", commitments))


def found(folder: object, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(f"{folder}/compute.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


@pytest.fixture
def logistic(study: StudyRun, a_spec: MakeSpec) -> StudyRun:
    """Whether the progression is high, by age and body mass: some rounds of Newton's method."""
    spec = a_spec(
        variables=[
            {"name": "age", "low": 0, "high": 100},
            {"name": "bmi", "low": 0, "high": 100},
            {"name": "high", "kind": "flag"},
        ],
        analyses=[{"kind": "logistic_regression", "outcome": "high", "predictors": ["age", "bmi"]}],
        minimum=10,
    )
    return replace(study, spec=spec)


def with_outcome(rows: Rows, seed: int) -> Rows:
    """Return age, bmi and an outcome that follows from them with chance."""
    chance = 1 / (1 + np.exp(-(rows[:, 1] - 50) / 15))
    high = np.random.default_rng(seed).uniform(size=len(rows)) < chance
    return np.column_stack([rows[:, 0], rows[:, 1], high.astype(np.float64)])


async def put_iterate(world: World, iterate: bytes) -> bytes:
    for hospital in world.hospitals.values():
        await hospital.holder().PutIterate(pb.PutIterateRequest(iterate=iterate))
    return hashlib.sha256(iterate).digest()


@pytest.mark.begins("keyed")
async def test_an_iterative_study_goes_from_result_to_result(
    world: World, logistic: StudyRun, rows: Mapping[str, Rows]
) -> None:
    clean = {m: rows[m][~np.isnan(rows[m]).any(axis=1)] for m in logistic.members}
    tables = {m: with_outcome(clean[m], seed) for seed, m in enumerate(logistic.members)}
    for member, hospital in world.hospitals.items():
        await hospital.contribute(tables[member], ("age", "bmi", "high"))
    await logistic.to_passed()
    rounds: list[Released] = []
    iterate: bytes | None = b""
    while iterate is not None:
        number = len(rounds) + 1
        named = await put_iterate(world, iterate) if iterate else b""
        digest = await logistic.summed("values", round=number, iterate=named)
        release = logistic.release_order(
            "release_result", digest, logistic.members[:3], round=number
        )
        logistic.release = release
        await logistic.done(release, logistic.members[:3])
        totals = await logistic.totals(digest)
        rounds.append(Released(iterate, tuple(totals)))
        iterate = logistic.plan.advance(rounds, await logistic.left_out())
    assert 2 <= len(rounds) <= 10
    answer = logistic.plan.finish(rounds, await logistic.left_out())
    pooled = np.concatenate(list(tables.values()))
    expected = newton(pooled)
    document = answer.to_document()["results"][0]
    assert [one["estimate"] for one in document["coefficients"]] == pytest.approx(
        expected, rel=1e-4
    )
    seen = await logistic.seen_at("hospital-a")
    assert (seen.round, seen.steps_total) == (len(rounds), 6 + 3 * len(rounds))


def newton(pooled: Rows) -> list[float]:
    """Return the maximum likelihood of a logistic regression: intercept, age, bmi."""
    design = np.column_stack([np.ones(len(pooled)), pooled[:, :2]])
    beta = np.zeros(3)
    for _ in range(30):
        chance = 1 / (1 + np.exp(-design @ beta))
        gradient = design.T @ (pooled[:, 2] - chance)
        beta += np.linalg.solve((design.T * (chance * (1 - chance))) @ design, gradient)
    return beta.tolist()


@pytest.mark.begins("valued")
@pytest.mark.parametrize(
    ("handed_over", "reason"), [(False, "ITERATE_MISSING"), (True, "ITERATE_REFUSED")]
)
async def test_parameters_that_nobody_handed_over_or_the_plan_forbids_are_refused(
    world: World, study: StudyRun, handed_over: bool, reason: str
) -> None:
    await study.to_values()
    iterate = encode({"anything": [1]})
    named = hashlib.sha256(iterate).digest()
    if handed_over:
        named = await put_iterate(world, iterate)
    reports = await study.reports(study.start_order("values", "commit", round=2, iterate=named))
    assert {report.outcome for report in reports.values()} == {FAILED}
    assert (await study.seen_at("hospital-b")).failure_reason == reason
