"""`cipherward wallet`: a holder's keys and credentials in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cipherward_anoncred.schema import parse_header
from cipherward_chain.genesis import Genesis
from cipherward_client.cli import context
from cipherward_client.cli.faults import RoleUnknown, WalletExists
from cipherward_client.cli.options import (
    DEFAULT_FOLDER,
    AllianceDir,
    Json,
    PassphraseFile,
    WalletArgument,
    WalletFile,
)
from cipherward_client.cli.output import Output
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.wallet.file import load_wallet, save_wallet
from cipherward_client.wallet.scopes import PATIENT, STAFF
from cipherward_client.wallet.wallet import Wallet

app = typer.Typer(no_args_is_help=True, help="A holder's keys and credentials, in one file.")

# Which credential each role is: patients show nothing about themselves, staff show their role.
SCHEMAS = {"patient": PATIENT, "clinician": STAFF, "researcher": STAFF, "dpo": STAFF}


@app.command()
def create(
    wallet: WalletArgument,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Make a wallet with a fresh seed, for one alliance, under a passphrase."""
    genesis = Genesis.parse(context.alliance_folder(alliance).genesis_file.read_bytes())
    if wallet.exists():
        raise WalletExists(str(wallet))
    passphrase = context.read_passphrase(passphrase_file, again=True)
    save_wallet(wallet, Wallet.create(genesis.chain_id, genesis.digest), passphrase)
    Output(as_json).result(
        {"wallet": str(wallet), "chain_id": genesis.chain_id},
        f"{wallet} is a new wallet for the chain {genesis.chain_id}.",
        "Whoever loses it, or its passphrase, loses what it owns: keep a copy "
        "(`cipherward wallet backup`).",
    )


@app.command()
def show(
    wallet: WalletArgument, passphrase_file: PassphraseFile = None, as_json: Json = False
) -> None:
    """Show what a wallet holds; no key and no secret is printed."""
    found = load_wallet(wallet, context.read_passphrase(passphrase_file))
    headers = [parse_header(credential.header) for credential in found.credentials.values()]
    document: dict[str, Any] = {
        "wallet": str(wallet),
        "chain_id": found.chain_id,
        "credentials": [
            {"schema": h.schema, "issuer": h.issuer, "epoch": h.epoch} for h in headers
        ],
        "records": [
            {"record": r.record_id.hex(), "custodian": r.custodian, "label": r.label}
            for r in found.records.values()
        ],
        "consents": [
            {"consent": g.grant_id.hex(), "record": g.record_id.hex(), "member": g.member}
            for g in found.grants.values()
        ],
        "studies": [study.study_id.hex() for study in found.studies.values()],
    }
    lines = [f"A wallet of the chain {found.chain_id}"]
    lines += [f"  {h.schema} credential of {h.issuer}, epoch {h.epoch}" for h in headers]
    lines += [
        f"  record {r.record_id.hex()} at {r.custodian}  {r.label}" for r in found.records.values()
    ]
    lines += [
        f"  consent {g.grant_id.hex()} to {g.member or 'a key'} for record {g.record_id.hex()}"
        for g in found.grants.values()
    ]
    lines += [f"  study {name}" for name in document["studies"]]
    Output(as_json).result(document, *lines)


@app.command()
def backup(
    wallet: WalletArgument,
    copy: Annotated[Path, typer.Argument(help="The new file.")],
    passphrase_file: PassphraseFile = None,
    new_passphrase_file: Annotated[
        Path | None, typer.Option(help="Seal the copy under the first line of this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy a wallet, sealed anew, under the same or another passphrase."""
    if copy.exists():
        raise WalletExists(str(copy))
    passphrase = context.read_passphrase(passphrase_file)
    found = load_wallet(wallet, passphrase)
    if new_passphrase_file is not None:
        passphrase = context.read_passphrase(new_passphrase_file)
    save_wallet(copy, found, passphrase)
    Output(as_json).result(
        {"wallet": str(wallet), "copy": str(copy)}, f"{copy} holds all that {wallet} holds."
    )


@app.command()
def enroll(
    wallet: WalletFile,
    hospital: Annotated[str, typer.Option(help="The member whose desk admits the holder.")],
    role: Annotated[str, typer.Option(help="patient, clinician, researcher or dpo.")] = "patient",
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Get a credential: plays the hospital's desk, then the holder who asks for it blindly.

    The desk's part needs the member's keys, which only a development alliance keeps here.
    """
    if role not in SCHEMAS:
        raise RoleUnknown(role)
    epoch = context.run(_enroll(alliance, wallet, passphrase_file, hospital, role))
    Output(as_json).result(
        {"wallet": str(wallet), "issuer": hospital, "role": role, "epoch": epoch},
        f"{hospital} signed a credential ({role}) that it cannot recognise when it is shown; "
        f"it is good in epoch {epoch}.",
    )


async def _enroll(
    root: Path, file: Path, passphrase_file: Path | None, member: str, role: str
) -> int:
    folder, schema = context.alliance_folder(root), SCHEMAS[role]
    async with (
        context.holder(root, file, passphrase_file) as me,
        context.hospital(folder, member) as desk,
    ):
        role_shown = "" if schema == PATIENT else role
        code = await admit_holder(desk, schema, role=role_shown)
        credential = await obtain_credential(
            me.alliance, me.wallet, member, code, saved=me.opened.save
        )
        return parse_header(credential.header).epoch
