"""`cipherward key`: the keys that the members share, and that none of them has."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import typer

from cipherward_chain.group_keys import OPENING, RECORD, GroupKeyEntry
from cipherward_client.cli import context
from cipherward_client.cli.options import DEFAULT_FOLDER, AllianceDir, As, Json, No
from cipherward_client.cli.output import Output
from cipherward_client.sdk.ceremonies import (
    WINDOW_BLOCKS,
    key_made,
    propose_key,
    vote_on_key,
)
from cipherward_client.sdk.errors import explaining
from cipherward_client.sdk.group_keys import group_key

app = typer.Typer(no_args_is_help=True, help="Keys that the members share and nobody has.")


class Purpose(StrEnum):
    """What a shared key is for."""

    RECORD = RECORD
    OPENING = OPENING


PurposeArgument = Annotated[
    Purpose,
    typer.Argument(help="record: what records are sealed under; opening: staff's identities."),
]
CeremonyId = Annotated[str, typer.Argument(metavar="CEREMONY", help="The ceremony's id.")]


def keys_line(keys: Mapping[str, GroupKeyEntry]) -> str:
    """Say which keys the members share, and how many of them it takes."""
    found = ", ".join(
        f"{purpose} ({entry.threshold} of {len(entry.holders)})"
        for purpose, entry in sorted(keys.items(), reverse=True)
    )
    return f"the members share keys that none of them has: {found}"


@app.command("propose")
def propose(
    purpose: PurposeArgument,
    member: As,
    renew: Annotated[
        int, typer.Option(min=0, help="Share the key of this epoch anew; 0 makes a new key.")
    ] = 0,
    window: Annotated[
        int, typer.Option(min=2, max=100_000, help="Blocks that a silent member is waited for.")
    ] = WINDOW_BLOCKS,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Propose to make a shared key, or to share one anew among the members of now."""
    made = context.by_member(
        alliance,
        member,
        lambda hospital: propose_key(hospital, purpose, key_epoch=renew, window=window),
    )
    name = made.change_id.hex()
    Output(as_json).result(
        {"ceremony": name, "height": made.act.height},
        f"ceremony {name} is proposed in block {made.act.height}",
        f"Members vote with: cipherward key vote {name} --member MEMBER",
    )


@app.command("vote")
def vote(
    ceremony: CeremonyId,
    member: As,
    no: No = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Vote on a ceremony; the vote that decides it begins it, and the services do the rest."""
    ceremony_id = context.parse_id(ceremony)

    counted = context.by_member(
        alliance, member, lambda hospital: vote_on_key(hospital, ceremony_id, approve=not no)
    )
    follows = "the ceremony begins" if counted.decided else "nothing follows from it yet"
    Output(as_json).result(
        {"height": counted.act.height, "decided": counted.decided},
        f"The vote is counted in block {counted.act.height}: {follows}.",
    )


@app.command("wait")
def wait(
    ceremony: CeremonyId,
    member: As,
    seconds: Annotated[int, typer.Option(min=1, help="How long to wait.")] = 120,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Wait until a ceremony has put its key in force, and show the key."""
    ceremony_id = context.parse_id(ceremony)

    _show(
        context.by_member(
            alliance, member, lambda hospital: key_made(hospital, ceremony_id, seconds=seconds)
        ),
        Output(as_json),
    )


@app.command("show")
def show(
    purpose: PurposeArgument,
    epoch: Annotated[int, typer.Option(min=0, help="Of the key; 0 shows the newest.")] = 0,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Show a shared key as the chain proves it: who has a share, and how many it takes."""

    async def work() -> GroupKeyEntry:
        async with context.connect(context.alliance_folder(alliance)) as connected:
            with explaining():
                return await group_key(connected, purpose, epoch)

    _show(context.run(work()), Output(as_json))


def _show(entry: GroupKeyEntry, output: Output) -> None:
    document = {
        "purpose": entry.purpose,
        "key_epoch": entry.key_epoch,
        "sharing": entry.sharing,
        "threshold": entry.threshold,
        "public_key": entry.public_key.hex(),
        "height": entry.height,
        "holders": [
            {"member": one.member, "index": one.index, "ready": one.ready} for one in entry.holders
        ],
    }
    output.result(
        document,
        f"{entry.purpose} key of epoch {entry.key_epoch}, sharing {entry.sharing}, in force since "
        f"block {entry.height}",
        f"  public key {entry.public_key.hex()}",
        f"  any {entry.threshold} of {len(entry.guardians)} open: {', '.join(entry.guardians)}",
    )
