"""A newcomer's way in, in steps that may lie days apart: each goes on where the last one stopped.

An invitation is accepted, the members vote, and the newcomer takes its seat. Nothing that the
newcomer keeps secret leaves its folder, and nothing is written before it was held against the
invitation's fingerprints.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import grpc
from grpc import aio

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.admission import Admission, Admitted
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.genesis import Genesis
from cipherward_client.alliance.create import establish, readdress
from cipherward_client.alliance.fetching import (
    Fetched,
    OtherGenesis,
    fetch_alliance,
    fetch_places,
)
from cipherward_client.alliance.founding import MemberTaken, require_fit, require_unused
from cipherward_client.alliance.invitation import Invitation
from cipherward_client.alliance.layout import MEMBER_KEY, AllianceFolder
from cipherward_client.alliance.membership import Told, store_admission, take_seat
from cipherward_client.alliance.parts import SOLO
from cipherward_client.alliance.places import (
    Services,
    is_chosen,
    read_places,
    services_at,
    write_places,
)
from cipherward_client.alliance.proofs import fetch_admission
from cipherward_client.sdk.admissions import admission_at
from cipherward_client.sdk.connection import Alliance, admission_file
from cipherward_client.sdk.errors import CheckFailed, ClientError, explaining
from cipherward_client.sdk.hospital import open_hospital
from cipherward_client.sdk.membership import ADMITTED, find_newcomer
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.registration import Registration
from cipherward_kit.datafolder import write_atomically

# What a newcomer is waiting for, or has become.
WAITS: Final = "waiting for the members' votes"
STOPPED: Final = "admitted; its services do not run"
FOUNDER: Final = "a founder"
JOINED: Final = "joined"

NOT_A_MEMBER: Final = "READ_REJECTED"  # what is answered to whoever is not in the registry
OWN_LEDGER_SECONDS: Final = 5.0  # it runs here, or it does not


class AdmissionOfAnother(CheckFailed):
    """The alliance admitted somebody of that id with other keys."""

    reason = "ADMISSION_OF_ANOTHER"


class NotRegistered(CheckFailed):
    """The folder has no registration of that member."""

    reason = "REGISTRATION_MISSING"


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Who joins: its id, what people call it, and where its services are (see `services_at`)."""

    member: str
    name: str
    host: str
    port_base: int | None


def read_registration(folder: AllianceFolder, member: str) -> Registration:
    """Return what the alliance is told of a member whose keys lie in the folder.

    Raises:
        NotRegistered: none was made here.
        RegistrationMalformed: it is damaged.
    """
    try:
        return Registration.from_bytes(folder.member(member).registration_file.read_bytes())
    except FileNotFoundError:
        raise NotRegistered(member) from None


async def accept(
    folder: AllianceFolder, invitation: Invitation, newcomer: Newcomer, now: float
) -> Registration:
    """Fetch the alliance that an invitation names, make the newcomer's keys unless it has them,
    and write genesis and addresses; return the registration that a member proposes.

    Args:
        now: Unix seconds.

    Raises:
        InvitationExpired: the time is over.
        InviterAway, OtherGenesis, OtherAuthority, InviterUnproven, InviterRemoved, StateUnproven,
            StateTooOld: see `fetch_alliance`; or the folder has another genesis already.
        MemberTaken, KeyTaken: another member has that id or one of those keys.
        EngineUnfit: the keys were made for members of another kind of chain.
        KeysExist: see `establish`.
    """
    invitation.require_current(now)
    fetched = await fetch_alliance(invitation)
    await asyncio.to_thread(_require_same_genesis, folder, fetched.document)
    registration = await asyncio.to_thread(_registered, folder, fetched.genesis, newcomer)
    if fetched.admission is not None:
        root = fetched.genesis.trust_root()
        await store_admission(folder, root, invitation.member, fetched.admission)
    await asyncio.to_thread(_keep, folder, invitation, fetched, registration)
    return registration


async def go_on(folder: AllianceFolder, member: str, told: Told) -> str:
    """Do what a newcomer can do by now: get the proof of its admission and everybody's addresses,
    and take its seat once its services run; return one of WAITS, STOPPED, FOUNDER and JOINED.

    Raises:
        NotRegistered: it has accepted no invitation in this folder.
        AdmissionOfAnother: somebody else was admitted under its id.
        ClientError: the members' ledgers cannot be asked.
        MemberNotReady: see `take_seat`.
    """
    registration = await asyncio.to_thread(read_registration, folder, member)
    genesis = Genesis.parse(await asyncio.to_thread(folder.genesis_file.read_bytes))
    if member in genesis.members:
        return FOUNDER
    if not admission_file(folder.endpoints_file, member).exists():
        admission = await _admission(folder, registration)
        if admission is None:
            return WAITS
        admitted = await asyncio.to_thread(admission.verify, genesis.trust_root(), member)
        _require_own(admitted, registration)
        await store_admission(folder, genesis.trust_root(), member, admission)
        told(f"the members have admitted {member}")
    await learn_addresses(folder, genesis, {member: registration.endpoints})
    if genesis.engine != SOLO and not await _runs(folder, member):
        return STOPPED
    await take_seat(folder, member, told)
    return JOINED


