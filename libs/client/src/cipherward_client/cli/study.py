"""`cipherward study`: statistics over all hospitals' patients that no hospital can see."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from cipherward_client.cli import context, opt_outs
from cipherward_client.cli import permit as permits
from cipherward_client.cli.faults import PermitMissing
from cipherward_client.cli.options import (
    DEFAULT_FOLDER,
    AllianceDir,
    Json,
    PassphraseFile,
    WalletFile,
)
from cipherward_client.cli.output import Output
from cipherward_client.cli.study_spec import read_spec
from cipherward_client.cli.study_tables import lines_of, read_table, statistics_document
from cipherward_client.sdk.errors import ActRefused, ClientError
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct
from cipherward_client.sdk.permits import PermitRequest, apply_for_permit, vote_permit
from cipherward_client.sdk.studies import (
    StudyProgress,
    StudyRequest,
    StudyResult,
    contribute_rows,
    fetch_result,
    propose_study,
    vote,
    watch_study,
)

app = typer.Typer(
    no_args_is_help=True, help="Statistics over all hospitals' patients, seen by no hospital."
)
app.add_typer(permits.app, name="permit")
app.add_typer(opt_outs.app, name="opt-out")

RELEASED = "released"
DECIDED = "STATE_FORBIDS"  # why a vote is refused when those before it were enough
LOOK_SECONDS = 10.0  # the first answer of a watch is how the study stands

StudyId = Annotated[str, typer.Argument(metavar="STUDY", help="The study's id.")]


@dataclass(frozen=True, slots=True)
class _Run:
    """What `study run` was told."""

    request: StudyRequest
    permit_id: bytes  # empty: for this study alone
    alliance: Path
    wallet: Path
    passphrase_file: Path | None
    approve_all: bool


@app.command("run")
def run_study(
    spec: Annotated[Path, typer.Argument(help="The study: a YAML or JSON file.")],
    wallet: WalletFile,
    permit: Annotated[
        str, typer.Option(help="The data permit under which it runs: `study permit apply`.")
    ] = "",
    approve_as_all_members: Annotated[
        bool,
        typer.Option(
            help="Vote yes as every member, on a permit for this one study too if none is named: "
            "in a development alliance only."
        ),
    ] = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Propose a study, wait for the members' votes and the computation, and read the result.

    A study file has data_set (cohort-1 … cohort-99), variables (name, low, high, unit),
    statistics (count, sum, mean, variance, covariance, linear_regression), and, where they are
    wanted, outcome, minimum (of patients), members, approvals, step_seconds, fraction_bits.
    """
    output = Output(as_json)
    request = read_spec(spec)
    if not permit and not approve_as_all_members:
        raise PermitMissing()
    permit_id = context.parse_id(permit) if permit else b""
    told = _Run(request, permit_id, alliance, wallet, passphrase_file, approve_as_all_members)
    result = context.run(_run(told, output))
    document = {
        "study": result.study_id.hex(),
        "stage": RELEASED,
        "contributors": list(result.contributors),
        "release_set": list(result.release_set),
        "statistics": statistics_document(result.statistics),
    }
    output.result(document, *lines_of(result))


async def _run(told: _Run, output: Output) -> StudyResult:
    async with context.holder(told.alliance, told.wallet, told.passphrase_file) as me:
        permit_id = told.permit_id or await _permitted(told, me, output)
        proposed = await propose_study(me.alliance, me.wallet, told.request, permit_id)
        await me.opened.save()  # without its key the result could never be read
        output.say(f"study {proposed.study_id.hex()} is proposed in block {proposed.act.height}")
        if told.approve_all:
            members = told.request.members or me.alliance.present
            await _approve(told.alliance, members, partial(vote, study_id=proposed.study_id))
        else:
            output.say("Members vote with: cipherward study approve STUDY --member MEMBER")
        last = None
        with output.progress() as progress:
            async with aclosing(watch_study(me.alliance, me.wallet, proposed.study_id)) as steps:
                async for step in steps:
                    progress(step.stage.replace("_", " "), step.steps_done, step.steps_total)
                    last = step
        _require_released(last)
        return await fetch_result(me.alliance, me.wallet, proposed.study_id)


