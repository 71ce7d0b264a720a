"""`cipherward study key …` and `cipherward study enrol`: columns that are stored encrypted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from cipherward_client.cli import context, resharings
from cipherward_client.cli.options import (
    DEFAULT_FOLDER,
    AllianceDir,
    As,
    Json,
    KeyId,
    PassphraseFile,
    Reject,
    WalletFile,
)
from cipherward_client.cli.output import Output, clock
from cipherward_client.sdk import data_keys
from cipherward_client.sdk.data_keys import (
    DAY_SECONDS,
    ENROL_DAYS,
    LIFE_DAYS,
    RELEASES,
    STEP_SECONDS,
    DataKey,
    DataKeyRequest,
    ProposedDataKey,
    hand_over_columns,
    propose_data_key,
    read_columns,
    show_data_key,
)
from cipherward_client.sdk.enrolment import enrol as enrol_at
from cipherward_client.sdk.enrolment import leave
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct
from cipherward_client.sdk.study_ends import meaning
from cipherward_studies.document import STEP_SECONDS_LEAST

app = typer.Typer(
    no_args_is_help=True, help="Data keys: under which hospitals store columns encrypted."
)

app.add_typer(resharings.app, name="resharing")
app.command("reshare")(resharings.reshare)

Columns = Annotated[Path, typer.Argument(help="A YAML or JSON file: data_set and variables.")]


@app.command()
def propose(
    columns: Columns,
    member: As,
    year: Annotated[int, typer.Option(help="Which year's data.")],
    enrol_seconds: Annotated[
        int, typer.Option(min=1, help="From now until the columns are fixed.")
    ] = ENROL_DAYS * DAY_SECONDS,
    days: Annotated[int, typer.Option(min=1, help="From now until the key ends.")] = LIFE_DAYS,
    releases: Annotated[
        int, typer.Option(min=2, max=10_000, help="Sums that may be decrypted under it.")
    ] = RELEASES,
    step_seconds: Annotated[
        int, typer.Option(min=STEP_SECONDS_LEAST, help="What every step may take.")
    ] = STEP_SECONDS,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Propose a data key as a member; the members vote, and make it together."""
    request = DataKeyRequest(
        read_columns(columns),
        year,
        enrol_seconds=enrol_seconds,
        seconds=days * DAY_SECONDS,
        releases_max=releases,
        step_seconds=step_seconds,
    )

    async def work(hospital: Hospital) -> ProposedDataKey:
        return await propose_data_key(hospital, request)

    proposed = context.by_member(alliance, member, work)
    data_key = proposed.data_key.hex()
    Output(as_json).result(
        {"data_key": data_key, "height": proposed.act.height},
        f"data key {data_key} is proposed in block {proposed.act.height}.",
        "Members vote with: cipherward study key approve KEY --member MEMBER",
    )


@app.command()
def approve(
    key: KeyId,
    member: As,
    columns: Annotated[
        Path | None, typer.Option(help="The text, for the own service if it has not got it.")
    ] = None,
    reject: Reject = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Vote on a data key as a member."""
    text = None if columns is None else read_columns(columns)

    async def work(hospital: Hospital) -> ProvenAct:
        if text is not None:
            await hand_over_columns(hospital.alliance, (hospital.member,), text)
        return await data_keys.vote_data_key(hospital, context.parse_id(key), not reject)

    act = context.by_member(alliance, member, work)
    Output(as_json).vote("data key", key, member, not reject, act.height)


@app.command()
def retire(
    key: KeyId, member: As, alliance: AllianceDir = DEFAULT_FOLDER, as_json: Json = False
) -> None:
    """Vote as a member that holds a data key to end it; its columns are deleted with it."""
    _end(alliance, member, key, data_keys.vote_to_retire, as_json)


@app.command()
def withdraw(
    key: KeyId, member: As, alliance: AllianceDir = DEFAULT_FOLDER, as_json: Json = False
) -> None:
    """End a data key as one of its members, before it is ready."""
    _end(alliance, member, key, data_keys.withdraw_data_key, as_json)


@app.command()
def show(
    key: KeyId, member: As, alliance: AllianceDir = DEFAULT_FOLDER, as_json: Json = False
) -> None:
    """Show a data key as a member, and who holds it."""
    data_key = context.parse_id(key)

    async def work(hospital: Hospital) -> DataKey:
        return await show_data_key(hospital, data_key)

    found = context.by_member(alliance, member, work)
    Output(as_json).result(document_of(found), *lines_of(found))


def enrol(
    key: KeyId,
    member: Annotated[str, typer.Option(help="The hospital that has the values.")],
    wallet: WalletFile,
    back: Annotated[bool, typer.Option("--back", help="Take it back.")] = False,
    alliance: AllianceDir = DEFAULT_FOLDER,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Let a hospital store one's values encrypted under a data key, or take that back."""
    data_key, act = context.parse_id(key), leave if back else enrol_at
    taken = context.by_holder(
        alliance,
        wallet,
        passphrase_file,
        lambda me: act(me.alliance, me.wallet, data_key, member),
    )
    said = "has taken the enrolment back" if back else "stores your values under the data key"
    lines = [f"{member} {said}."]
    if not back and not taken.linked:
        lines.append("It does not know yet which rows are yours: show it this pseudonym.")
        lines.append(f"  {taken.care_pseudonym.hex()}")
    Output(as_json).result(
        {
            "data_key": key,
            "member": member,
            "enrolled": not back,
            "care_pseudonym": taken.care_pseudonym.hex(),
            "linked": taken.linked,
            "registered": taken.registered,
        },
        *lines,
    )


def document_of(found: DataKey) -> dict[str, Any]:
    """Return a data key as plain JSON values."""
    held = found.holders
    changed: dict[str, Any] = {
        "data_key": found.data_key.hex(),
        "key_digest": found.key_digest.hex(),
        "members": list(found.members),
        "holders": list(held.members),
        "threshold": held.threshold,
        "sharing": held.sharing.hex(),
        "meaning": list(meaning("", found.failure)),
    }
    return {**asdict(found), **changed}


def lines_of(found: DataKey) -> list[str]:
    """Return what a person reads of a data key."""
    key, digest, held = found.data_key.hex(), found.key_digest.hex(), found.holders
    failed = f" ({found.failure})" if found.failure else ""
    lines = [
        f"data key {key} of {found.data_set}, {found.year}: {found.state}{failed}.",
        f"  columns of {', '.join(found.members)}; at least {found.minimum} patients in every "
        "result.",
        f"  held by {', '.join(held.members)}: {held.threshold} of them decrypt.",
    ]
    if held.sharing:
        lines.append(f"  handed over to them by resharing {held.sharing.hex()}.")
    lines.append(f"  enrolment until {clock(found.enrol_until)}, key until {clock(found.expires)}.")
    lines += [f"  {line}" for line in meaning("", found.failure)]
    if digest:  # what a researcher writes who computes with its columns
        lines += [
            "In the document of a study:",
            f"  data_key: {{id: {key}, key_digest: {digest}, releases_max: {found.releases_max}}}",
            f"  members: [{', '.join(held.members)}]",
        ]
    return lines


def _end(
    alliance: Path,
    member: str,
    key: str,
    end: Callable[[Hospital, bytes], Awaitable[ProvenAct]],
    as_json: bool,
) -> None:
    data_key = context.parse_id(key)
    act = context.by_member(alliance, member, lambda hospital: end(hospital, data_key))
    Output(as_json).result(
        {"data_key": key, "member": member, "height": act.height},
        f"{member} said so in block {act.height}.",
    )
