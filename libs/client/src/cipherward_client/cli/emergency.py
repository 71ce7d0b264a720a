"""`cipherward emergency`: break-glass, and what follows from it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cipherward_client.cli import context
from cipherward_client.cli.faults import ReviewerMissing
from cipherward_client.cli.files import refuse_existing, show_content
from cipherward_client.cli.options import (
    DEFAULT_FOLDER,
    AllianceDir,
    Json,
    PassphraseFile,
    RecordId,
    WalletFile,
)
from cipherward_client.cli.output import Output
from cipherward_client.sdk.emergencies import (
    JUSTIFIED,
    NOT_JUSTIFIED,
    REASONS,
    Emergency,
    close_emergency,
    open_in_emergency,
    review_emergency,
)
from cipherward_client.sdk.ledger import ProvenAct

app = typer.Typer(no_args_is_help=True, help="Open a record in an emergency, and answer for it.")

EmergencyId = Annotated[str, typer.Argument(metavar="EMERGENCY", help="The emergency's id.")]


class Finding(StrEnum):
    """What a review finds."""

    JUSTIFIED = JUSTIFIED
    NOT_JUSTIFIED = NOT_JUSTIFIED


@app.command("open")
def open_record(
    record: RecordId,
    wallet: WalletFile,
    reason: Annotated[str, typer.Option(help=", ".join(REASONS))],
    out: Annotated[Path | None, typer.Option(help="Write it here; stdout if not given.")] = None,
    minutes: Annotated[int, typer.Option(min=1, max=240, help="How long the visit lasts.")] = 60,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Open a record at once, as a clinician; its owner and both hospitals are told.

    Somebody else has to review it within 72 hours, or the clinician's key is suspended.
    """
    output = Output(as_json)
    refuse_existing(out)
    record_id = context.parse_id(record)

    async def work() -> Emergency:
        async with context.holder(alliance, wallet, passphrase_file) as me:
            with output.progress() as progress:
                return await open_in_emergency(
                    me.alliance,
                    me.wallet,
                    record_id,
                    reason,
                    visit_seconds=60 * minutes,
                    progress=progress,
                )

    found = context.run(work())
    name = found.emergency_id.hex()
    show_content(
        output,
        out,
        found.opened.content,
        {
            "emergency": name,
            "record": record,
            "custodian": found.opened.custodian,
            "height": found.opened.act.height,
        },
        f"emergency {name}, block {found.opened.act.height}: a review is due within 72 hours",
    )


@app.command()
def close(
    emergency: EmergencyId,
    wallet: WalletFile,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """End one's own emergency visit; the review stays due."""
    emergency_id = context.parse_id(emergency)

    act = context.by_holder(
        alliance,
        wallet,
        passphrase_file,
        lambda me: close_emergency(me.alliance, me.wallet, emergency_id),
    )
    Output(as_json).result(
        {"emergency": emergency, "state": "ended", "height": act.height},
        f"The visit is over since block {act.height}; the review stays due.",
    )


@app.command()
def review(
    emergency: EmergencyId,
    finding: Annotated[Finding, typer.Argument(help="What came out.")],
    wallet: Annotated[
        Path | None,
        typer.Option(envvar="CIPHERWARD_WALLET", help="Of a data-protection officer."),
    ] = None,
    member: Annotated[
        str, typer.Option(help="The record's author or custodian itself; its keys lie here.")
    ] = "",
    late: Annotated[
        bool, typer.Option("--late", help="The clinician is suspended already.")
    ] = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Say what a review of an emergency found: with an officer's wallet, or as a member."""
    emergency_id, justified = context.parse_id(emergency), finding is Finding.JUSTIFIED

    async def work() -> ProvenAct:
        if member:
            async with context.hospital(context.alliance_folder(alliance), member) as hospital:
                return await review_emergency(
                    hospital.alliance, hospital, emergency_id, justified=justified, late=late
                )
        if wallet is None:
            raise ReviewerMissing(emergency)
        async with context.holder(alliance, wallet, passphrase_file) as me:
            return await review_emergency(
                me.alliance, me.wallet, emergency_id, justified=justified, late=late
            )

    act = context.run(work())
    Output(as_json).result(
        {"emergency": emergency, "finding": str(finding), "height": act.height},
        f"The review is on the chain, block {act.height}: {finding}.",
    )
