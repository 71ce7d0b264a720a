"""`cipherward consent import|export`: contracts from a FHIR R4 Consent, and back."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cipherward_client.cli import context
from cipherward_client.cli.consent import terms_document
from cipherward_client.cli.options import (
    DEFAULT_FOLDER,
    AllianceDir,
    Json,
    PassphraseFile,
    WalletFile,
)
from cipherward_client.cli.output import Output, clock
from cipherward_client.fhir_consent.compiling import Frame, compile_consent, consent_document
from cipherward_client.fhir_consent.directory import Directory
from cipherward_client.fhir_consent.directory_file import parse_directory
from cipherward_client.sdk.consent_sets import grant_consents
from cipherward_client.sdk.consents import Consent, ConsentTerms, GrantedConsent, show_consent
from cipherward_client.wallet.wallet import Wallet

DirectoryFile = Annotated[
    Path | None,
    typer.Option(
        "--directory", metavar="FILE", help="What the references of the Consent mean (JSON)."
    ),
]
ConsentFile = Annotated[Path, typer.Argument(metavar="FILE", help="A FHIR R4 Consent (JSON).")]


def import_consent(
    file: ConsentFile,
    wallet: WalletFile,
    directory: DirectoryFile = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the contracts and grant nothing.")
    ] = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Grant exactly what a FHIR Consent permits: one contract a record and reader, all or none."""
    octets = file.read_bytes()

    async def work() -> tuple[tuple[ConsentTerms, ...], Sequence[GrantedConsent]]:
        async with context.holder(alliance, wallet, passphrase_file) as me:
            known = _directory(directory, me.wallet)
            terms = compile_consent(octets, known, now=int(time.time())).terms
            granted = [] if dry_run else await grant_consents(me.alliance, me.wallet, terms)
            return terms, granted

    terms, granted = context.run(work())
    ids = [one.grant_id.hex() for one in granted]
    documents = [
        {**terms_document(one), "consent": ids[place] if ids else ""}
        for place, one in enumerate(terms)
    ]
    verb = "would be granted" if dry_run else "granted"
    Output(as_json).result(
        {"granted": not dry_run, "consents": documents},
        f"{len(terms)} consents {verb}",
        *(f"  {_line(one, consent)}" for one, consent in zip(terms, ids or terms, strict=True)),
    )


def export_consent(
    consents: Annotated[
        list[str], typer.Argument(metavar="CONSENT...", help="Ids of consents of one decision.")
    ],
    frame: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="A FHIR Consent for all but the provision: the one that they came from.",
        ),
    ],
    wallet: WalletFile,
    directory: DirectoryFile = None,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Print the FHIR Consent that says what contracts on the chain say; always JSON."""
    ids = [context.parse_id(one) for one in consents]
    around = {k: v for k, v in json.loads(frame.read_bytes()).items() if k != "provision"}

    async def work() -> tuple[Directory, list[Consent]]:
        async with context.holder(alliance, wallet, passphrase_file) as me:
            found = [await show_consent(me.alliance, me.wallet, one) for one in ids]
            return _directory(directory, me.wallet), found

    known, found = context.run(work())
    ended = any(one.state != "active" for one in found)
    if ended:
        around["status"] = "inactive"
    document = consent_document(Frame(around), [one.terms for one in found], known)
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _directory(file: Path | None, wallet: Wallet) -> Directory:
    octets = b"{}" if file is None else file.read_bytes()
    return parse_directory(octets, list(wallet.records))


def _line(terms: ConsentTerms, consent: object) -> str:
    who = terms.grantee_member or "the key " + terms.grantee_key.hex()
    named = f"{consent}  " if isinstance(consent, str) else ""
    return (
        f"{named}record {terms.record_id.hex()} for {who}: {', '.join(terms.purposes)} until "
        f"{clock(terms.expires)}"
    )
