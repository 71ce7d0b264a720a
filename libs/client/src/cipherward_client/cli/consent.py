"""`cipherward consent`: who may open a record, for what, until when."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cipherward_client.cli import context
from cipherward_client.cli.faults import GranteeMalformed, PurposeUnknown
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
    GrantedConsent,
    grant_consent,
    revoke_consent,
    show_consent,
)
from cipherward_client.sdk.ledger import ProvenAct

app = typer.Typer(no_args_is_help=True, help="Who may open a record, for what, until when.")

PURPOSES = ("TREAT", "ETREAT", "HPAYMT", "HRESCH", "PATRQT")  # the shipped template's closed list
DAY_SECONDS = 86_400
KEY_HEX_DIGITS = 64

ConsentId = Annotated[str, typer.Argument(metavar="CONSENT", help="The consent's id.")]


def parse_grantee(text: str) -> tuple[str, bytes]:
    """Return (member, key) of MEMBER or MEMBER/KEY; the key is empty for all of a member's staff.

    Raises:
        GranteeMalformed: it is neither.
    """
    member, slash, key = text.partition("/")
    if not member or (slash and len(key) != KEY_HEX_DIGITS):
        raise GranteeMalformed(text)
    try:
        return member, bytes.fromhex(key)
    except ValueError:
        raise GranteeMalformed(text) from None


@app.command()
def grant(
    record: RecordId,
    wallet: WalletFile,
    to: Annotated[
        str, typer.Option(metavar="MEMBER[/KEY]", help="Clinicians of a hospital, or one.")
    ],
    purpose: Annotated[str, typer.Option(help=", ".join(PURPOSES))] = "TREAT",
    days: Annotated[int, typer.Option(min=1, max=3650, help="Ends by itself after so long.")] = 30,
    visits: Annotated[int, typer.Option(min=1, max=1000, help="How often it may be opened.")] = 10,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Allow a hospital's clinicians to open one record; it ends by itself."""
    record_id = context.parse_id(record)
    member, key = parse_grantee(to)
    if purpose not in PURPOSES:
        raise PurposeUnknown(purpose)
    terms = ConsentTerms(
        record_id=record_id,
        grantee_member=member,
        grantee_key=key,
        purpose=purpose,
        expires=int(time.time()) + days * DAY_SECONDS,
        visits_max=visits,
    )

    async def work() -> GrantedConsent:
        async with context.holder(alliance, wallet, passphrase_file) as me:
            return await grant_consent(me.alliance, me.wallet, terms)

    given = context.run(work())
    Output(as_json).result(
        {
            "consent": given.grant_id.hex(),
            "record": record,
            "to": to,
            "purpose": purpose,
            "expires": terms.expires,
            "height": given.act.height,
        },
        f"consent {given.grant_id.hex()}",
        f"  {to} may open the record {visits} times for {purpose} until {clock(terms.expires)}; "
        "give this id to who is to open it",
    )


@app.command()
def revoke(
    consent: ConsentId,
    wallet: WalletFile,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """End a consent at once: no key is released and no byte transferred from its block on."""
    grant_id = context.parse_id(consent)

    async def work() -> ProvenAct:
        async with context.holder(alliance, wallet, passphrase_file) as me:
            return await revoke_consent(me.alliance, me.wallet, grant_id)

    act = context.run(work())
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

    async def work() -> Consent:
        async with context.holder(alliance, wallet, passphrase_file) as me:
            return await show_consent(me.alliance, me.wallet, grant_id)

    _show(context.run(work()), Output(as_json))


def _show(found: Consent, output: Output) -> None:
    terms = found.terms
    document = {
        "consent": found.grant_id.hex(),
        "state": found.state,
        "record": terms.record_id.hex(),
        "member": terms.grantee_member,
        "key": terms.grantee_key.hex(),
        "purpose": terms.purpose,
        "expires": terms.expires,
        "visits_max": terms.visits_max,
        "created_height": found.created_height,
        "changed_height": found.changed_height,
    }
    who = terms.grantee_member or "the key " + terms.grantee_key.hex()
    output.result(
        document,
        f"consent {document['consent']} is {found.state}",
        f"  record {document['record']} for {who}, purpose {terms.purpose}",
        f"  at most {terms.visits_max} times, until {clock(terms.expires)}; last changed in block "
        f"{found.changed_height}",
    )
