"""`cipherward record erase` and `record allow`: what an owner decides about a record itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from cipherward_client.cli import context
from cipherward_client.cli.files import refuse_existing
from cipherward_client.cli.options import (
    DEFAULT_FOLDER,
    AllianceDir,
    Json,
    PassphraseFile,
    RecordId,
    WalletFile,
)
from cipherward_client.cli.output import Output
from cipherward_client.sdk.erasures import OrderedErasure, Statement, erase_record, wait_erased
from cipherward_client.sdk.receipts import write_receipt
from cipherward_client.sdk.templates import allow_template

GROUNDS = ("consent-withdrawn", "legal-obligation", "no-longer-needed", "objection", "unlawful")

Statements = Mapping[str, Statement]


def erase(
    record: RecordId,
    wallet: WalletFile,
    ground: Annotated[str, typer.Option(help=", ".join(GROUNDS))] = GROUNDS[0],
    wait: Annotated[
        int, typer.Option(min=0, help="Seconds to wait until all members have erased it.")
    ] = 0,
    receipts: Annotated[
        Path | None, typer.Option(help="Write the receipts into this new folder.")
    ] = None,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Have a record erased for good: no key is released from the order's block on.

    The custodian says that it is done when the key is destroyed under which its backups hold the
    record's slot: within a week, unless it renews that key more often.
    """
    record_id = context.parse_id(record)
    refuse_existing(receipts)

    async def work() -> tuple[OrderedErasure, Statements]:
        async with context.holder(alliance, wallet, passphrase_file) as me:
            ordered = await erase_record(me.alliance, me.wallet, record_id, ground)
            if receipts is not None:
                receipts.mkdir()
                write_receipt(receipts / "order.receipt", ordered.act.receipt)
            if not wait:
                return ordered, {}
            return ordered, await wait_erased(me.alliance, me.wallet, ordered, seconds=wait)

    ordered, statements = context.run(work())
    if receipts is not None:
        for member, statement in statements.items():
            write_receipt(receipts / f"{member}.receipt", statement.act.receipt)
    _show_erasure(ordered, statements, Output(as_json))


def _show_erasure(ordered: OrderedErasure, statements: Statements, output: Output) -> None:
    document = {
        "erasure": ordered.erasure_id.hex(),
        "record": ordered.record_id.hex(),
        "height": ordered.act.height,
        "erased": bool(statements),
        "statements": {
            member: {"digest": one.digest.hex(), "height": one.act.height}
            for member, one in sorted(statements.items())
        },
    }
    lines = [
        f"erasure {document['erasure']}",
        f"  no key of the record is released since block {ordered.act.height}",
        *(
            f"  {member} has signed that it erased what it had: block {one.act.height}"
            for member, one in sorted(statements.items())
        ),
    ]
    output.result(document, *lines)


def allow(
    record: RecordId,
    template: Annotated[str, typer.Argument(metavar="NAME/VERSION", help="Of a contract.")],
    wallet: WalletFile,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Let one more kind of contract release a record of one's own."""
    record_id = context.parse_id(record)

    act = context.by_holder(
        alliance,
        wallet,
        passphrase_file,
        lambda me: allow_template(me.alliance, me.wallet, record_id, template),
    )
    Output(as_json).result(
        {"record": record, "template": template, "height": act.height},
        f"{template} may release the record from block {act.height} on.",
    )
