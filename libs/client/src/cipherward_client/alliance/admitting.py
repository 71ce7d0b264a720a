"""What a member does so that others come in or one leaves, and what it has left to do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.group_keys import PURPOSES
from cipherward_client.alliance.founding import require_fit, require_unused
from cipherward_client.alliance.joining import learn_addresses
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.membership import store_admission
from cipherward_client.alliance.places import Services, read_places, write_places
from cipherward_client.sdk.admissions import find_admission
from cipherward_client.sdk.connection import admission_file
from cipherward_client.sdk.errors import ActRefused, explaining
from cipherward_client.sdk.found_changes import FoundChange
from cipherward_client.sdk.group_keys import newest_group_key
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.membership import (
    ADMITTED,
    MEMBERSHIP,
    REMOVAL,
    Registry,
    find_newcomer,
    find_removal,
    propose_member,
    propose_removal,
    read_registry,
    vote_on_change,
)
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.registration import Registration
from cipherward_kit.datafolder import write_atomically

PROPOSED: Final = "proposed"
DECIDED: Final = frozenset((ADMITTED, "joined"))
EXISTS: Final = "INSTANCE_EXISTS"  # another member has proposed the same a moment before
STATUS_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Pending:
    """A change that waits for votes: `kind` is membership or removal, of `member`."""

    kind: str
    member: str
    change: FoundChange


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the alliance stands, as one member sees it.

    pending: what is voted on and known here. to_do: what this member has left to do, a sentence
    each. learned: members whose addresses, or whose leaving, was news here.
    """

    height: int
    engine: str
    catching_up: bool
    registry: Registry
    pending: Sequence[Pending]
    to_do: Sequence[str]
    learned: Sequence[str]


async def admit(
    folder: AllianceFolder, hospital: Hospital, registration: Registration
) -> FoundChange:
    """Propose a newcomer unless somebody has, and vote yes unless this member has voted; keep the
    proof and the addresses once it is decided. Done again, it does what is left.

    Raises:
        MemberTaken, KeyTaken: the id or a key is or was another member's.
        EngineUnfit: it was made for another kind of chain.
        ActRefused, ClientError: the chain refuses it, or does not answer.
    """
    asker, member = Asker.member(hospital), registration.member.id
    found = await find_newcomer(asker, registration)
    if found.state not in DECIDED:
        genesis = hospital.alliance.genesis
        with explaining():
            require_fit(registration, genesis.engine)
            require_unused(registration, hospital.alliance.members.values(), genesis.issuers)
        await asyncio.to_thread(_remember, folder, registration)
        if not found.state:
            found = await _proposed(hospital, registration)
        if hospital.member not in found.votes:
            await vote_on_change(hospital, MEMBERSHIP, found.change_id)
            found = await find_newcomer(asker, registration)
    if found.state in DECIDED:
        await _keep_proof(folder, hospital, member, found)
        known = {member: registration.endpoints}
        await learn_addresses(folder, hospital.alliance.genesis, known)
    return found


async def leave(hospital: Hospital) -> FoundChange:
    """Propose that this member itself is removed, unless somebody has; only the others vote on it.

    Raises:
        ActRefused: nobody would be left, or the chain does not answer.
    """
    asker = Asker.member(hospital)
    found = await find_removal(asker, hospital.member)
    if not found.state:
        try:
            await propose_removal(hospital, hospital.member)
        except ActRefused as error:
            if error.reason != EXISTS:
                raise
        found = await find_removal(asker, hospital.member)
    return found


