"""`cipherward member` and `cipherward upgrade`: what the members decide about the alliance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cipherward_chain.acts import MEMBER_ID
from cipherward_client.alliance.membership import keep_admission, prepare, take_seat
from cipherward_client.cli import context
from cipherward_client.cli.alliance_votes import read_registration_file
from cipherward_client.cli.faults import FileExists, MemberIdMalformed
from cipherward_client.cli.options import DEFAULT_FOLDER, AllianceDir, As, Json, No
from cipherward_client.cli.output import Output
from cipherward_client.sdk.membership import (
    MEMBERSHIP,
    SUSPEND_SECONDS,
    Change,
    Registry,
    propose_member,
    propose_removal,
    propose_suspension,
    propose_upgrade,
    read_change,
    read_registry,
    vote_on_change,
    vote_on_return,
)
from cipherward_client.sdk.proposals import DAY_SECONDS, CountedVote, ProposedChange
from cipherward_kit.datafolder import write_atomically

app = typer.Typer(no_args_is_help=True, help="Who belongs to the alliance: members vote it.")
upgrade_app = typer.Typer(no_args_is_help=True, help="The next version of the chain's rules.")

ChangeId = Annotated[str, typer.Argument(metavar="CHANGE", help="The proposed change's id.")]


@app.command("list")
def list_members(member: As, alliance: AllianceDir = DEFAULT_FOLDER, as_json: Json = False) -> None:
    """List the members of now, as a member's own contract service has them."""
    registry = context.run(_registry(alliance, member))
    document = {
        "height": registry.height,
        "members": [
            {
                "member": one.member,
                "name": one.name,
                "index": one.index,
                "node": one.node_id.hex(),
                "voting_power": one.voting_power,
            }
            for one in registry.members
        ],
    }
    rows = [
        (one.member, one.name, str(one.index), str(one.voting_power), one.node_id.hex() or "-")
        for one in registry.members
    ]
    Output(as_json).table(document, ("member", "name", "number", "power", "node"), rows)


async def _registry(folder: Path, member: str) -> Registry:
    async with context.hospital(context.alliance_folder(folder), member) as hospital:
        return await read_registry(hospital)


@app.command("prepare")
def prepare_member(
    member: Annotated[str, typer.Argument(metavar="ID", help="The newcomer's id.")],
    out: Annotated[Path, typer.Option(help="Write the registration here: it holds no secret.")],
    name: Annotated[str, typer.Option(help="What people call it.")] = "",
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Make a newcomer's keys in the folder, and the registration that a member proposes."""
    folder = context.alliance_folder(alliance)
    if MEMBER_ID.fullmatch(member) is None:
        raise MemberIdMalformed(member)
    if folder.member(member).key("").exists():
        raise FileExists(str(folder.member(member).key("")))
    registration = prepare(folder, member, name or member)
    write_atomically(out, registration.to_bytes(), mode=0o644)
    document = {"member": member, "registration": str(out)}
    Output(as_json).result(document, f"A member proposes {out}: cipherward member propose {out}")


@app.command("propose")
def propose(
    registration: Annotated[Path, typer.Argument(help="What `member prepare` wrote.")],
    member: As,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Propose a newcomer to the members."""
    found = read_registration_file(registration)
    _tell_proposed(
        context.by_member(alliance, member, lambda hospital: propose_member(hospital, found)),
        "member",
        as_json,
    )


@app.command("remove")
def remove(
    removed: Annotated[str, typer.Argument(metavar="ID", help="The member to remove, for ever.")],
    member: As,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Propose to the others that a member is removed."""
    _tell_proposed(
        context.by_member(alliance, member, lambda hospital: propose_removal(hospital, removed)),
        "member",
        as_json,
    )


@app.command("suspend")
def suspend(
    suspended: Annotated[str, typer.Argument(metavar="ID", help="The member to suspend.")],
    member: As,
    days: Annotated[
        int, typer.Option(min=1, max=365, help="It is back after so many, without a vote.")
    ] = SUSPEND_SECONDS // DAY_SECONDS,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Propose to the others that a member takes no part for a time; its patients keep all rights.

    `member reinstate` brings it back before.
    """
    _tell_proposed(
        context.by_member(
            alliance,
            member,
            lambda hospital: propose_suspension(hospital, suspended, days * DAY_SECONDS),
        ),
        "member",
        as_json,
    )


@app.command("reinstate")
def reinstate(
    change: Annotated[str, typer.Argument(metavar="CHANGE", help="The suspension's id.")],
    member: As,
    no: No = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Vote to bring a suspended member back before its time is over; a vote against may change."""
    change_id = context.parse_id(change)

    async def work() -> tuple[Change, CountedVote]:
        async with context.hospital(context.alliance_folder(alliance), member) as hospital:
            found = await read_change(hospital, change_id)
            return found, await vote_on_return(hospital, change_id, approve=not no)

    _tell_vote(*context.run(work()), as_json)


@app.command("vote")
def vote(
    change: ChangeId,
    member: As,
    no: No = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Vote on a newcomer, a removal or a suspension.

    The vote that admits a newcomer keeps the proof of it beside the genesis.
    """
    _tell_vote(*context.run(_vote(alliance, member, change, approve=not no)), as_json)


@app.command("join")
def join(member: As, alliance: AllianceDir = DEFAULT_FOLDER, as_json: Json = False) -> None:
    """Take an admitted newcomer's seat in consensus, once its node has the chain."""
    output = Output(as_json)
    folder = context.alliance_folder(alliance)
    context.run(take_seat(folder, member, output.say))
    output.result({"member": member, "votes": True}, f"{member} is a validator now.")


@upgrade_app.command("propose")
def propose_version(
    version: Annotated[int, typer.Argument(min=2, help="The version after the present one.")],
    height: Annotated[int, typer.Argument(min=1, help="The first block that it executes.")],
    member: As,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Propose that the next version of the rules begins at a height."""
    _tell_proposed(
        context.by_member(
            alliance, member, lambda hospital: propose_upgrade(hospital, version, height)
        ),
        "upgrade",
        as_json,
    )


@upgrade_app.command("vote")
def vote_version(
    change: ChangeId,
    member: As,
    no: No = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Vote on a proposed version."""
    _tell_vote(*context.run(_vote(alliance, member, change, approve=not no)), as_json)


async def _vote(
    root: Path, member: str, change: str, *, approve: bool
) -> tuple[Change, CountedVote]:
    folder, change_id = context.alliance_folder(root), context.parse_id(change)
    async with context.hospital(folder, member) as hospital:
        found = await read_change(hospital, change_id)
        counted = await vote_on_change(hospital, found.kind, change_id, approve)
        if counted.decided and found.kind == MEMBERSHIP:
            await keep_admission(folder, hospital, found.member, counted.act)
        return found, counted


def _tell_proposed(proposed: ProposedChange, group: str, as_json: bool) -> None:
    name = proposed.change_id.hex()
    Output(as_json).result(
        {"change": name, "height": proposed.act.height},
        f"change {name} is proposed in block {proposed.act.height}",
        f"Members vote with: cipherward {group} vote {name} --member MEMBER",
    )


def _tell_vote(change: Change, counted: CountedVote, as_json: bool) -> None:
    decided = "and decided it" if counted.decided else "and nothing follows from it yet"
    Output(as_json).result(
        {"kind": change.kind, "height": counted.act.height, "decided": counted.decided},
        f"The vote is counted in block {counted.act.height} {decided}.",
    )
