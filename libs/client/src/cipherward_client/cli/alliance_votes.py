"""What `cipherward alliance` does for those who are members: admit, status, leave."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cipherward_client.alliance.admitting import PROPOSED, Standing, admit, leave, standing
from cipherward_client.alliance.spoken import FINGERPRINT_BYTES, spoken
from cipherward_client.cli import context
from cipherward_client.cli.options import DEFAULT_FOLDER, AllianceDir, As, Json
from cipherward_client.cli.output import Output
from cipherward_client.sdk.errors import explaining
from cipherward_client.sdk.found_changes import FoundChange
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.registration import REGISTRATION_BYTES_MAX, Registration


def admit_newcomer(
    registration: Annotated[Path, typer.Argument(help="What the newcomer's `join` wrote.")],
    member: As,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Propose a newcomer or vote for it, whatever is left to do for this member.

    Compare its fingerprint with the newcomer by telephone first: the votes make its keys trusted.
    """
    found = read_registration_file(registration)
    folder = context.alliance_folder(alliance)

    async def work(hospital: Hospital) -> FoundChange:
        return await admit(folder, hospital, found)

    change = context.by_member(alliance, member, work)
    newcomer, voted = found.member.id, sorted(m for m, yes in change.votes.items() if yes)
    decided = change.state != PROPOSED
    Output(as_json).result(
        {
            "member": newcomer,
            "change": change.change_id.hex(),
            "state": change.state,
            "approved_by": voted,
            "fingerprint": found.digest.hex(),
        },
        f"{newcomer}: {spoken(found.digest[:FINGERPRINT_BYTES])}",
        f"Approved by {', '.join(voted)}; it is {change.state}.",
        f"{newcomer} goes on with: cipherward alliance join --member {newcomer}"
        if decided
        else "More than two thirds of the members decide: each runs the same command.",
    )


def status(member: As, alliance: AllianceDir = DEFAULT_FOLDER, as_json: Json = False) -> None:
    """Show who is a member, what is voted on, and what this member has left to do."""
    folder = context.alliance_folder(alliance)

    async def work(hospital: Hospital) -> tuple[str, Standing]:
        return hospital.alliance.chain_id, await standing(folder, hospital)

    chain_id, found = context.by_member(alliance, member, work)
    document = {
        "chain_id": chain_id,
        "engine": found.engine,
        "height": found.height,
        "catching_up": found.catching_up,
        "members": [
            {"member": one.member, "name": one.name, "voting_power": one.voting_power}
            for one in found.registry.members
        ],
        "pending": [
            {
                "kind": one.kind,
                "member": one.member,
                "change": one.change.change_id.hex(),
                "votes": dict(one.change.votes),
            }
            for one in found.pending
        ],
        "to_do": list(found.to_do),
        "learned": list(found.learned),
    }
    output = Output(as_json)
    rows = [(one.member, one.name, str(one.voting_power)) for one in found.registry.members]
    output.table(document, ("member", "name", "power"), rows)
    behind = ", catching up" if found.catching_up else ""
    output.say(f"The chain {chain_id} ({found.engine}) is at height {found.height}{behind}.")
    for one in found.pending:
        yes = ", ".join(sorted(m for m, said in one.change.votes.items() if said)) or "nobody"
        output.say(f"Voted on: {one.kind} of {one.member}; approved by {yes}.")
    for one in found.learned:
        output.say(
            f"alliance.json is changed: {one}. In Kubernetes: cipherward alliance manifests."
        )
    for one in found.to_do:
        output.say(f"To do: {one}.")


def leave_alliance(
    member: As, alliance: AllianceDir = DEFAULT_FOLDER, as_json: Json = False
) -> None:
    """Propose to the others that this member is removed, for ever; they vote, it does not."""
    change = context.by_member(alliance, member, leave)
    name = change.change_id.hex()
    Output(as_json).result(
        {"member": member, "change": name, "state": change.state, "votes": dict(change.votes)},
        f"{member} leaves when more than two thirds of the members vote for it: "
        f"cipherward member vote {name} --member MEMBER",
        "Before they do: move the records that it stores; nothing releases them afterwards.",
        "Then its ledger destroys its consensus key and stops, and its credentials count no more.",
        "The others share their keys anew: cipherward alliance status says which.",
    )


def read_registration_file(file: Path) -> Registration:
    """Return the registration in a file, or raise `ClientError`."""
    with explaining():
        return Registration.from_bytes(read_at_most(file, REGISTRATION_BYTES_MAX))


def read_at_most(file: Path, bytes_max: int) -> bytes:
    """Return a file, or a byte more than it may have: whoever reads it refuses that."""
    with file.open("rb") as opened:
        return opened.read(bytes_max + 1)
