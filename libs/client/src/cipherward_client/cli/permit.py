"""`cipherward study permit`: what a researcher's institution may compute, and until when."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from cipherward_client.cli import context
from cipherward_client.cli.options import (
    DEFAULT_FOLDER,
    AllianceDir,
    As,
    Json,
    PassphraseFile,
    Reject,
    WalletFile,
)
from cipherward_client.cli.output import Output, clock
from cipherward_client.sdk.permits import (
    DAY_SECONDS,
    OUTPUTS,
    PURPOSES,
    RELEASES,
    PermitRequest,
    apply_for_permit,
    revoke_permit,
    show_permit,
    surrender_permit,
    vote_permit,
)
from cipherward_client.sdk.study_requests import MINIMUM

app = typer.Typer(no_args_is_help=True, help="Data permits: what may be computed, and until when.")

PermitId = Annotated[str, typer.Argument(metavar="PERMIT", help="The permit's id.")]


@app.command()
def apply(
    wallet: WalletFile,
    data_set: Annotated[list[str], typer.Option(help="cohort-1 … cohort-99; may be repeated.")],
    output: Annotated[list[str], typer.Option(help=f"Of {', '.join(OUTPUTS)}; may be repeated.")],
    purpose: Annotated[
        list[str], typer.Option(help=f"Of {', '.join(PURPOSES)}; may be repeated.")
    ] = ["research"],  # noqa: B006 - typer reads the default and gives each command its own list
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long from now.")] = 365,
    releases: Annotated[
        int, typer.Option(min=2, max=10_000, help="Of a data set: counts take one, each round one.")
    ] = RELEASES,
    minimum: Annotated[int, typer.Option(min=10, help="Patients in a published cell.")] = MINIMUM,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Apply for a permit in the name of one's institution; the members with the data vote."""
    request = PermitRequest(
        tuple(purpose), tuple(data_set), tuple(output), minimum, releases, days * DAY_SECONDS
    )

    applied = context.by_holder(
        alliance,
        wallet,
        passphrase_file,
        lambda me: apply_for_permit(me.alliance, me.wallet, request),
    )
    permit = applied.permit_id.hex()
    Output(as_json).result(
        {"permit": permit, "height": applied.act.height},
        f"permit {permit} is applied for in block {applied.act.height}.",
        "Members vote with: cipherward study permit approve PERMIT --member MEMBER",
    )


@app.command()
def approve(
    permit: PermitId,
    member: As,
    reject: Reject = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Vote on a permit as a member that holds its data, with the member's key from the folder."""
    permit_id = context.parse_id(permit)

    act = context.by_member(
        alliance, member, lambda hospital: vote_permit(hospital, permit_id, not reject)
    )
    Output(as_json).vote("permit", permit, member, not reject, act.height)


@app.command()
def revoke(
    permit: PermitId,
    member: As,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """End a permit as a member that holds its data; its running studies end with it."""
    permit_id = context.parse_id(permit)

    act = context.by_member(alliance, member, lambda hospital: revoke_permit(hospital, permit_id))
    Output(as_json).result(
        {"permit": permit, "member": member, "height": act.height},
        f"{member} ended the permit, and every study under it, in block {act.height}.",
    )


@app.command()
def surrender(
    permit: PermitId,
    wallet: WalletFile,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Give back a permit that this wallet has applied for."""
    permit_id = context.parse_id(permit)

    act = context.by_holder(
        alliance,
        wallet,
        passphrase_file,
        lambda me: surrender_permit(me.alliance, me.wallet, permit_id),
    )
    Output(as_json).result(
        {"permit": permit, "height": act.height},
        f"the permit was given back in block {act.height}.",
    )


@app.command()
def show(
    permit: PermitId,
    wallet: WalletFile,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Show a permit to a researcher who may use it."""
    permit_id = context.parse_id(permit)

    found = context.by_holder(
        alliance, wallet, passphrase_file, lambda me: show_permit(me.alliance, me.wallet, permit_id)
    )
    document: dict[str, Any] = {**asdict(found), "permit_id": permit}
    Output(as_json).result(
        document,
        f"permit {permit} is {found.state}, until {clock(found.expires)}",
        f"  for {', '.join(found.purposes)}",
        f"  {', '.join(found.outputs)} of {', '.join(found.data_sets)}",
        f"  for {found.user_member}, at most {found.releases_max} releases of a data set, at least "
        f"{found.minimum} patients in a cell",
    )
