"""`cipherward study run` and `watch`: from the proposal to the answer, round after round."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cipherward_client.cli import context
from cipherward_client.cli.faults import PermitMissing
from cipherward_client.cli.options import (
    DEFAULT_FOLDER,
    AllianceDir,
    Json,
    PassphraseFile,
    StudyId,
    WalletFile,
)
from cipherward_client.cli.output import Output
from cipherward_client.cli.study_spec import read_spec
from cipherward_client.cli.study_tables import document_of, lines_of
from cipherward_client.research.development import approve_as_all, grant_for
from cipherward_client.sdk.studies import propose_study
from cipherward_client.sdk.study_ends import meaning
from cipherward_client.sdk.study_results import StudyResult
from cipherward_client.sdk.study_rounds import Researching
from cipherward_client.sdk.study_watch import StudyView, watch_members
from cipherward_studies.spec import Draft


@dataclass(frozen=True, slots=True)
class _Run:
    """What `study run` was told."""

    draft: Draft
    permit_id: bytes  # empty: for this study alone
    alliance: Path
    approve_all: bool


def run_study(
    wallet: WalletFile,
    spec: Annotated[
        Path | None, typer.Argument(help="The study: a YAML or JSON file, docs/research.md.")
    ] = None,
    permit: Annotated[
        str, typer.Option(help="The data permit under which it runs: `study permit apply`.")
    ] = "",
    resume: Annotated[
        str,
        typer.Option(
            metavar="STUDY", help="Go on with a study that was proposed with this wallet before."
        ),
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

    An iterative analysis goes through several rounds: each is read here, and the next one asked.
    Stopped in between, `--resume STUDY` goes on from the chain and the wallet.
    """
    if (spec is None) == (not resume):
        raise typer.BadParameter("give a study's file, or --resume STUDY")
    output = Output(as_json)
    if resume or spec is None:
        study_id = context.parse_id(resume)
        told = None
    else:
        draft = read_spec(spec)
        if not permit and not approve_as_all_members:
            raise PermitMissing()
        permit_id = context.parse_id(permit) if permit else b""
        study_id = b""
        told = _Run(draft, permit_id, alliance, approve_as_all_members)

    async def work() -> StudyResult:
        async with context.holder(alliance, wallet, passphrase_file) as me:
            proposed = study_id if told is None else await _propose(told, me, output)
            me.wallet.study(proposed)
            with progress(output) as tell:
                working = Researching(me.alliance, me.wallet, me.opened.save, tell)
                return await working.finish(proposed)

    result = context.run(work())
    output.result(document_of(result), *lines_of(result))


async def _propose(told: _Run, me: context.Holder, output: Output) -> bytes:
    """Put the study on the chain, with the votes that this command may give; return its id."""
    folder = context.alliance_folder(told.alliance)
    permit_id = told.permit_id
    if not permit_id:
        permit_id = await grant_for(folder, me.alliance, me.wallet, told.draft)
        output.say(f"permit {permit_id.hex()} is granted")
    proposed = await propose_study(me.alliance, me.wallet, told.draft, permit_id)
    await me.opened.save()  # without its key the result could never be read
    output.say(f"study {proposed.study_id.hex()} is proposed in block {proposed.act.height}")
    if told.approve_all:
        members = told.draft.members or me.alliance.present
        await approve_as_all(folder, members, proposed.study_id)
    else:
        output.say("Members vote with: cipherward study approve STUDY --member MEMBER")
    return proposed.study_id


def watch(
    study: StudyId,
    wallet: WalletFile,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Watch a study of this wallet at all its hospitals, until it has ended.

    It changes nothing, and may look on while `study run` works with the wallet. A study whose turn
    is its researcher's goes on with `study run --resume`.
    """
    study_id = context.parse_id(study)
    output = Output(as_json)

    async def work() -> StudyView:
        async with context.onlooker(alliance, wallet, passphrase_file) as (joined, mine):
            with progress(output) as tell:
                return await watch_members(
                    joined, mine, study_id, tell=tell, until=lambda view: view.ended
                )

    view = context.run(work())
    newest = view.newest
    lines = [f"study {study}: {view.words()}"]
    if newest is not None:
        lines += [f"  {line}" for line in (newest.failure, *meaning(newest.stage, newest.reason))]
    output.result(view_document(study, view), *(line for line in lines if line.strip()))


def view_document(study: str, view: StudyView) -> dict[str, Any]:
    """Return a view as the JSON document that `watch` and `show` print."""
    newest = view.newest
    return {
        "study": study,
        **({} if newest is None else asdict(newest)),
        "awaited": list(view.awaited),
        "by_member": {
            member: None
            if one is None
            else {"stage": one.stage, "round": one.round, "steps_done": one.steps_done}
            for member, one in view.by_member.items()
        },
    }


@contextmanager
def progress(output: Output) -> Generator[Callable[[StudyView], None]]:
    """Show views on stderr: a table that lives at a terminal, else a line for each change."""
    console = Console(stderr=True, highlight=False)
    last = ""
    if output.as_json or not console.is_terminal:

        def tell_line(view: StudyView) -> None:
            nonlocal last
            line = view.words()
            if line != last and not output.as_json:
                console.print(line, markup=False, soft_wrap=True)
            last = line

        yield tell_line
        return
    with Live(console=console, transient=True, refresh_per_second=4) as live:

        def tell_table(view: StudyView) -> None:
            live.update(_table(view))

        yield tell_table


def _table(view: StudyView) -> Table:
    table = Table("hospital", "stage", "steps", "newest step", box=None, header_style="bold")
    newest = view.newest
    for member, one in view.by_member.items():
        if one is None:
            table.add_row(member, "no answer", "", "")
            continue
        stage = one.stage.replace("_", " ") + (f", round {one.round}" if one.round > 1 else "")
        said = ""
        if newest is not None and not newest.ended:
            failed, done = member in newest.failed, member in newest.reported
            said = "failed" if failed else "done" if done else "awaited" * (member in view.awaited)
        table.add_row(member, stage, f"{one.steps_done} of {one.steps_total}", said)
    return table
