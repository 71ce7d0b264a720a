"""`cipherward study key reshare` and `… resharing`: a data key goes over to other members."""

from __future__ import annotations

from typing import Annotated

import typer

from cipherward_client.cli import context
from cipherward_client.cli.options import DEFAULT_FOLDER, AllianceDir, As, Json, KeyId, Reject
from cipherward_client.cli.output import Output
from cipherward_client.sdk import resharings
from cipherward_client.sdk.data_keys import STEP_SECONDS
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct
from cipherward_client.sdk.resharings import ProposedResharing, Resharing, ResharingRequest
from cipherward_client.sdk.study_ends import meaning
from cipherward_studies.document import STEP_SECONDS_LEAST

app = typer.Typer(no_args_is_help=True, help="Resharings: a data key goes over to other members.")

ResharingId = Annotated[str, typer.Argument(metavar="RESHARING", help="The resharing's id.")]


def reshare(
    key: KeyId,
    member: As,
    to: Annotated[
        list[str],
        typer.Option(help="Who is to hold it; may be repeated. Left out: all of the alliance."),
    ] = [],  # noqa: B006 - typer reads the default and gives each command its own list
    step_seconds: Annotated[
        int, typer.Option(min=STEP_SECONDS_LEAST, help="What every step may take.")
    ] = STEP_SECONDS,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Propose as a holder that a data key goes over to other members; its columns stay."""
    request = ResharingRequest(context.parse_id(key), tuple(to), step_seconds)

    async def work(hospital: Hospital) -> ProposedResharing:
        return await resharings.propose_resharing(hospital, request)

    proposed = context.by_member(alliance, member, work)
    resharing = proposed.resharing.hex()
    Output(as_json).result(
        {"resharing": resharing, "data_key": key, "height": proposed.act.height},
        f"resharing {resharing} is proposed in block {proposed.act.height}.",
        "Who holds the key votes with: "
        "cipherward study key resharing approve RESHARING --member MEMBER",
    )


@app.command()
def approve(
    resharing: ResharingId,
    member: As,
    reject: Reject = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Vote on a resharing as a member that holds the key."""
    named = context.parse_id(resharing)

    async def work(hospital: Hospital) -> ProvenAct:
        return await resharings.vote_resharing(hospital, named, not reject)

    act = context.by_member(alliance, member, work)
    Output(as_json).vote("resharing", resharing, member, not reject, act.height)


@app.command()
def withdraw(
    resharing: ResharingId,
    member: As,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """End a resharing as an old or new holder, before the key is handed over."""
    named = context.parse_id(resharing)
    act = context.by_member(
        alliance, member, lambda hospital: resharings.withdraw_resharing(hospital, named)
    )
    Output(as_json).result(
        {"resharing": resharing, "member": member, "height": act.height},
        f"{member} withdrew the resharing in block {act.height}; the key stays where it is.",
    )


@app.command()
def show(
    resharing: ResharingId,
    member: As,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Show a resharing as a member."""
    named = context.parse_id(resharing)

    async def work(hospital: Hospital) -> Resharing:
        return await resharings.show_resharing(hospital, named)

    found = context.by_member(alliance, member, work)
    means = meaning("", found.failure)
    Output(as_json).result(
        {
            "resharing": resharing,
            "data_key": found.data_key.hex(),
            "state": found.state,
            "holders": list(found.holders),
            "members": list(found.members),
            "threshold": found.threshold,
            "failure": found.failure,
            "meaning": list(means),
        },
        f"resharing {resharing} of data key {found.data_key.hex()}: "
        f"{found.state.replace('_', ' ')}{f' ({found.failure})' if found.failure else ''}.",
        f"  from {', '.join(found.holders)}",
        f"  to {', '.join(found.members)}: {found.threshold} of them decrypt.",
        *(f"  {line}" for line in means),
    )
