"""`cipherward opening`: who stands behind a pseudonym of staff, by a vote of the members."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cipherward_chain.authorization import PSEUDONYM_BYTES
from cipherward_chain.sealing import SealingKey
from cipherward_client.alliance.layout import CUSTODIAN_KEY
from cipherward_client.cli import context
from cipherward_client.cli.faults import FileExists, PseudonymMalformed
from cipherward_client.cli.octets import parse_octets
from cipherward_client.cli.options import DEFAULT_FOLDER, AllianceDir, As, Json, No
from cipherward_client.cli.output import Output
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.openings import (
    OpenedIdentity,
    collect_opening,
    find_holder,
    propose_opening,
    vote_on_opening,
)
from cipherward_client.sdk.proposals import ProposedChange
from cipherward_kit.datafolder import write_atomically

app = typer.Typer(no_args_is_help=True, help="Who acted under a pseudonym of staff: by warrant.")


class Ground(StrEnum):
    """Why somebody is to be known."""

    COURT_ORDER = "court-order"
    EMERGENCY_UNREVIEWED = "emergency-unreviewed"
    MISUSE = "misuse"


WarrantId = Annotated[str, typer.Argument(metavar="WARRANT", help="The warrant's id.")]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", help="The key that the shares are sealed to; made by `propose`."),
]


@app.command("propose")
def propose(
    scope: Annotated[str, typer.Argument(help="As a disclosure shows it: duty:MEMBER:EPOCH.")],
    pseudonym: Annotated[str, typer.Argument(help="The pseudonym, 96 hexadecimal digits.")],
    ground: Annotated[Ground, typer.Option(help="Why.")],
    member: As,
    recipient: Annotated[
        str, typer.Option(help="The member that gets to know; the proposer if not given.")
    ] = "",
    key_file: KeyFile = None,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Propose to open a pseudonym; without --key-file, to the recipient's custodian key."""
    folder, name = (
        context.alliance_folder(alliance),
        parse_octets(pseudonym, PSEUDONYM_BYTES, PseudonymMalformed),
    )
    public_key = b"" if key_file is None else _fresh_key(key_file).public_key

    async def work() -> ProposedChange:
        async with context.hospital(folder, member) as hospital:
            return await propose_opening(
                hospital, scope, name, ground, recipient=recipient, recipient_key=public_key
            )

    made = context.run(work())
    warrant = made.change_id.hex()
    Output(as_json).result(
        {"warrant": warrant, "height": made.act.height},
        f"warrant {warrant} is proposed in block {made.act.height}",
        f"Members vote with: cipherward opening vote {warrant} --member MEMBER",
    )


@app.command("vote")
def vote(
    warrant: WarrantId,
    member: As,
    no: No = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Vote on a warrant; the vote that decides it orders the shares."""
    warrant_id = context.parse_id(warrant)

    counted = context.by_member(
        alliance, member, lambda hospital: vote_on_opening(hospital, warrant_id, approve=not no)
    )
    follows = "the shares are ordered" if counted.decided else "nothing follows from it yet"
    Output(as_json).result(
        {"height": counted.act.height, "decided": counted.decided},
        f"The vote is counted in block {counted.act.height}: {follows}.",
    )


@app.command("collect")
def collect(
    warrant: WarrantId,
    member: As,
    key_file: KeyFile = None,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Collect the shares as the recipient, and find whose credential it is."""
    folder, warrant_id = context.alliance_folder(alliance), context.parse_id(warrant)
    secret = (key_file or folder.member(member).key(CUSTODIAN_KEY)).read_bytes()

    async def work() -> tuple[OpenedIdentity, str]:
        async with context.hospital(folder, member) as hospital:
            opened = await collect_opening(hospital, warrant_id, SealingKey(secret))
            try:
                return opened, await find_holder(hospital, opened)
            except ClientError as error:
                if error.reason != "HOLDER_UNKNOWN":
                    raise
                return opened, ""  # another member's staff: its issuer knows the key

    opened, admission = context.run(work())
    identity = opened.identity.hex()
    document = {
        "identity": identity,
        "admission": admission,
        "answered": list(opened.answered),
        "wrong": list(opened.wrong),
    }
    lines = [f"The identity key is {identity}."]
    if admission:
        lines.append(f"It was admitted as {admission}: your staff file has the name.")
    else:
        lines.append("None of your staff has it: ask the member that the scope names.")
    if opened.wrong:
        lines.append(f"Wrong shares came from: {', '.join(opened.wrong)}.")
    Output(as_json).result(document, *lines)


def _fresh_key(path: Path) -> SealingKey:
    """Make the key that the shares will be sealed to, on disk before anybody is asked."""
    if path.exists():
        raise FileExists(str(path))
    key = SealingKey.generate()
    write_atomically(path, key.secret_bytes(), mode=0o600)
    return key