async def learn_addresses(
    folder: AllianceFolder,
    genesis: Genesis,
    known: dict[str, Services],
    present: Collection[str] | None = None,
) -> tuple[str, ...]:
    """Add to alliance.json the members that a ledger knows, or that are `known`, and whose
    admission is proven; return those that are new there.

    Args:
        present: the members of now, where they are known: others may list some that left.

    Raises:
        ClientError: no ledger answers.
    """
    places = await asyncio.to_thread(read_places, folder)
    with explaining():
        async with Alliance.open(folder.endpoints_file, folder.genesis_file) as alliance:
            found = {**await fetch_places(alliance), **known}
            new = [member for member in found if member not in places and found[member]]
            new = [member for member in new if present is None or member in present]
            for member in list(new):
                file = admission_file(folder.endpoints_file, member)
                if member in genesis.members or file.exists():
                    continue
                admission = await fetch_admission(alliance, member)
                if admission is None:
                    new.remove(member)
                else:
                    await store_admission(folder, alliance.trust_root, member, admission)
    if new:
        merged = {**places, **{member: found[member] for member in new}}
        await asyncio.to_thread(write_places, folder, genesis.chain_id, merged)
    return tuple(new)


def _require_same_genesis(folder: AllianceFolder, document: bytes) -> None:
    if folder.genesis_file.exists() and folder.genesis_file.read_bytes() != document:
        raise OtherGenesis(f"{folder.genesis_file} is another one")


def _registered(folder: AllianceFolder, genesis: Genesis, newcomer: Newcomer) -> Registration:
    """Return the newcomer's registration, made now unless it has one, and fit for this genesis."""
    member, networked = newcomer.member, genesis.engine != SOLO
    listed = genesis.members.get(member)
    if listed is not None:
        try:
            registration = read_registration(folder, member)
        except NotRegistered:
            raise MemberTaken(member) from None
        if listed.public_key != registration.member.public_key:
            raise MemberTaken(member)
        return registration
    services = services_at(
        member, newcomer.host, newcomer.port_base, chain=networked, node=networked
    )
    registration = establish(
        folder, member, newcomer.name, services, consensus=networked, node=networked
    )
    require_fit(registration, genesis.engine)
    require_unused(registration, genesis.members.values(), genesis.issuers)
    if is_chosen(newcomer.host, newcomer.port_base):
        registration = readdress(folder, registration, services)
    return registration


def _keep(
    folder: AllianceFolder, invitation: Invitation, fetched: Fetched, own: Registration
) -> None:
    """Write addresses, invitation and last the genesis: a folder that has it is complete."""
    members = set(fetched.genesis.members)
    if fetched.admission is not None:  # else the genesis names the inviter
        members.add(invitation.member)
    known = {**fetched.places, **read_places(folder)}
    places = {member: services for member, services in known.items() if member in members}
    if own.member.id in members and own.endpoints:
        places[own.member.id] = own.endpoints
    write_places(folder, fetched.genesis.chain_id, places)
    write_atomically(folder.invitation_file, invitation.to_text().encode(), 0o644)
    write_atomically(folder.genesis_file, fetched.document, 0o644)


async def _admission(folder: AllianceFolder, registration: Registration) -> Admission | None:
    """Return the proof of the newcomer's admission, not yet verified; None while there is none."""
    member = registration.member.id
    seed = await asyncio.to_thread(folder.member(member).key(MEMBER_KEY).read_bytes)
    async with Alliance.open(folder.endpoints_file, folder.genesis_file) as alliance:
        try:
            asker = Asker(alliance, MemberSigner(member, seed))
            found = await find_newcomer(asker, registration)
        except ClientError as error:
            if error.reason != NOT_A_MEMBER:
                raise
            return None
        if found.state == ADMITTED:
            return await admission_at(alliance, found.changed_height)
        return await fetch_admission(alliance, member)


def _require_own(admitted: Admitted, registration: Registration) -> None:
    if Registration(admitted.member, admitted.issuer).digest != registration.digest:
        raise AdmissionOfAnother(f"{admitted.member.id} was admitted with other keys")


async def _runs(folder: AllianceFolder, member: str) -> bool:
    """Say whether the member's own ledger answers."""
    if "ledger" not in (await asyncio.to_thread(read_places, folder)).get(member, {}):
        return False
    async with open_hospital(folder, member) as hospital:
        try:
            await hospital.alliance.ledger.GetStatus(
                pb.GetStatusRequest(), timeout=OWN_LEDGER_SECONDS
            )
        except aio.AioRpcError as error:
            if error.code() not in (
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.DEADLINE_EXCEEDED,
            ):
                raise
            return False
    return True
