"""`cipherward study opt-out …`: patients who keep their rows out of studies."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cipherward_chain.authorization import PSEUDONYM_BYTES
from cipherward_chain.opt_outs import Choice
from cipherward_client.cli import context
from cipherward_client.cli.faults import PseudonymMalformed
from cipherward_client.cli.octets import parse_octets
from cipherward_client.cli.options import (
    DEFAULT_FOLDER,
    AllianceDir,
    Json,
    PassphraseFile,
    WalletFile,
)
from cipherward_client.cli.output import Output
from cipherward_client.sdk.opt_outs import (
    OptOutReceipt,
    choose,
    count_opt_outs,
    link_references,
    put_opt_out,
)

app = typer.Typer(no_args_is_help=True, help="Patients who keep their rows out of studies.")

MemberName = Annotated[str, typer.Option(help="The member that has the rows.")]
Back = Annotated[bool, typer.Option("--back", help="Take part again.")]


@app.command("set")
def set_choice(
    member: MemberName,
    wallet: WalletFile,
    back: Back = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Keep oneself out of studies at a member, by one's wallet; nothing goes on the chain."""
    choice = _choice(back)

    receipt = context.by_holder(
        alliance, wallet, passphrase_file, lambda me: choose(me.alliance, me.wallet, member, choice)
    )
    lines = _lines(receipt)
    if not receipt.linked:
        lines.append("The hospital does not know yet which rows are yours: show it the pseudonym.")
    Output(as_json).result(_document(receipt), *lines)


@app.command()
def put(
    reference: Annotated[str, typer.Argument(help="Of the patient's rows, 32 hex digits.")],
    member: MemberName,
    back: Back = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Record as a member what a patient without a wallet has chosen; print the receipt."""
    named, choice = context.parse_id(reference), _choice(back)

    receipt = context.by_member(
        alliance, member, lambda hospital: put_opt_out(hospital, named, choice)
    )
    Output(as_json).result(_document(receipt), *_lines(receipt))


@app.command()
def link(
    pseudonym: Annotated[str, typer.Argument(help="What the wallet showed, 96 hex digits.")],
    member: MemberName,
    reference: Annotated[
        list[str] | None, typer.Option(help="Of the patient's rows; may be repeated; none: unlink.")
    ] = None,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Say as a member which rows are those of a wallet's pseudonym."""
    named = parse_octets(pseudonym, PSEUDONYM_BYTES, PseudonymMalformed)
    references = [context.parse_id(one) for one in reference or ()]

    async def work() -> None:
        async with context.hospital(context.alliance_folder(alliance), member) as hospital:
            await link_references(hospital, named, references)

    context.run(work())
    Output(as_json).result(
        {"member": member, "references": len(references)},
        f"{member} has linked {len(references)} references to the pseudonym.",
    )


@app.command()
def count(
    member: MemberName, alliance: AllianceDir = DEFAULT_FOLDER, as_json: Json = False
) -> None:
    """Show as a member how many are out."""
    found = context.by_member(alliance, member, lambda hospital: count_opt_outs(hospital))
    Output(as_json).result(
        {"member": member, **asdict(found)},
        f"{found.references} references are out at {member}, {found.pseudonyms} wallets; "
        f"{found.pseudonyms_unlinked} of them are linked to no rows yet.",
    )


def _choice(back: bool) -> Choice:
    return "in" if back else "out"


def _document(receipt: OptOutReceipt) -> dict[str, object]:
    statement = receipt.statement
    return {
        "member": statement.member,
        "choice": statement.choice,
        statement.kind: statement.subject.hex(),
        "height": statement.height,
        "linked": receipt.linked,
        "statement": receipt.octets.hex(),
        "authorization": receipt.authorization.hex(),
    }


def _lines(receipt: OptOutReceipt) -> list[str]:
    statement = receipt.statement
    said = "does not use" if statement.choice == "out" else "uses"
    return [
        f"{statement.member} {said} the rows in studies that begin after block {statement.height}.",
        f"  {statement.kind} {statement.subject.hex()}",
    ]
