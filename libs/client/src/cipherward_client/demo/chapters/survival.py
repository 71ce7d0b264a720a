"""Chapter: who lives longer? Survival curves of a trial's patients, who are at four hospitals."""

from __future__ import annotations

from collections.abc import Mapping

from cipherward_client.demo.cast import Cast
from cipherward_client.demo.chapters.studying import Played, exact, permitted, play
from cipherward_client.demo.oracle import found_in, pooled, survival_error
from cipherward_client.demo.questions import TRIAL, WATCHED, survival_study
from cipherward_client.demo.tables import dealt, load_table, rows_of
from cipherward_client.sdk.contributions import contribute_rows
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.analyses.survival import SurvivalResult
from cipherward_studies.variables import Columns

TABLE = "actg175"
# Numbers of patients are whole: only the last division of a double may differ.
CURVE_ERROR_MAX = 1e-12


async def survival(cast: Cast, wallet: Wallet) -> None:
    """Tell the chapter; the researcher is the one of the study before."""
    teller, report = cast.teller, cast.report
    teller.chapter("Survival curves across hospitals")
    tables = dealt(load_table(TABLE), WATCHED, list(cast.hospitals))
    kept = [
        await contribute_rows(cast.hospitals[member], TRIAL, WATCHED, rows_of(table))
        for member, table in tables.items()
    ]
    teller.say(
        f"The hospitals also treated {sum(kept)} real patients of a trial of therapies against "
        "HIV. Who stayed free of AIDS longer, those with one drug or those with another therapy?"
    )
    draft = survival_study()
    with report.timed("survival study"):
        permit, _, _ = await permitted(cast, wallet, draft)
        played = await play(cast, wallet, draft, permit, lambda _stage: None)
    _tell_curves(cast, played)
    await _hold_against_pooled(cast, tables, played)


def _tell_curves(cast: Cast, played: Played) -> None:
    found = found_in(played.result, SurvivalResult)
    curves = [one.curve for one in found.groups if one.curve] if found else []
    if found is None or len(curves) < len(found.groups) or found.log_rank is None:
        cast.teller.say("The study has no answer.")  # which the check below calls wrong
        return
    cast.pictures["survival.png"] = found
    alone, other = (curve.points[-2] for curve in curves)
    cast.teller.say(
        f"After {alone.time:.0f} days {alone.survival:.1%} are, and {other.survival:.1%} "
        f"(log-rank p = {found.log_rank.p_value:.1g}); {played.seconds:.1f} s from the votes. "
        "Quarters of a year in which too few patients leave are joined with the next ones."
    )


async def _hold_against_pooled(cast: Cast, tables: Mapping[str, Columns], played: Played) -> None:
    found = await exact(survival_study(), tables, played)
    difference = survival_error(pooled(tables), played.result)
    cast.report.check(
        "the survival curves are those of the pooled patients",
        found.exact and difference < CURVE_ERROR_MAX,
        f"{found.sums_equal} of {found.sums} sums equal; largest difference {difference:.1e}",
    )
