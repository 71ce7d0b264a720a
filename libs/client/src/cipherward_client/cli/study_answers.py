"""`cipherward study show`, `result` and `receipt`: how a study stands, and what it says."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Annotated, Any

import typer

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_client.cli import context
from cipherward_client.cli.faults import FileExists
from cipherward_client.cli.options import (
    DEFAULT_FOLDER,
    AllianceDir,
    Json,
    PassphraseFile,
    StudyId,
    WalletFile,
)
from cipherward_client.cli.output import Output
from cipherward_client.cli.study_run import view_document
from cipherward_client.cli.study_tables import document_of, lines_of
from cipherward_client.research.plots import NotDrawn, can_draw, plot
from cipherward_client.sdk.contract_reads import failure_of, read_contract
from cipherward_client.sdk.errors import explaining
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.study_ends import meaning
from cipherward_client.sdk.study_receipts import study_receipts, write_receipts
from cipherward_client.sdk.study_results import StudyResult, fetch_result
from cipherward_client.sdk.study_rounds import ITERATING, RELEASED
from cipherward_client.sdk.study_watch import StudyView, watch_members
from cipherward_kit.datafolder import write_atomically
from cipherward_studies.analysis import Result

TIME_OUT = "TIME_OUT"  # what members say of an end for which they have no other word
# Of these ends members say more than the contract: who was silent, who refused what, and why.
MEMBERS_KNOW = ("COHORT_TOO_SMALL", "DEADLINE_PASSED", "MEMBER_FAILED", "RELEASE_DEAD")
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]


def show(
    study: StudyId,
    wallet: WalletFile,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Show how a study of this wallet stands, what that means, and its result once it is there."""
    study_id = context.parse_id(study)

    async def work() -> tuple[StudyView, pb.Contract, StudyResult | None]:
        async with context.onlooker(alliance, wallet, passphrase_file) as (joined, mine):
            kept = mine.study(study_id)
            view = await watch_members(
                joined,
                mine,
                study_id,
                tell=lambda _: None,
                until=lambda view: (
                    view.newest is not None and (view.ended or not view.newest.ended)
                ),
            )
            with explaining():
                asker = Asker(joined, mine.signer(kept.scope))
                contract = await read_contract(asker, study_id)
            found = None
            if contract.state == RELEASED:
                found = await fetch_result(joined, mine, study_id)
            return view, contract, found

    view, contract, result = context.run(work())
    newest, state = view.newest, contract.state
    failure, reason = (newest.failure, newest.reason) if newest else ("", "")
    word = failure_of(contract)
    if word and (reason in ("", TIME_OUT) or word not in MEMBERS_KNOW):
        failure, reason = "", word  # members saw an end, not what it was for
    means = meaning(state, reason)
    document: dict[str, Any] = view_document(study, view)
    document |= {"stage": state, "failure": failure, "reason": reason}
    document |= {"meaning": list(means), "answer": None}
    if state == ITERATING:
        document["awaited"] = []
    on_the_way = f" ({view.words()})" if newest is not None and not newest.ended else ""
    lines = [f"study {study} is {state.replace('_', ' ')}{on_the_way}"]
    lines += [f"  {line}" for line in (failure, *means) if line]
    if result is not None:
        document["answer"] = result.answer.to_document()
        lines += lines_of(result)
    Output(as_json).result(document, *lines)


def result(
    study: StudyId,
    wallet: WalletFile,
    csv_file: Annotated[
        Path | None,
        typer.Option(
            "--csv", help="Write the table; of several analyses, FILE-1.csv, FILE-2.csv …"
        ),
    ] = None,
    plot_file: Annotated[
        Path | None,
        typer.Option("--plot", help="Draw it: .png, .svg or .pdf; of several, FILE-1.png …"),
    ] = None,
    overwrite: Overwrite = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Print the result of a released study of this wallet, and write it as tables and pictures."""
    study_id = context.parse_id(study)
    found = context.by_holder(
        alliance, wallet, passphrase_file, lambda me: fetch_result(me.alliance, me.wallet, study_id)
    )
    results = found.answer.results
    written: list[Path] = []
    if csv_file is not None:
        targets = _places(csv_file, len(results))
        written += _write_tables(results, targets, overwrite)
    if plot_file is not None:
        written += _write_plots(results, plot_file, overwrite)
    document = document_of(found) | {"files": [str(path) for path in written]}
    Output(as_json).result(document, *lines_of(found), *(f"{path} is written." for path in written))


def receipt(
    study: StudyId,
    wallet: WalletFile,
    folder: Annotated[Path, typer.Option("--to", help="The folder that the files are put into.")],
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Write what a publication cites: the receipts of proposal and releases, text and a citation.

    Anybody verifies the receipts without a network: `cipherward receipt verify`.
    """
    study_id = context.parse_id(study)
    found = context.by_holder(
        alliance,
        wallet,
        passphrase_file,
        lambda me: study_receipts(me.alliance, me.wallet, study_id),
    )
    written = write_receipts(folder, found)
    document = found.to_document() | {"files": [str(path) for path in written]}
    Output(as_json).result(
        document, found.citation(), "", *(f"{path} is written." for path in written)
    )


def _places(path: Path, number: int) -> list[Path]:
    """Return a file for each of so many analyses: the one that was named, or numbered ones."""
    if number == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{place}{path.suffix}") for place in range(1, number + 1)]


def _write_tables(results: tuple[Result, ...], targets: list[Path], overwrite: bool) -> list[Path]:
    _require_free(targets, overwrite)
    for one, target in zip(results, targets, strict=True):
        rows = one.to_rows()
        text = io.StringIO()
        if rows:
            writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        with explaining():
            write_atomically(target, text.getvalue().encode(), mode=0o600)
    return targets


def _write_plots(results: tuple[Result, ...], path: Path, overwrite: bool) -> list[Path]:
    with explaining():
        drawn = [
            (plot(one), target)
            for one, target in zip(results, _places(path, len(results)), strict=True)
            if can_draw(one) and one.to_rows()
        ]
        if not drawn:
            raise NotDrawn("the study has no analysis that is drawn, or nothing was published")
        _require_free([target for _, target in drawn], overwrite)
        for figure, target in drawn:
            figure.savefig(target)
    return [target for _, target in drawn]


def _require_free(targets: list[Path], overwrite: bool) -> None:
    for target in targets:
        if target.exists() and not overwrite:
            raise FileExists(str(target))
