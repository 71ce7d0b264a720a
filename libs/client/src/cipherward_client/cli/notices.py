"""`cipherward notices`: what the chain has told a member or a record's owner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cipherward_client.cli import context
from cipherward_client.cli.faults import ListenerMissing
from cipherward_client.cli.options import DEFAULT_FOLDER, AllianceDir, Json, PassphraseFile
from cipherward_client.cli.output import Output, clock
from cipherward_client.sdk.notices import Notice, notices_of_member, notices_of_record


def notices(
    record: Annotated[str, typer.Option(help="A record of the wallet's owner.")] = "",
    wallet: Annotated[
        Path | None, typer.Option(envvar="CIPHERWARD_WALLET", help="The owner's wallet.")
    ] = None,
    member: Annotated[str, typer.Option(help="A member; its keys lie here.")] = "",
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """List what a member was told, or the owner of a record: emergencies, reviews, erasures."""

    async def work() -> list[Notice]:
        if member:
            async with context.hospital(context.alliance_folder(alliance), member) as hospital:
                return await notices_of_member(hospital)
        if wallet is None or not record:
            raise ListenerMissing("neither --member, nor --record with --wallet")
        record_id = context.parse_id(record)
        async with context.holder(alliance, wallet, passphrase_file) as me:
            return await notices_of_record(me.alliance, me.wallet, record_id)

    found = context.run(work())
    document = {
        "notices": [
            {
                "kind": one.kind,
                "record": one.record_id.hex(),
                "contract": one.instance_id.hex(),
                "height": one.height,
                "time": one.time_seconds,
                "due": one.due_seconds or None,
            }
            for one in found
        ]
    }
    rows = [
        (
            clock(one.time_seconds),
            one.kind,
            one.record_id.hex() or "-",
            one.instance_id.hex(),
            clock(one.due_seconds) if one.due_seconds else "-",
        )
        for one in found
    ]
    Output(as_json).table(document, ("time", "what", "record", "contract", "until"), rows)
