"""`cipherward consent`: who may open a record, for what, until when."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cipherward_client.cli import context
from cipherward_client.cli.faults import GranteeMalformed, PurposeUnknown
from cipherward_client.cli.octets import parse_octets
from cipherward_client.cli.options import (
    DEFAULT_FOLDER,
    AllianceDir,
    Json,
    PassphraseFile,
    RecordId,
    WalletFile,
)
from cipherward_client.cli.output import Output, clock
from cipherward_client.sdk.consents import (
    Consent,
    ConsentTerms,
    grant_consent,
    representative_key,
    revoke_consent,
    show_consent,
)

app = typer.Typer(no_args_is_help=True, help="Who may open a record, for what, until when.")

# The shipped template's closed list: HL7 PurposeOfUse, and GA4GH DUO where it names no disease.
PURPOSES = (
    "TREAT",
    "CAREMGT",
    "ETREAT",
    "GRU",
    "HMB",
    "HOPERAT",
    "HPAYMT",
    "HRESCH",
    "NPUNCU",
    "PATRQT",
)
DAY_SECONDS = 86_400
KEY_BYTES = 32

ConsentId = Annotated[str, typer.Argument(metavar="CONSENT", help="The consent's id.")]


def parse_grantee(text: str) -> tuple[str, bytes]:
    """Return (member, key) of MEMBER or MEMBER/KEY; the key is empty for all of a member's staff.

    Raises:
        GranteeMalformed: it is neither.
    """
    member, slash, key = text.partition("/")
    if not member or (slash and not key):
        raise GranteeMalformed(text)
    return member, parse_key(key) if key else b""


def parse_key(text: str) -> bytes:
    """Return the 32 bytes of a registered key, or raise `GranteeMalformed`."""
    return parse_octets(text, KEY_BYTES, GranteeMalformed)


@app.command()
def grant(
    record: RecordId,
    wallet: WalletFile,
    to: Annotated[
        str, typer.Option(metavar="MEMBER[/KEY]", help="Clinicians of a hospital, or one.")
    ],
    purpose: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(PURPOSES)}; several if repeated.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Ends by itself after so long.")] = 30,
    visits: Annotated[int, typer.Option(min=1, max=1000, help="How often it may be opened.")] = 10,
    representative: Annotated[
        str, typer.Option(metavar="KEY", help="Who may open and revoke it like the owner.")
    ] = "",
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Allow a hospital's clinicians to open one record; it ends by itself."""
    record_id = context.parse_id(record)
    member, key = parse_grantee(to)
    purposes = tuple(sorted(set(purpose or ["TREAT"])))
    for one in purposes:
        if one not in PURPOSES:
            raise PurposeUnknown(one)
    terms = ConsentTerms(
        record_id=record_id,
        grantee_member=member,
        grantee_key=key,
        representative_key=parse_key(representative) if representative else b"",
        purposes=purposes,
        expires=int(time.time()) + days * DAY_SECONDS,
        visits_max=visits,
    )

    given = context.by_holder(
        alliance, wallet, passphrase_file, lambda me: grant_consent(me.alliance, me.wallet, terms)
    )
    Output(as_json).result(
        {
            "consent": given.grant_id.hex(),
            "record": record,
            "to": to,
            "purposes": list(purposes),
            "expires": terms.expires,
            "height": given.act.height,
        },
        f"consent {given.grant_id.hex()}",
        f"  {to} may open the record {visits} times for {', '.join(purposes)} until "
        f"{clock(terms.expires)}; give this id to who is to open it",
    )


@app.command()
def represent(
    record: RecordId,
    wallet: WalletFile,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Print the key that a record's owner names to be represented by this wallet."""
    record_id = context.parse_id(record)

    key = context.by_holder(
        alliance,
        wallet,
        passphrase_file,
        lambda me: representative_key(me.alliance, me.wallet, record_id),
    ).hex()
    Output(as_json).result(
        {"record": record, "key": key},
        f"key {key}",
        "  the owner gives it with: cipherward consent grant --representative",
    )


@app.command()
def revoke(
    consent: ConsentId,
    wallet: WalletFile,
    record: Annotated[
        str, typer.Option(help="The record, given by who represents its owner.")
    ] = "",
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """End a consent at once: no key is released and no byte transferred from its block on."""
    grant_id = context.parse_id(consent)
    record_id = context.parse_id(record) if record else None

    act = context.by_holder(
        alliance,
        wallet,
        passphrase_file,
        lambda me: revoke_consent(me.alliance, me.wallet, grant_id, record_id=record_id),
    )
    Output(as_json).result(
        {"consent": consent, "state": "revoked", "height": act.height},
        f"The consent is revoked since block {act.height} ({clock(act.time_seconds)}).",
        "  What was opened before cannot be taken back; nothing further is given.",
    )


@app.command()
def show(
    consent: ConsentId,
    wallet: WalletFile,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Show a consent as the chain has it."""
    grant_id = context.parse_id(consent)

    _show(
        context.by_holder(
            alliance,
            wallet,
            passphrase_file,
            lambda me: show_consent(me.alliance, me.wallet, grant_id),
        ),
        Output(as_json),
    )


def terms_document(terms: ConsentTerms) -> dict[str, object]:
    """Return what a consent allows, as scripts read it."""
    return {
        "record": terms.record_id.hex(),
        "member": terms.grantee_member,
        "key": terms.grantee_key.hex(),
        "representative": terms.representative_key.hex(),
        "purposes": list(terms.purposes),
        "expires": terms.expires,
        "visits_max": terms.visits_max,
        "visit_seconds": terms.visit_seconds,
    }


def _show(found: Consent, output: Output) -> None:
    terms = found.terms
    document = {
        "consent": found.grant_id.hex(),
        "state": found.state,
        **terms_document(terms),
        "created_height": found.created_height,
        "changed_height": found.changed_height,
    }
    who = terms.grantee_member or "the key " + terms.grantee_key.hex()
    output.result(
        document,
        f"consent {document['consent']} is {found.state}",
        f"  record {terms.record_id.hex()} for {who}, for {', '.join(terms.purposes)}",
        f"  at most {terms.visits_max} times, until {clock(terms.expires)}; last changed in block "
        f"{found.changed_height}",
    )