async def standing(folder: AllianceFolder, hospital: Hospital) -> Standing:
    """Return where the alliance stands; proofs and addresses of newcomers are fetched, addresses of
    those who left are dropped.

    Raises:
        ClientError: the member's own contract or ledger does not answer.
    """
    alliance = hospital.alliance
    registry = await read_registry(hospital)
    with explaining():
        status = await alliance.ledger.GetStatus(pb.GetStatusRequest(), timeout=STATUS_SECONDS)
    received = await asyncio.to_thread(_received, folder)
    pending = await _pending(hospital, registry, received)
    known: dict[str, Services] = {}
    for registration in received:
        found = await find_newcomer(Asker.member(hospital), registration)
        if found.state in DECIDED:
            await _keep_proof(folder, hospital, registration.member.id, found)
            known[registration.member.id] = registration.endpoints
    present = {one.member for one in registry.members}
    learned = [
        *await learn_addresses(folder, alliance.genesis, known, present),
        *await asyncio.to_thread(_drop_gone, folder, alliance.chain_id, registry),
    ]
    places = await asyncio.to_thread(read_places, folder)
    to_do = [
        *_votes_due(hospital.member, pending),
        *_seat_due(hospital.member, registry),
        *(
            f"find out where {one.member} is reached: get its registration, or ask again"
            for one in registry.members
            if one.member not in places
        ),
        *await _keys_due(hospital, registry),
    ]
    return Standing(
        status.height, status.engine, status.catching_up, registry, pending, to_do, learned
    )


async def _proposed(hospital: Hospital, registration: Registration) -> FoundChange:
    try:
        await propose_member(hospital, registration)
    except ActRefused as error:
        if error.reason != EXISTS:
            raise
    return await find_newcomer(Asker.member(hospital), registration)


async def _keep_proof(
    folder: AllianceFolder, hospital: Hospital, member: str, found: FoundChange
) -> None:
    """Write the proof of an admission, from the blocks of its contract, unless it is there."""
    alliance = hospital.alliance
    if member in alliance.genesis.members or admission_file(folder.endpoints_file, member).exists():
        return
    first = found.changed_height if found.state == ADMITTED else found.created_height
    admission = await find_admission(hospital, member, first, found.changed_height)
    await store_admission(folder, alliance.trust_root, member, admission)


def _remember(folder: AllianceFolder, registration: Registration) -> None:
    file = folder.received_registration(registration.member.id)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    write_atomically(file, registration.to_bytes(), 0o644)


def _received(folder: AllianceFolder) -> list[Registration]:
    files = sorted(folder.received_registration("x").parent.glob("*.json"))
    return [Registration.from_bytes(file.read_bytes()) for file in files]


def _drop_gone(folder: AllianceFolder, chain_id: str, registry: Registry) -> tuple[str, ...]:
    """Drop the addresses of members that are no more; return who they were."""
    present = {one.member for one in registry.members}
    places: Mapping[str, Services] = read_places(folder)
    gone = tuple(member for member in places if member not in present)
    if gone:
        left = {member: services for member, services in places.items() if member in present}
        write_places(folder, chain_id, left)
    return gone


async def _pending(
    hospital: Hospital, registry: Registry, received: Sequence[Registration]
) -> list[Pending]:
    asker, found = Asker.member(hospital), list[Pending]()
    for registration in received:
        change = await find_newcomer(asker, registration)
        found.append(Pending(MEMBERSHIP, registration.member.id, change))
    for one in registry.members:
        change = await find_removal(asker, one.member)
        found.append(Pending(REMOVAL, one.member, change))
    return [one for one in found if one.change.state == PROPOSED]


def _votes_due(member: str, pending: Sequence[Pending]) -> list[str]:
    return [
        f"vote on the {one.kind} of {one.member}, if it is right: "
        f"cipherward member vote {one.change.change_id.hex()} --member {member}"
        for one in pending
        if member not in one.change.votes and not (one.kind == REMOVAL and one.member == member)
    ]


def _seat_due(member: str, registry: Registry) -> list[str]:
    own = next((one for one in registry.members if one.member == member), None)
    if own is None or own.voting_power or not own.consensus_public_key:
        return []
    return [f"take the seat in consensus: cipherward alliance join --member {member}"]


async def _keys_due(hospital: Hospital, registry: Registry) -> list[str]:
    """Say which shared keys are missing, or shared among others than the members of now."""
    present = sorted(one.member for one in registry.members)
    found: list[str] = []
    for purpose in PURPOSES:
        with explaining():
            entry = await newest_group_key(hospital.alliance, purpose)
        if entry is None:
            found.append(f"make the {purpose} key: cipherward key propose {purpose}")
        elif list(entry.guardians) != present:
            renew = f"cipherward key propose {purpose} --renew {entry.key_epoch}"
            found.append(f"share the {purpose} key among the members of now: {renew}")
    return found
