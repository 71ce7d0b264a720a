"""`cipherward record`: store a record, open one, list one's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cipherward_client.cli import context, erasure
from cipherward_client.cli.faults import GrantMissing
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
from cipherward_client.records.sealing import EMERGENCY_ACCESS, RELEASE_TEMPLATES
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.consents import ConsentTerms, grant_consent
from cipherward_client.sdk.opened import OpenedRecord
from cipherward_client.sdk.receipts import write_receipt
from cipherward_client.sdk.records import (
    RecordReceipt,
    WalletOwner,
    get_record,
    put_record,
)
from cipherward_client.wallet.scopes import record_scope
from cipherward_client.wallet.wallet import Wallet

app = typer.Typer(no_args_is_help=True, help="Store a record, open one, list one's own.")
app.command("erase")(erasure.erase)
app.command("allow")(erasure.allow)

OWN_VISIT_SECONDS = 600  # an owner's consent to itself: this one download, with time to resume


@dataclass(frozen=True, slots=True)
class _Session:
    """What every command of a holder is given."""

    alliance: Path
    wallet: Path
    passphrase_file: Path | None
    output: Output


@app.command()
def put(
    file: Annotated[Path, typer.Argument(help="What to store, for example a FHIR bundle.")],
    hospital: Annotated[str, typer.Option(help="The member that writes and keeps the record.")],
    wallet: WalletFile,
    label: Annotated[str, typer.Option(help="The owner's words for it; they stay there.")] = "",
    receipt: Annotated[Path | None, typer.Option(help="Write the anchor's receipt here.")] = None,
    without_emergency_access: Annotated[
        bool,
        typer.Option(
            "--without-emergency-access",
            help="Nobody opens it without the owner's consent, not even to save a life.",
        ),
    ] = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Encrypt a file, store it at a hospital, and anchor it on the chain as the wallet's own.

    Plays the hospital that writes the record and the patient who countersigns it.
    """
    output = Output(as_json)
    refuse_existing(receipt)
    session = _Session(alliance, wallet, passphrase_file, output)
    releasing = tuple(
        one
        for one in RELEASE_TEMPLATES
        if not (without_emergency_access and one == EMERGENCY_ACCESS)
    )
    stored = context.run(_put(session, file, hospital, label or file.name, releasing))
    if receipt is not None:
        write_receipt(receipt, stored.act.receipt)
    record_id = stored.record_id.hex()
    output.result(
        {
            "record": record_id,
            "custodian": stored.custodian,
            "ciphertext_bytes": stored.ciphertext_bytes,
            "transaction": stored.act.transaction_id.hex(),
            "height": stored.act.height,
            "release_templates": list(releasing),
        },
        f"record {record_id}",
        f"  {stored.ciphertext_bytes} encrypted bytes at {stored.custodian}; anchored in block "
        f"{stored.act.height}, receipt verified",
    )


async def _put(
    session: _Session, file: Path, member: str, label: str, releasing: Sequence[str]
) -> RecordReceipt:
    content = await asyncio.to_thread(file.read_bytes)
    folder = context.alliance_folder(session.alliance)
    async with (
        context.hospital(folder, member) as author,
        context.holder(session.alliance, session.wallet, session.passphrase_file) as me,
    ):
        with session.output.progress() as progress:
            owner = WalletOwner(me.alliance, me.wallet, label, release_templates=releasing)
            return await put_record(
                author, content, owner, release_templates=releasing, progress=progress
            )


@app.command()
def get(
    record: RecordId,
    wallet: WalletFile,
    out: Annotated[Path | None, typer.Option(help="Write it here; stdout if not given.")] = None,
    grant: Annotated[
        str, typer.Option(help="The consent that allows it; an owner needs none.")
    ] = "",
    purpose: Annotated[str, typer.Option(help="The purpose that the consent is for.")] = "TREAT",
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Open a record under a consent: the chain orders the key, the bytes are checked, decrypted."""
    output = Output(as_json)
    refuse_existing(out)
    record_id = context.parse_id(record)
    grant_id = context.parse_id(grant) if grant else b""
    session = _Session(alliance, wallet, passphrase_file, output)
    opened = context.run(_get(session, record_id, grant_id, purpose))
    show_content(
        output,
        out,
        opened.content,
        {
            "record": record,
            "custodian": opened.custodian,
            "transaction": opened.act.transaction_id.hex(),
            "height": opened.act.height,
            "faults": [fault.member for fault in opened.faults],
        },
        f"from {opened.custodian}; every byte was checked against the anchor. The access is on the "
        f"chain, block {opened.act.height}.",
    )
    for fault in opened.faults:
        output.say(f"  {fault.member} signed a wrong part of the key; it opened without it.")


async def _get(session: _Session, record_id: bytes, grant_id: bytes, purpose: str) -> OpenedRecord:
    async with context.holder(session.alliance, session.wallet, session.passphrase_file) as me:
        if not grant_id:
            if record_id not in me.wallet.records:
                raise GrantMissing(record_id.hex())
            grant_id = await _consent_to_self(me.alliance, me.wallet, record_id)
        with session.output.progress() as progress:
            return await get_record(
                me.alliance, me.wallet, record_id, grant_id, purpose=purpose, progress=progress
            )


async def _consent_to_self(alliance: Alliance, wallet: Wallet, record_id: bytes) -> bytes:
    """Return a fresh consent of the owner to its own key: its access is accounted like any."""
    terms = ConsentTerms(
        record_id=record_id,
        grantee_member="",
        grantee_key=wallet.public_key(record_scope(record_id)),
        purposes=("PATRQT",),
        expires=int(time.time()) + OWN_VISIT_SECONDS,
        visits_max=1,
        visit_seconds=OWN_VISIT_SECONDS,
    )
    return (await grant_consent(alliance, wallet, terms)).grant_id


@app.command("list")
def list_records(
    wallet: WalletFile, passphrase_file: PassphraseFile = None, as_json: Json = False
) -> None:
    """List the records that a wallet owns; asks nobody."""
    context.run(_list(wallet, passphrase_file, Output(as_json)))


async def _list(file: Path, passphrase_file: Path | None, output: Output) -> None:
    async with context.opened_wallet(file, passphrase_file) as opened:
        records = list(opened.wallet.records.values())
        document = {
            "records": [
                {
                    "record": r.record_id.hex(),
                    "custodian": r.custodian,
                    "author": r.author,
                    "label": r.label,
                }
                for r in records
            ]
        }
        rows = [(r.record_id.hex(), r.custodian, r.author, r.label) for r in records]
        output.table(document, ("record", "kept by", "written by", "label"), rows)
