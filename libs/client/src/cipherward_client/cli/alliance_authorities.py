"""`cipherward alliance authority`: a member changes the authority that issues its certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cipherward_client.alliance.authority_changes import (
    CERTIFICATES_BYTES_MAX,
    AuthorityChange,
    ShownAuthority,
    known_changes,
    parse_authorities,
    propose_change,
    shown,
    vote_for_change,
)
from cipherward_client.alliance.spoken import FINGERPRINT_BYTES, spoken
from cipherward_client.cli import context
from cipherward_client.cli.alliance_votes import read_at_most
from cipherward_client.cli.options import DEFAULT_FOLDER, AllianceDir, As, Json
from cipherward_client.cli.output import Output
from cipherward_client.sdk.authorities import registered_authorities
from cipherward_client.sdk.errors import explaining
from cipherward_client.sdk.hospital import Hospital

app = typer.Typer(no_args_is_help=True, help="Change the authority behind a member's certificates.")

Certificates = Annotated[Path, typer.Argument(help="The new authority's certificate, PEM or DER.")]


@app.command("propose")
def propose(
    certificates: Certificates,
    member: As,
    keep_old: Annotated[
        bool,
        typer.Option(
            "--keep-old/--only",
            help="Beside the present ones, as the first of two steps; or alone, as the second.",
        ),
    ],
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Propose another authority for this member itself, and vote for it.

    First --keep-old; when that is voted issue new certificates, and then propose --only.
    """
    new, folder = _read(certificates), context.alliance_folder(alliance)

    async def work(hospital: Hospital) -> AuthorityChange:
        return await propose_change(folder, hospital, new, keep_old=keep_old)

    change = context.by_member(alliance, member, work)
    after = (
        "Issue new certificates now; running services take them by themselves. Then: "
        "cipherward alliance authority propose FILE --only"
        if keep_old
        else "Certificates of the old authority are refused from now on."
    )
    vote = f"cipherward alliance authority vote {member} FILE --member MEMBER"
    _tell(change, as_json, after if change.decided else f"The others run: {vote}")


@app.command("vote")
def vote(
    changing: Annotated[str, typer.Argument(metavar="ID", help="The member that changes it.")],
    certificates: Certificates,
    member: As,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Vote for the authority that a member has proposed with this file.

    Compare the fingerprint with that member by telephone first: whoever has the authority's key
    can speak as the member's services.
    """
    new, folder = _read(certificates), context.alliance_folder(alliance)

    async def work(hospital: Hospital) -> AuthorityChange:
        return await vote_for_change(folder, hospital, changing, new)

    change = context.by_member(alliance, member, work)
    waits = "More than two thirds of the members decide: each runs the same command."
    kept = f"The proof is kept: clients elsewhere need authorities/{changing}.json of the folder."
    _tell(change, as_json, kept if change.decided else waits)


@app.command("show")
def show(member: As, alliance: AllianceDir = DEFAULT_FOLDER, as_json: Json = False) -> None:
    """Show every member's authorities, and what is voted on."""
    folder = context.alliance_folder(alliance)

    async def work(hospital: Hospital) -> tuple[list[ShownAuthority], list[AuthorityChange]]:
        registry = await registered_authorities(hospital)
        with explaining():
            pending = await known_changes(folder, hospital)
            present = [one for m, pem in registry.items() for one in shown(m, pem)]
        return present, list(pending)

    present, pending = context.by_member(alliance, member, work)
    document = {
        "authorities": [_document(one) for one in present],
        "pending": [
            {
                "member": one.member,
                "change": one.change.change_id.hex(),
                "votes": dict(one.change.votes),
                "authorities": [_document(each) for each in shown(one.member, one.authorities)],
            }
            for one in pending
        ],
    }
    output = Output(as_json)
    rows = [(one.member, _spoken(one), f"{one.until:%F}") for one in present]
    output.table(document, ("member", "authority", "until"), rows)
    for one in pending:
        found = ", ".join(_spoken(each) for each in shown(one.member, one.authorities))
        output.say(f"Voted on: {one.member} with {found}.")


def _read(certificates: Path) -> str:
    with explaining():
        return parse_authorities(read_at_most(certificates, CERTIFICATES_BYTES_MAX))


def _tell(change: AuthorityChange, as_json: bool, then: str) -> None:
    voted = sorted(member for member, yes in change.change.votes.items() if yes)
    authorities = shown(change.member, change.authorities)
    Output(as_json).result(
        {
            "member": change.member,
            "change": change.change.change_id.hex(),
            "state": change.change.state,
            "approved_by": voted,
            "authorities": [_document(one) for one in authorities],
        },
        *(f"{one.member}: {_spoken(one)}, until {one.until:%F}" for one in authorities),
        f"Approved by {', '.join(voted)}; it is {change.change.state}.",
        then,
    )


def _document(one: ShownAuthority) -> dict[str, str]:
    return {
        "member": one.member,
        "fingerprint": one.fingerprint.hex(),
        "until": one.until.isoformat(),
    }


def _spoken(one: ShownAuthority) -> str:
    return spoken(one.fingerprint[:FINGERPRINT_BYTES])
