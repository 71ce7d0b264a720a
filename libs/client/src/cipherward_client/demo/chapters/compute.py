"""Chapter: a study over all hospitals' patients, computed on what nobody can read."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial

import numpy as np

from cipherward_client.demo.cast import Cast
from cipherward_client.demo.chapters.shares import try_too_few_shares
from cipherward_client.demo.oracle import Comparison, compare
from cipherward_client.demo.report import size
from cipherward_client.demo.teller import word
from cipherward_client.fhir import VARIABLES, values_of
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct
from cipherward_client.sdk.permits import PermitRequest, apply_for_permit, vote_permit
from cipherward_client.sdk.studies import (
    StudyRequest,
    StudyVariable,
    contribute_rows,
    propose_study,
    vote,
    watch_study,
)
from cipherward_client.sdk.study_results import ResultParts, StudyResult, fetch_parts, open_result
from cipherward_client.wallet.scopes import STAFF
from cipherward_client.wallet.wallet import Wallet

DATA_SET = "cohort-1"  # the alliance's names for data sets name no disease
OUTCOME = "progression"
# Age, sex, body mass, blood pressure, HDL and triglycerides: 36 sums, one ciphertext a hospital.
ASKED = ("age", "sex", "bmi", "bp", "s3", "s5", OUTCOME)
STATISTICS = ("count", "sum", "mean", "variance", "linear_regression")
MINIMUM = 10
# Each hospital rounds its sums to 2^-24: four such roundings over 442 patients, relative to 1.
MOMENTS_ERROR_MAX = 1e-9
# The same, times the condition of the normal equations of these variables.
REGRESSION_ERROR_MAX = 1e-7
# What each stage of a study is, for whoever has never seen one.
STAGE_WORDS = {
    "keying_commit": "the hospitals make a key together: each commits to its part,",
    "keying_reveal": "shows it,",
    "keying_confirm": "and confirms that all parts fit; nobody ever has the whole key",
    "counting": "each hospital encrypts how many patients it has",
    "counts_ready": "the encrypted counts are added",
    "checking": "enough hospitals decrypt the sum together: are there enough patients?",
    "valuing": "there are; each hospital encrypts its sums",
    "values_ready": "the encrypted sums are added",
    "releasing": "enough hospitals turn the result over to the researcher's own key",
}


async def compute(cast: Cast) -> None:
    """Tell the chapter."""
    teller, report = cast.teller, cast.report
    teller.chapter("A study over all hospitals, on data that nobody reads")
    teller.explain(
        "Homomorphic encryption adds numbers that stay encrypted. The key exists only as shares, "
        f"one at each hospital; any {word(cast.threshold)} of the {word(len(cast.hospitals))} "
        f"decrypt, {word(cast.threshold - 1)} learn nothing."
    )
    rows = {member: _rows(cast, member) for member in cast.hospitals}
    kept = [
        await contribute_rows(cast.hospitals[member], DATA_SET, ASKED, table.tolist())
        for member, table in rows.items()
    ]
    teller.say(
        f"Each hospital gives its own compute service the rows of its own patients ("
        f"{', '.join(map(str, kept))}). They never leave it; only encrypted sums will."
    )
    wallet = await _researcher(cast)
    with report.timed("study"):
        parts, study_id = await _play(cast, wallet)
        result = await open_result(wallet, study_id, parts)
    teller.say(
        f"The researcher decrypts the result: {len(result.totals)} sums in one ciphertext of "
        f"{size(len(parts.ciphertext))}, {report.timings['study']:.1f} s from proposal to result."
    )
    found = compare(_request().plan(), list(rows.values()), result)
    _tell_result(cast, result, found)
    await try_too_few_shares(cast, wallet, study_id, parts)


def _rows(cast: Cast, member: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return [patients, ASKED] of a hospital's own patients, read from its own FHIR bundles."""
    tables = [values_of(case.content) for case in cast.cases_of(member)]
    return np.array([[values[name] for name in ASKED] for values in tables], dtype=np.float64)


def _request() -> StudyRequest:
    known = {variable.name: variable for variable in VARIABLES}
    return StudyRequest(
        data_set=DATA_SET,
        variables=tuple(
            StudyVariable(v.name, str(v.low), str(v.high), v.unit)
            for v in (known[name] for name in ASKED)
        ),
        statistics=STATISTICS,
        outcome=OUTCOME,
        minimum=MINIMUM,
    )


