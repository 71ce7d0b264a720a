"""`cipherward contract check|simulate|replay`: what a contract would do, and what one has done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from cipherward_client.alliance.drafts import check_draft, play_draft, replay_contract
from cipherward_client.cli import context
from cipherward_client.cli.faults import ListenerMissing
from cipherward_client.cli.options import DEFAULT_FOLDER, AllianceDir, Json, PassphraseFile
from cipherward_client.cli.output import FAILED, Output, clock
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.replays import replay_lines

SOURCE_CHARACTERS_MAX = 262_144  # as the analysis takes it: what is longer it refuses

Template = Annotated[
    Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="The template's YAML.")
]


def check(file: Template, as_json: Json = False) -> None:
    """Say whether a template may be deployed, and why, line by line; exit status 1 if not."""
    found = check_draft(_text(file))
    Output(as_json).result(found, *_analysis(file.name, found))
    if not found["deployable"]:
        raise typer.Exit(FAILED)


def simulate(
    file: Template,
    scenario: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The scenario's YAML.")
    ],
    as_json: Json = False,
) -> None:
    """Play a scenario: each decision with the policy or the rule that made it.

    The exit status is 1 if something is not as the scenario expects it.
    """
    found = play_draft(_text(file), _text(scenario))
    steps = found["steps"]
    begin = steps[0]["at"] if steps else 0
    Output(as_json).result(found, *(line for step in steps for line in _step(step, begin)))
    if any(step["expected"] for step in steps):
        raise typer.Exit(FAILED)


def replay(
    contract: Annotated[str, typer.Argument(metavar="CONTRACT", help="The contract's id.")],
    member: Annotated[str, typer.Option(help="A member that asks; its keys lie here.")] = "",
    wallet: Annotated[
        Path | None, typer.Option(envvar="CIPHERWARD_WALLET", help="A party's wallet.")
    ] = None,
    record: Annotated[str, typer.Option(help="The wallet's record that it is about.")] = "",
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Do a contract's history again, from the chain, and compare each decision with the chain's.

    Every block since the genesis is verified and executed; the exit status is 1 if one differs.
    """
    instance_id, folder = context.parse_id(contract), context.alliance_folder(alliance)
    genesis, output = folder.genesis_file.read_bytes(), Output(as_json)

    async def work() -> list[str]:
        with output.progress() as report:
            if member:
                async with context.hospital(folder, member) as hospital:
                    asker = Asker.member(hospital)
                    return await replay_lines(asker, genesis, instance_id, report)
            if wallet is None or not record:
                raise ListenerMissing("neither --member, nor --record with --wallet")
            record_id = context.parse_id(record)
            async with context.holder(alliance, wallet, passphrase_file) as me:
                asker = await Asker.owner(me.alliance, me.wallet, record_id)
                return await replay_lines(asker, genesis, instance_id, report)

    found = replay_contract(context.run(work()))
    output.result(found, *_replayed(found))
    if found["differing"]:
        raise typer.Exit(FAILED)


def _text(file: Path) -> str:
    with file.open(encoding="utf-8") as source:
        return source.read(SOURCE_CHARACTERS_MAX + 1)


def _analysis(name: str, found: dict[str, Any]) -> Iterator[str]:
    yield f"{name}: {'deployable' if found['deployable'] else 'not deployable'}"
    for finding in found["findings"]:
        kind = "fault" if finding["fault"] else "remark"
        yield f"  line {finding['line']}: {kind} {finding['rule']}: {finding['message']}"
        yield from (f"      {step}" for step in finding["trace"])
        yield f"      fix: {finding['fix']}"
    yield from (f"  {line}" for line in found["report"])
    if found["digest"]:
        yield f"  digest {found['digest']}"


def _step(step: dict[str, Any], begin: int) -> Iterator[str]:
    by = f" by {', '.join(step['policies'])}" if step["policies"] else ""
    decided = f"allowed{by}" if step["allowed"] else f"refused, {step['rule']}{by}"
    state = f"; it is {step['state']}" if step["state"] else ""
    yield f"{_since(step['at'] - begin):>8}  {step['act']}: {decided}{state}"
    if step["orders"] and step["allowed"]:
        yield f"{'':>8}    orders {', '.join(step['orders'])}"
    if not step["allowed"]:
        yield f"{'':>8}    {step['message']}"
    if step["expected"]:
        yield f"{'':>8}    NOT AS EXPECTED: {step['expected']}"


def _since(seconds: int) -> str:
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, rest = divmod(rest, 60)
    parts = ((days, "d"), (hours, "h"), (minutes, "m"), (rest, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"


def _replayed(found: dict[str, Any]) -> Iterator[str]:
    for step in found["steps"]:
        by = f" by {', '.join(step['policies'])}" if step["policies"] else ""
        decided = f"refused, {step['rule']}{by}" if step["rule"] else f"allowed{by}"
        differs = "" if step["same"] else "; THE CHAIN SAYS SOMETHING ELSE"
        yield f"block {step['height']}, {clock(step['at'])}: {step['act']}: {decided}{differs}"
        yield f"    it is {step['state'] or 'not there'}"
        if step["orders"]:
            yield f"    orders {', '.join(step['orders'])}"
    heights = found["differing"]
    yield (
        f"blocks {', '.join(map(str, heights))} differ from what this release makes of them"
        if heights
        else "every result of the chain was made again"
    )
