"""`cipherward alliance`: how members found an alliance, join it and leave it, each on its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from cipherward_chain.acts import MEMBER_ID
from cipherward_client.alliance.create import (
    begin_chain,
    establish,
    readdress,
    shipped_templates,
)
from cipherward_client.alliance.founding import ChainPlan
from cipherward_client.alliance.invitation import TEXT_BYTES_MAX, Invitation
from cipherward_client.alliance.inviting import invite
from cipherward_client.alliance.joining import (
    FOUNDER,
    JOINED,
    STOPPED,
    WAITS,
    Newcomer,
    accept,
    go_on,
    read_registration,
)
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.parts import COMETBFT, SOLO
from cipherward_client.alliance.places import SERVICE, is_chosen, services_at
from cipherward_client.alliance.ports import HOST
from cipherward_client.alliance.spoken import FINGERPRINT_BYTES, spoken
from cipherward_client.cli import alliance_authorities, context
from cipherward_client.cli.alliance_manifests import print_manifests
from cipherward_client.cli.alliance_start import start
from cipherward_client.cli.alliance_votes import (
    admit_newcomer,
    leave_alliance,
    read_at_most,
    read_registration_file,
    status,
)
from cipherward_client.cli.faults import (
    ChainBegun,
    FolderOfAnother,
    InvitationMissing,
    MemberIdMalformed,
)
from cipherward_client.cli.files import refuse_existing
from cipherward_client.cli.options import DEFAULT_FOLDER, AllianceDir, As, Json
from cipherward_client.cli.output import Output
from cipherward_client.cli.parts import Engine
from cipherward_client.sdk.errors import explaining
from cipherward_client.sdk.registration import Registration
from cipherward_kit.datafolder import write_atomically

INVITATION_DAYS = 14  # a meeting of those who sign, and some days
PORT_BASE = 7000  # the chart's, for a host that is not this machine

app = typer.Typer(no_args_is_help=True, help="Found an alliance, join one, leave it.")
app.add_typer(alliance_authorities.app, name="authority")

MemberId = Annotated[str, typer.Argument(metavar="ID", help="The member's id, for ever.")]
Name = Annotated[str, typer.Option(help="What people call it; its id if not given.")]
Host = Annotated[
    str,
    typer.Option(
        help="Where others reach its services: a host, or a pattern with {service} in it for one "
        "host a service, as in Kubernetes."
    ),
]
PortBase = Annotated[
    int | None,
    typer.Option(min=1, max=65535, help="First of the ports on a host of its own: 7000."),
]
Out = Annotated[Path | None, typer.Option(help="Write it here.")]


@app.command("init")
def init(
    member: MemberId,
    chain: Annotated[str, typer.Option(help="Begin a chain of that name.")] = "",
    others: Annotated[
        list[Path] | None, typer.Option("--with", help="Registration of another founder.")
    ] = None,
    name: Name = "",
    host: Host = HOST,
    port_base: PortBase = None,
    engine: Engine = None,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Make a member's keys where they stay, and its registration, which holds no secret.

    One founder gathers the others' registrations and begins the chain with --chain and --with.
    Done again, it keeps the keys that are there.
    """
    _require_id(member)
    folder, kind = AllianceFolder(alliance), engine or COMETBFT
    if folder.genesis_file.exists():
        raise ChainBegun(str(folder.genesis_file))
    _require_own(folder, member)
    founders = [read_registration_file(file) for file in others or ()]
    node = kind != SOLO
    consensus = node or bool(chain)  # under solo the one that begins it runs the chain for all
    services = services_at(member, host, _port_base(host, port_base), chain=consensus, node=node)
    with explaining():
        own = establish(folder, member, name or member, services, consensus=consensus, node=node)
        if is_chosen(host, port_base):
            own = readdress(folder, own, services)
        file = folder.member(member).registration_file
        if not chain:
            _tell_registration(own, file, as_json)
            return
        registrations = list({one.digest: one for one in (own, *founders)}.values())
        genesis = begin_chain(folder, ChainPlan(chain, kind, shipped_templates()), registrations)
    Output(as_json).result(
        {
            "member": member,
            "chain_id": genesis.chain_id,
            "genesis": genesis.digest.hex(),
            "members": list(genesis.members),
            "registration": str(file),
        },
        f"The chain {genesis.chain_id} of {', '.join(genesis.members)} begins with "
        f"{folder.genesis_file}.",
        f"Its fingerprint is {spoken(genesis.digest[:FINGERPRINT_BYTES])}.",
        "Start the services, then invite the others, founders too: "
        f"cipherward alliance invite --member {member}",
        "In Kubernetes: cipherward alliance manifests. On this machine, for trying out: "
        f"cipherward alliance start --member {member}",
    )