async def _researcher(cast: Cast) -> Wallet:
    """Return the wallet of a researcher of the last hospital."""
    member = list(cast.hospitals)[-1]
    wallet = Wallet.create(cast.alliance.chain_id)
    code = await admit_holder(cast.hospitals[member], STAFF, role="researcher")
    await obtain_credential(cast.alliance, wallet, member, code)
    return wallet


async def _play(cast: Cast, wallet: Wallet) -> tuple[ResultParts, bytes]:
    teller = cast.teller
    permit = await _permit(cast, wallet)
    proposed = await propose_study(cast.alliance, wallet, _request(), permit)
    cast.acts.append(proposed.act)
    teller.say(
        f"Then the study, under the permit: which sums over {len(ASKED)} variables, at least "
        f"{MINIMUM} patients, and who alone may read the result."
    )
    votes = await _votes(cast, partial(vote, study_id=proposed.study_id))
    began = time.perf_counter()
    teller.say(f"{votes} of {len(cast.hospitals)} hospitals vote yes, which is enough.")
    seen = await _watch(cast, wallet, proposed.study_id)
    parts = await fetch_parts(cast.alliance, wallet, proposed.study_id)
    cast.report.timings["study, from the votes"] = time.perf_counter() - began
    cast.report.check(
        "the study is approved, computed and released",
        seen == "released"
        and len(parts.shares) == cast.threshold
        and len(parts.contributors) == len(cast.hospitals),
        f"{len(parts.contributors)} contributors, {len(parts.shares)} of {len(cast.hospitals)} "
        "shares, "
        f"{time.perf_counter() - began:.1f} s",
    )
    return parts, proposed.study_id


async def _permit(cast: Cast, wallet: Wallet) -> bytes:
    """Let the hospitals grant the researcher's institution a permit; return its id."""
    request = PermitRequest.for_study(_request())
    applied = await apply_for_permit(cast.alliance, wallet, request)
    cast.acts.append(applied.act)
    votes = await _votes(cast, partial(vote_permit, permit_id=applied.permit_id))
    cast.teller.say(
        f"First the researcher's institution applies for a data permit: for research, {DATA_SET} "
        f"only, {request.releases_max} releases at most, until tomorrow. {votes} of "
        f"{len(cast.hospitals)} hospitals grant it; any of them can end it, and what runs under it."
    )
    return applied.permit_id


async def _votes(cast: Cast, say_yes: Callable[[Hospital], Awaitable[ProvenAct]]) -> int:
    """Let as many hospitals vote yes as decide it; return how many."""
    voters = list(cast.hospitals.values())[: cast.threshold]
    acts = [await say_yes(hospital) for hospital in voters]
    cast.acts.extend(acts)
    return len(acts)


async def _watch(cast: Cast, wallet: Wallet, study_id: bytes) -> str:
    stage = ""
    async with aclosing(watch_study(cast.alliance, wallet, study_id)) as steps:
        async for step in steps:
            if step.stage != stage and step.stage in STAGE_WORDS:
                cast.teller.say(f"  {STAGE_WORDS[step.stage]}")
            stage = step.stage
            if step.failure:
                cast.teller.say(f"  the study failed: {step.failure}")
    return stage


def _tell_result(cast: Cast, result: StudyResult, found: Comparison) -> None:
    teller, report, statistics = cast.teller, cast.report, result.statistics
    teller.say(
        f"{statistics.count} patients; mean progression {statistics.means[OUTCOME]:.2f}, mean body "
        f"mass index {statistics.means['bmi']:.2f}."
    )
    if statistics.regression is not None:
        strongest = statistics.regression.coefficients
        teller.say(
            f"Progression rises by {strongest['bmi']:.2f} a unit of body mass index and by "
            f"{strongest['s5']:.1f} a unit of log triglycerides, all else equal (R squared "
            f"{statistics.regression.r_squared:.3f})."
        )
    teller.say("The same was computed from all patients' data pooled in the clear, to compare:")
    report.check(
        "the decrypted sums are exact in fixed point",
        found.exact,
        f"{found.sums_equal} of {found.sums} equal to the last bit",
    )
    report.check(
        "the study's counts, means and variances are exact",
        found.count_equal and found.moments_error < MOMENTS_ERROR_MAX,
        f"{statistics.count} patients; largest difference {found.moments_error:.1e}",
    )
    report.check(
        "the regression is that of the pooled patients",
        found.regression_error < REGRESSION_ERROR_MAX,
        f"largest relative difference {found.regression_error:.1e}",
    )
    teller.say(
        f"  {found.sums_equal} of {found.sums} sums are equal to the last bit; means and variances "
        f"differ by {found.moments_error:.0e} at most, the regression by "
        f"{found.regression_error:.0e}."
    )
