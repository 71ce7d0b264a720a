"""A study through the SDK, against real services: proposed, voted, computed, read."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cipherward_chain.authorization import MemberSigner
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import ActRefused, ClientError
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.opt_outs import (
    choose,
    count_opt_outs,
    link_references,
    put_opt_out,
)
from cipherward_client.sdk.permits import (
    PermitRequest,
    apply_for_permit,
    revoke_permit,
    show_permit,
    surrender_permit,
    vote_permit,
)
from cipherward_client.sdk.studies import (
    StudyProgress,
    contribute_rows,
    fetch_result,
    propose_study,
    vote,
    watch_study,
    withdraw_study,
)
from cipherward_client.sdk.study_requests import kept_bytes, kept_draft
from cipherward_client.sdk.study_results import fetch_parts, open_result
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.analyses.linear_regression import LinearRegressionResult
from cipherward_studies.analyses.moments import MomentsResult
from cipherward_studies.errors import DraftInvalid
from cipherward_studies.spec import Draft

Town = Any  # conftest's; test modules cannot import it

LETTERS = "abcd"
NAMES = ("age", "bmi", "outcome")
DOCUMENT: dict[str, Any] = {
    "data_set": "cohort-1",
    "variables": [
        {"name": "age", "low": 0, "high": 120, "unit": "a"},
        {"name": "bmi", "low": 5, "high": 100.5, "unit": "kg/m2"},
        {"name": "outcome", "low": -1000, "high": 1000},
    ],
    "analyses": [
        {"kind": "moments", "variables": list(NAMES), "statistics": ["mean", "variance"]},
        {"kind": "linear_regression", "outcome": "outcome", "predictors": ["age", "bmi"]},
    ],
}
REQUEST = Draft.from_document(DOCUMENT)
STUDY_SECONDS = 90.0


async def contributed(town: Town, seed: int, data_set: str = "cohort-1") -> np.ndarray[Any, Any]:
    """Give each hospital 30 patients of its own; return all of them."""
    rng = np.random.default_rng(seed)
    tables: list[np.ndarray[Any, Any]] = []
    for letter in LETTERS:
        age, bmi = rng.integers(20, 90, 30).astype(float), rng.uniform(18, 45, 30).round(1)
        outcome = (2 * age + 3 * bmi + rng.normal(0, 5, 30)).round(2)
        tables.append(np.column_stack([age, bmi, outcome]))
        hospital = await town.hospital(letter)
        rows = [[float(value) for value in row] for row in tables[-1]]
        assert await contribute_rows(hospital, data_set, NAMES, rows) == 30
    return np.vstack(tables)


async def voted(town: Town, study_id: bytes, letters: str) -> None:
    for letter in letters:
        await vote(await town.hospital(letter), study_id)


async def granted(town: Town, researcher: Wallet, request: Draft = REQUEST) -> bytes:
    """Return the id of a permit for one run of a study, granted by three hospitals."""
    wanted = PermitRequest.for_study(request)
    permit_id = (await apply_for_permit(town.alliance, researcher, wanted)).permit_id
    for letter in "abc":
        await vote_permit(await town.hospital(letter), permit_id)
    return permit_id


async def ended(alliance: Alliance, who: Wallet | Hospital, study_id: bytes) -> list[StudyProgress]:
    async with asyncio.timeout(STUDY_SECONDS):
        return [progress async for progress in watch_study(alliance, who, study_id)]


async def test_a_study_is_exact_and_read_by_its_researcher_alone(town: Town) -> None:
    rows = await contributed(town, 1)
    researcher = await town.person("b", "staff", "researcher")
    study = await propose_study(town.alliance, researcher, REQUEST, await granted(town, researcher))
    with pytest.raises(ClientError) as early:
        await fetch_result(town.alliance, researcher, study.study_id)
    assert early.value.reason in ("NOT_RELEASED", "STUDY_UNKNOWN")
    await voted(town, study.study_id, "abc")
    seen = await ended(town.alliance, researcher, study.study_id)
    assert (seen[-1].stage, seen[-1].failure) == ("released", "")
    assert [one.steps_done for one in seen] == sorted(one.steps_done for one in seen)

    result = await fetch_result(town.alliance, researcher, study.study_id)
    assert result.answer.patients == len(rows)
    moments, regression = result.answer.results
    assert isinstance(moments, MomentsResult)
    assert isinstance(regression, LinearRegressionResult)
    assert len(result.release_set) == 3
    assert result.contributors == tuple(f"hospital-{letter}" for letter in LETTERS)
    means = np.array([one.mean for one in moments.variables], dtype=float)
    np.testing.assert_allclose(means, rows.mean(axis=0), rtol=1e-7)
    variances = np.array([one.variance for one in moments.variables], dtype=float)
    np.testing.assert_allclose(variances, rows.var(axis=0, ddof=1), rtol=1e-6)
    design = np.column_stack([np.ones(len(rows)), rows[:, :2]])
    expected = np.linalg.lstsq(design, rows[:, 2], rcond=None)[0]
    coefficients = [one.estimate for one in regression.coefficients]
    np.testing.assert_allclose(coefficients, expected, rtol=1e-5)

    parts = await fetch_parts(town.alliance, researcher, study.study_id)
    two = dict(list(parts.shares.items())[:2])
    with pytest.raises(ClientError) as too_few:
        await open_result(researcher, study.study_id, replace(parts, shares=two))
    assert too_few.value.reason == "TOO_FEW_SHARES"

    other = replace(parts, order=replace(parts.order, digest=bytes(32)))
    with pytest.raises(ClientError) as foreign:
        await open_result(researcher, study.study_id, other)
    assert foreign.value.reason == "RESULT_DIFFERS"

    stranger = await town.person("c", "staff", "researcher")
    stranger.studies[study.study_id] = replace(
        researcher.study(study.study_id), scope=f"duty:hospital-c:{town.alliance.epoch()}"
    )
    with pytest.raises(ClientError) as refused:
        await fetch_result(town.alliance, stranger, study.study_id)
    assert refused.value.reason == "READ_REJECTED"


async def test_a_cohort_below_the_minimum_fails_and_says_so(town: Town) -> None:
    await contributed(town, 2, "cohort-2")
    researcher = await town.person("b", "staff", "researcher")
    request = replace(REQUEST, data_set="cohort-2", minimum=500)
    study = await propose_study(
        town.alliance, researcher, request, await granted(town, researcher, request)
    )
    await voted(town, study.study_id, "abc")
    hospital = await town.hospital("d")
    last = (await ended(town.alliance, hospital, study.study_id))[-1]
    assert (last.stage, last.ended) == ("failed", True)
    assert last.failure
    assert last.reason == "COHORT_TOO_SMALL"
    with pytest.raises(ClientError) as told:
        await fetch_result(town.alliance, researcher, study.study_id)
    assert told.value.reason == "STUDY_ENDED"


async def test_a_revoked_permit_ends_its_study_everywhere_and_begins_no_other(town: Town) -> None:
    await contributed(town, 5, "cohort-5")
    request = replace(REQUEST, data_set="cohort-5")
    researcher = await town.person("b", "staff", "researcher")
    permit = await granted(town, researcher, request)
    assert (await show_permit(town.alliance, researcher, permit)).state == "granted"
    study = await propose_study(town.alliance, researcher, request, permit)
    await voted(town, study.study_id, "abc")
    hospital = await town.hospital("d")
    ending = await revoke_permit(hospital, permit)
    assert ending.result.order_count >= 2  # the cut itself, and the end of the study
    for letter in LETTERS:
        last = (await ended(town.alliance, await town.hospital(letter), study.study_id))[-1]
        assert (last.stage, last.failure) == ("ended", "its data permit has ended")
    assert (await show_permit(town.alliance, hospital, permit)).state == "revoked"
    with pytest.raises(ActRefused) as refused:
        await propose_study(town.alliance, researcher, request, permit)
    assert refused.value.reason == "TERMS_MALFORMED"
    with pytest.raises(ActRefused) as over:
        await surrender_permit(town.alliance, researcher, permit)
    assert over.value.reason == "STATE_FORBIDS"


async def test_a_spent_permit_ends_the_next_study_before_its_counts(town: Town) -> None:
    await contributed(town, 6, "cohort-6")
    request = replace(REQUEST, data_set="cohort-6")
    researcher = await town.person("b", "staff", "researcher")
    permit = await granted(town, researcher, request)
    stages: list[str] = []
    for _ in range(2):
        study = await propose_study(town.alliance, researcher, request, permit)
        await voted(town, study.study_id, "abc")
        stages.append((await ended(town.alliance, researcher, study.study_id))[-1].stage)
    assert stages == ["released", "failed"]
    fewer = Draft.from_document({**DOCUMENT, "analyses": DOCUMENT["analyses"][:1]})
    narrow = await granted(town, researcher, replace(request, analyses=fewer.analyses))
    with pytest.raises(ActRefused) as wider:
        await propose_study(town.alliance, researcher, request, narrow)
    assert wider.value.reason == "PERMIT_REFUSED"


async def test_a_patient_who_is_out_is_in_no_study(town: Town) -> None:
    rows = await contributed(town, 7, "cohort-7")
    request = replace(REQUEST, data_set="cohort-7")
    hospital, patient = await town.hospital("a"), await town.person("a", "patient")
    mine = [[float(value) for value in row] for row in rows[:30]]
    references = [secrets.token_bytes(16) for _ in mine]
    await contribute_rows(hospital, "cohort-7", NAMES, mine, references=references)
    said = await choose(town.alliance, patient, "hospital-a")
    assert (said.statement.choice, said.linked) == ("out", False)
    await link_references(hospital, said.statement.subject, references[:1])
    assert (await choose(town.alliance, patient, "hospital-a")).linked
    put = await put_opt_out(hospital, references[1], "out")
    assert put.statement.subject == references[1]
    counted = await count_opt_outs(hospital)
    assert (counted.pseudonyms, counted.pseudonyms_unlinked, counted.references) == (1, 0, 2)
    researcher = await town.person("b", "staff", "researcher")
    permit = await granted(town, researcher, request)
    study = await propose_study(town.alliance, researcher, request, permit)
    await voted(town, study.study_id, "abc")
    await ended(town.alliance, researcher, study.study_id)
    result = await fetch_result(town.alliance, researcher, study.study_id)
    assert result.answer.patients == len(rows) - 2
    moments = result.answer.results[0]
    assert isinstance(moments, MomentsResult)
    means = np.array([one.mean for one in moments.variables], dtype=float)
    np.testing.assert_allclose(means, rows[2:].mean(axis=0), rtol=1e-7)
    await choose(town.alliance, patient, "hospital-a", "in")  # the town is shared
    await put_opt_out(hospital, references[1], "in")


async def test_a_variable_that_no_member_has_is_named(town: Town) -> None:
    await contributed(town, 3, "cohort-3")
    researcher = await town.person("b", "staff", "researcher")
    request = Draft.from_document(
        {
            "data_set": "cohort-3",
            "variables": [{"name": "height", "low": 0, "high": 300}],
            "analyses": [{"kind": "moments", "variables": ["height"]}],
        }
    )
    with pytest.raises(ClientError) as told:
        await propose_study(
            town.alliance, researcher, request, await granted(town, researcher, request)
        )
    assert told.value.reason == "VARIABLE_UNKNOWN"


async def test_a_clinician_may_not_propose_and_a_stranger_may_not_withdraw(town: Town) -> None:
    await contributed(town, 4, "cohort-4")
    request = replace(REQUEST, data_set="cohort-4")
    clinician = await town.person("b", "staff", "clinician")
    researcher = await town.person("b", "staff", "researcher")
    permit = await granted(town, researcher, request)
    with pytest.raises(ActRefused) as refused:
        await propose_study(town.alliance, clinician, request, permit)
    assert refused.value.reason == "POLICY_DENIED"
    study = await propose_study(town.alliance, researcher, request, permit)
    forged = replace(await town.hospital("a"), signer=MemberSigner("hospital-a", bytes(32)))
    with pytest.raises(ActRefused) as forger:
        await vote(forged, study.study_id)
    assert forger.value.reason == "MEMBER_UNKNOWN"
    await withdraw_study(town.alliance, researcher, study.study_id)
    with pytest.raises(ActRefused) as over:
        await vote(await town.hospital("a"), study.study_id)
    assert over.value.reason == "STATE_FORBIDS"


def test_a_kept_study_is_the_one_that_was_proposed() -> None:
    assert kept_draft(kept_bytes(REQUEST)) == REQUEST


@pytest.mark.parametrize(
    "change",
    [
        {"analyses": [{"kind": "median", "variables": ["age"]}]},
        {"variables": [{"name": "age", "low": 9, "high": 1}]},
        {"analyses": [{"kind": "moments", "variables": ["height"]}]},
    ],
)
def test_an_impossible_study_is_refused_before_anybody_is_asked(change: dict[str, Any]) -> None:
    with pytest.raises(DraftInvalid):
        Draft.from_document({**DOCUMENT, **change})