@app.command("invite")
def invite_newcomer(
    member: As,
    days: Annotated[int, typer.Option(min=1, max=365, help="How long it holds.")] = INVITATION_DAYS,
    address: Annotated[
        str, typer.Option(help="host:port where newcomers reach the ledger's port for holders.")
    ] = "",
    out: Out = None,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Write an invitation: an address and fingerprints, no secret. Read it back by telephone."""
    refuse_existing(out)
    folder = context.alliance_folder(alliance)
    context.require_member(folder, member)
    with explaining():
        made = invite(folder, member, address, time.time(), days)
    text = made.to_text()
    if out is not None:
        write_atomically(out, text.encode(), 0o644)
    if made.address.startswith(f"{HOST}:") and not as_json:
        typer.echo(f"{HOST} is this machine alone: others need --address HOST:PORT.", err=True)
    Output(as_json).result(
        {
            "invitation": text,
            "chain_id": made.chain_id,
            "member": made.member,
            "address": made.address,
            "until": made.until,
        },
        text.rstrip("\n"),
    )


@app.command("join")
def join(
    member: Annotated[str, typer.Option("--member", help="The newcomer's id, for ever.")],
    invitation: Annotated[
        Path | None, typer.Argument(help="The invitation's file; the first time only.")
    ] = None,
    name: Name = "",
    host: Host = HOST,
    port_base: PortBase = None,
    alliance: AllianceDir = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Accept an invitation, and go on from there each time it is called, until one is a member.

    Without an invitation it goes on from the one that was accepted in the folder.
    """
    _require_id(member)
    output, folder = Output(as_json), AllianceFolder(alliance)
    _require_own(folder, member)
    if invitation is not None:
        newcomer = Newcomer(member, name or member, host, _port_base(host, port_base))
        with explaining():
            read = Invitation.parse(
                read_at_most(invitation, TEXT_BYTES_MAX).decode(errors="replace")
            )
            context.run(accept(folder, read, newcomer, time.time()))
    elif not folder.genesis_file.exists():
        raise InvitationMissing(str(folder.root))
    with explaining():
        registration = read_registration(folder, member)
        state = context.run(go_on(folder, member, output.say))
    file = folder.member(member).registration_file
    output.result(
        {
            "member": member,
            "state": state,
            "registration": str(file),
            "fingerprint": registration.digest.hex(),
        },
        *_next_steps(state, member, file, registration),
    )


app.command("start")(start)
app.command("admit")(admit_newcomer)
app.command("status")(status)
app.command("leave")(leave_alliance)
app.command("manifests")(print_manifests)


def _next_steps(state: str, member: str, file: Path, registration: Registration) -> tuple[str, ...]:
    again = f"cipherward alliance join --member {member}"
    fingerprint = spoken(registration.digest[:FINGERPRINT_BYTES])
    return {
        FOUNDER: (f"{member} is a founder and has all files: start its services.",),
        WAITS: (
            f"Send {file} to the members; it holds no secret: cipherward alliance admit FILE",
            f"Tell them its fingerprint by telephone: {fingerprint}",
            f"When they have voted: {again}",
        ),
        STOPPED: (f"{member} is admitted: start its services, then again: {again}",),
        JOINED: (
            f"{member} is a member. What is left to do, for it and for the others: "
            f"cipherward alliance status --member {member}",
        ),
    }[state]


def _tell_registration(own: Registration, file: Path, as_json: bool) -> None:
    Output(as_json).result(
        {
            "member": own.member.id,
            "registration": str(file),
            "fingerprint": own.digest.hex(),
        },
        f"The keys of {own.member.id} are made. {file} holds no secret: "
        "send it to the founder that gathers registrations.",
        f"Tell its fingerprint by telephone: {spoken(own.digest[:FINGERPRINT_BYTES])}",
        "That founder begins the chain and invites you; then: "
        f"cipherward alliance join INVITATION --member {own.member.id}",
    )


def _require_own(folder: AllianceFolder, member: str) -> None:
    """Raise `FolderOfAnother` where only somebody else has made keys."""
    here = [file.parent.name for file in folder.root.glob("*/registration.json")]
    if here and member not in here:
        raise FolderOfAnother(", ".join(sorted(here)))


def _require_id(member: str) -> None:
    if MEMBER_ID.fullmatch(member) is None:
        raise MemberIdMalformed(member)


def _port_base(host: str, given: int | None) -> int | None:
    """Return the first port: free ones on this machine, the chart's elsewhere, unless given."""
    return PORT_BASE if given is None and host != HOST and SERVICE not in host else given
