"""Chapter: a study over all hospitals' patients, computed on what nobody can read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cipherward_client.demo.cast import Cast
from cipherward_client.demo.chapters.shares import try_too_few_shares
from cipherward_client.demo.chapters.studying import Played, exact, permitted, play
from cipherward_client.demo.oracle import (
    found_in,
    moments_error,
    pooled,
    regression_error,
)
from cipherward_client.demo.questions import ASKED, DIABETES, MINIMUM, OUTCOME, regression_study
from cipherward_client.demo.report import size
from cipherward_client.demo.tables import rows_of
from cipherward_client.demo.teller import word
from cipherward_client.fhir import values_of
from cipherward_client.sdk.contributions import contribute_rows
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.wallet.scopes import STAFF
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.analyses.linear_regression import LinearRegressionResult
from cipherward_studies.analyses.moments import MomentsResult
from cipherward_studies.variables import Columns

# Each hospital rounds its sums to 2^-33 of a range once: four such roundings over 442 patients,
# relative to 1 or the value; the widest range is 1000.
MOMENTS_ERROR_MAX = 1e-9
# The same, times the condition of the normal equations of these variables.
REGRESSION_ERROR_MAX = 1e-7
# What each stage of a study is, for whoever has never seen one.
STAGE_WORDS = {
    "keying_commit": "the hospitals make a key together: each commits to its part,",
    "keying_reveal": "shows it,",
    "keying_confirm": "and confirms that all parts fit; nobody ever has the whole key",
    "counting": "each hospital encrypts how many patients it has, and proves that it did no more",
    "counts_ready": "each checks the others' proofs; the encrypted counts are added",
    "checking": "enough hospitals decrypt the sum together: are there enough patients?",
    "valuing": "there are; each hospital encrypts its sums",
    "values_ready": "the encrypted sums are checked and added",
    "releasing": "enough hospitals turn the result over to the researcher's own key",
}


async def compute(cast: Cast) -> Wallet:
    """Tell the chapter; return the researcher's wallet."""
    teller, report = cast.teller, cast.report
    teller.chapter("A study over all hospitals, on data that nobody reads")
    teller.explain(
        "Homomorphic encryption adds numbers that stay encrypted. The key exists only as shares, "
        f"one at each hospital; any {word(cast.threshold)} of the {word(len(cast.hospitals))} "
        f"decrypt, {word(cast.threshold - 1)} learn nothing."
    )
    tables = {member: _columns(cast, member) for member in cast.hospitals}
    kept = [
        await contribute_rows(cast.hospitals[member], DIABETES, ASKED, rows_of(table))
        for member, table in tables.items()
    ]
    teller.say(
        f"Each hospital gives its own compute service the rows of its own patients ("
        f"{', '.join(map(str, kept))}). They never leave it; only encrypted sums will."
    )
    wallet = await _researcher(cast)
    with report.timed("study"):
        played = await _play(cast, wallet)
    report.timings["study, from the votes"] = played.seconds
    sums = len(played.result.totals)
    teller.say(
        f"The researcher decrypts the result: {sums} sums in "
        f"{size(sum(map(len, played.parts.ciphertexts)))} of ciphertext, "
        f"{report.timings['study']:.1f} s from permit to result."
    )
    await _hold_against_pooled(cast, tables, played)
    await try_too_few_shares(cast, wallet, played.study_id, played.parts)
    return wallet


def _columns(cast: Cast, member: str) -> Columns:
    """Return what is asked of a hospital's own patients, read from its own FHIR bundles."""
    found = [values_of(case.content) for case in cast.cases_of(member)]
    return {name: np.array([values[name] for values in found]) for name in ASKED}


async def _researcher(cast: Cast) -> Wallet:
    """Return the wallet of a researcher of the last hospital."""
    member = list(cast.hospitals)[-1]
    wallet = Wallet.create(cast.alliance.chain_id)
    code = await admit_holder(cast.hospitals[member], STAFF, role="researcher")
    await obtain_credential(cast.alliance, wallet, member, code)
    return wallet


async def _play(cast: Cast, wallet: Wallet) -> Played:
    draft, teller = regression_study(), cast.teller
    permit, request, votes = await permitted(cast, wallet, draft)
    teller.say(
        f"First the researcher's institution applies for a data permit: for research, {DIABETES} "
        f"only, {request.releases_max} releases at most, until tomorrow. {votes} of "
        f"{len(cast.hospitals)} hospitals grant it; any of them can end it, and what runs under it."
    )
    teller.say(
        f"Then the study, under the permit: which sums over {len(ASKED)} variables, at least "
        f"{MINIMUM} patients behind every number, and who alone may read the result."
    )

    def told(stage: str) -> None:
        if stage in STAGE_WORDS:
            teller.say(f"  {STAGE_WORDS[stage]}")

    return await play(cast, wallet, draft, permit, told)


async def _hold_against_pooled(cast: Cast, tables: Mapping[str, Columns], played: Played) -> None:
    teller, report, result = cast.teller, cast.report, played.result
    _tell_result(cast, played)
    teller.say("The same was computed from all patients' data pooled in the clear, to compare:")
    found = await exact(regression_study(), tables, played)
    patients = pooled(tables)
    moments = moments_error(patients, result)
    regression = regression_error(patients, OUTCOME, result)
    report.check(
        "the decrypted sums are exact in fixed point",
        found.exact,
        f"{found.sums_equal} of {found.sums} equal to the last bit",
    )
    report.check(
        "the study's counts, means and variances are exact",
        moments < MOMENTS_ERROR_MAX,
        f"{result.answer.patients} patients; largest difference {moments:.1e}",
    )
    report.check(
        "the regression is that of the pooled patients",
        regression < REGRESSION_ERROR_MAX,
        f"largest relative difference {regression:.1e}",
    )
    teller.say(
        f"  {found.sums_equal} of {found.sums} sums are equal to the last bit; means and variances "
        f"differ by {moments:.0e} at most, the regression by {regression:.0e}."
    )


def _tell_result(cast: Cast, played: Played) -> None:
    moments = found_in(played.result, MomentsResult)
    model = found_in(played.result, LinearRegressionResult)
    if moments is None or model is None or model.fit is None:
        cast.teller.say("The study has no answer.")  # which the checks below call wrong
        return
    cast.pictures["regression.png"] = model
    means = {one.variable: one.mean for one in moments.variables}
    slopes = {one.variable: one.estimate for one in model.coefficients}
    cast.teller.say(
        f"{played.result.answer.patients} patients; mean progression {means[OUTCOME]:.2f}, mean "
        f"body mass index {means['bmi']:.2f}."
    )
    cast.teller.say(
        f"Progression rises by {slopes['bmi']:.2f} a unit of body mass index and by "
        f"{slopes['s5']:.1f} a unit of log triglycerides, all else equal (R squared "
        f"{model.fit.r_squared:.3f})."
    )
