"""`cipherward study`: statistics over all hospitals' patients that no hospital can see."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cipherward_client.cli import (
    context,
    data_keys,
    opt_outs,
    study_answers,
    study_explain,
    study_run,
)
from cipherward_client.cli import permit as permits
from cipherward_client.cli.options import DEFAULT_FOLDER, AllianceDir, Json, Reject, StudyId
from cipherward_client.cli.output import Output
from cipherward_client.cli.study_rows import TableFile
from cipherward_client.sdk.contributions import contribute_parts
from cipherward_client.sdk.studies import vote

app = typer.Typer(
    no_args_is_help=True, help="Statistics over all hospitals' patients, seen by no hospital."
)
app.add_typer(permits.app, name="permit")
app.add_typer(opt_outs.app, name="opt-out")
app.add_typer(data_keys.app, name="key")

app.command("enrol")(data_keys.enrol)
app.command("explain")(study_explain.explain)
app.command("run")(study_run.run_study)
app.command("watch")(study_run.watch)
app.command("show")(study_answers.show)
app.command("result")(study_answers.result)
app.command("receipt")(study_answers.receipt)


@app.command()
def contribute(
    file: Annotated[
        Path,
        typer.Argument(
            help="A CSV file: names, as `bmi` or `bmi [kg/m2]`, then numbers; empty: missing. A "
            "first column `reference` has 32 hex digits a patient, by which opt-outs find the rows."
        ),
    ],
    hospital: Annotated[str, typer.Option(help="The member whose patients the rows are.")],
    data_set: Annotated[str, typer.Option(help="cohort-1 … cohort-99.")] = "cohort-1",
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Give a hospital's own compute service the rows of its patients, in the place of older ones.

    They stay there, encrypted; only sums under a study's collective key leave it.
    """
    table = TableFile.of(file)

    async def work() -> int:
        async with context.hospital(context.alliance_folder(alliance), hospital) as author:
            return await contribute_parts(author, data_set, table.variables, table.parts)

    rows = context.run(work())
    Output(as_json).result(
        {"hospital": hospital, "data_set": data_set, "variables": table.variables, "rows": rows},
        f"{hospital} has {rows} rows of {len(table.variables)} variables in {data_set}.",
    )


@app.command()
def approve(
    study: StudyId,
    member: Annotated[str, typer.Option(help="Whose vote it is.")],
    reject: Reject = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Vote on a proposed study as a member, with the member's key from the folder."""
    study_id = context.parse_id(study)
    act = context.by_member(alliance, member, lambda hospital: vote(hospital, study_id, not reject))
    Output(as_json).vote("study", study, member, not reject, act.height)