def _require_released(step: StudyProgress | None) -> None:
    if step is None:
        raise ClientError("STUDY_ENDED", "no member said how it went on")
    if step.stage != RELEASED:
        raise ClientError("STUDY_ENDED", f"{step.stage}: {step.failure}".rstrip(": "))


async def _vote(root: Path, member: str, study_id: bytes, approve: bool = True) -> ProvenAct:
    async with context.hospital(context.alliance_folder(root), member) as hospital:
        return await vote(hospital, study_id, approve)


async def _permitted(told: _Run, me: context.Holder, output: Output) -> bytes:
    """Apply for a permit for this one study and vote yes on it as every member; return its id."""
    request = PermitRequest.for_study(told.request)
    permit_id = (await apply_for_permit(me.alliance, me.wallet, request)).permit_id
    members = told.request.members or me.alliance.present
    await _approve(told.alliance, members, partial(vote_permit, permit_id=permit_id))
    output.say(f"permit {permit_id.hex()} is granted")
    return permit_id


async def _approve(
    root: Path, members: tuple[str, ...], say_yes: Callable[[Hospital], Awaitable[ProvenAct]]
) -> None:
    """Vote yes as one member after the other, until the votes suffice."""
    for member in members:
        try:
            async with context.hospital(context.alliance_folder(root), member) as hospital:
                await say_yes(hospital)
        except ActRefused as refusal:
            if refusal.reason != DECIDED:
                raise
            return


@app.command()
def contribute(
    file: Annotated[
        Path,
        typer.Argument(
            help="A CSV file: names, then numbers; empty: missing. A first column `reference` has "
            "32 hex digits a patient, by which opt-outs find the rows."
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
    table = read_table(file)

    async def work() -> int:
        async with context.hospital(context.alliance_folder(alliance), hospital) as author:
            return await contribute_rows(
                author, data_set, table.names, table.rows, references=table.references
            )

    rows = context.run(work())
    Output(as_json).result(
        {"hospital": hospital, "data_set": data_set, "variables": table.names, "rows": rows},
        f"{hospital} has {rows} rows of {len(table.names)} variables in {data_set}.",
    )


@app.command()
def approve(
    study: StudyId,
    member: Annotated[str, typer.Option(help="Whose vote it is.")],
    reject: Annotated[bool, typer.Option("--reject", help="Vote no.")] = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Vote on a proposed study as a member, with the member's key from the folder."""
    study_id = context.parse_id(study)
    act = context.run(_vote(alliance, member, study_id, not reject))
    said = "no" if reject else "yes"
    Output(as_json).result(
        {"study": study, "member": member, "approve": not reject, "height": act.height},
        f"{member} said {said} to the study in block {act.height}.",
    )


@app.command()
def show(
    study: StudyId,
    wallet: WalletFile,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Show how a study of this wallet stands, and its result once it is released."""
    study_id = context.parse_id(study)

    async def work() -> tuple[StudyProgress, StudyResult | None]:
        async with context.holder(alliance, wallet, passphrase_file) as me:
            me.wallet.study(study_id)
            async with aclosing(watch_study(me.alliance, me.wallet, study_id)) as steps:
                async with asyncio.timeout(LOOK_SECONDS):
                    step = await anext(steps)
            if step.stage != RELEASED:
                return step, None
            return step, await fetch_result(me.alliance, me.wallet, study_id)

    step, result = context.run(work())
    document: dict[str, Any] = {"study": study, **asdict(step), "statistics": None}
    lines = [f"study {study} is {step.stage} ({step.steps_done} of {step.steps_total} steps)"]
    if step.failure:
        lines.append(f"  {step.failure}")
    if result is not None:
        document["statistics"] = statistics_document(result.statistics)
        lines += lines_of(result)
    Output(as_json).result(document, *lines)
