"""`cipherward contract propose|vote|get|upgrade`: which contracts the alliance knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cipherward_client.cli import context
from cipherward_client.cli.consent import ConsentId
from cipherward_client.cli.options import (
    DEFAULT_FOLDER,
    AllianceDir,
    As,
    Json,
    No,
    PassphraseFile,
    WalletFile,
)
from cipherward_client.cli.output import Output
from cipherward_client.sdk.errors import explaining
from cipherward_client.sdk.proposals import VOTE_SECONDS
from cipherward_client.sdk.templates import (
    SOURCE_BYTES_MAX,
    ActiveTemplate,
    document_of,
    get_template,
    propose_template,
    upgrade_instance,
    vote_on_template,
)

app = typer.Typer(no_args_is_help=True, help="Which kinds of contract the alliance knows.")


@app.command()
def propose(
    file: Annotated[Path, typer.Argument(help="The template's YAML.")],
    member: As,
    seconds: Annotated[int, typer.Option(min=60, help="How long members may vote.")] = VOTE_SECONDS,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Put a template before the members; every member's chain checks it first."""
    with explaining(), file.open("rb") as source:
        document = document_of(source.read(SOURCE_BYTES_MAX + 1).decode())

    proposed = context.by_member(
        alliance,
        member,
        lambda hospital: propose_template(hospital, document, vote_seconds=seconds),
    )
    name = proposed.change_id.hex()
    Output(as_json).result(
        {"proposal": name, "height": proposed.act.height},
        f"proposal {name} is on the chain, block {proposed.act.height}",
        f"Members vote with: cipherward contract vote {name} --member MEMBER",
    )


@app.command()
def vote(
    proposal: Annotated[str, typer.Argument(metavar="PROPOSAL", help="The proposal's id.")],
    member: As,
    no: No = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Vote on a proposed template."""
    change_id = context.parse_id(proposal)

    counted = context.by_member(
        alliance, member, lambda hospital: vote_on_template(hospital, change_id, approve=not no)
    )
    decided = "it is adopted" if counted.decided else "nothing follows from it yet"
    Output(as_json).result(
        {"height": counted.act.height, "decided": counted.decided},
        f"The vote is counted in block {counted.act.height}: {decided}.",
    )


@app.command("get")
def get(
    name: Annotated[str, typer.Argument(help="The template's name.")],
    version: Annotated[int, typer.Option(min=0, help="0: the newest that is active.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the document (CBOR) here.")] = None,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Fetch a template that the chain proves to be active."""

    async def work() -> ActiveTemplate:
        async with context.connect(context.alliance_folder(alliance)) as connected:
            return await get_template(connected, name, version)

    found = context.run(work())
    if out is not None:
        out.write_bytes(found.document)
    Output(as_json).result(
        {
            "name": found.name,
            "version": found.version,
            "digest": found.digest.hex(),
            "bytes": len(found.document),
            "height": found.height,
        },
        f"{found.name}/{found.version}, {len(found.document)} bytes, as of block {found.height}",
        f"  digest {found.digest.hex()}",
    )


@app.command()
def upgrade(
    consent: ConsentId,
    version: Annotated[int, typer.Argument(min=1, help="The version to go over to.")],
    wallet: WalletFile,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Move a consent of one's own to another version of its template."""
    grant_id = context.parse_id(consent)

    act = context.by_holder(
        alliance,
        wallet,
        passphrase_file,
        lambda me: upgrade_instance(me.alliance, me.wallet, grant_id, version),
    )
    Output(as_json).result(
        {"consent": consent, "version": version, "height": act.height},
        f"The consent is of version {version} since block {act.height}.",
    )
