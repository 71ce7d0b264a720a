"""What a member does so that others come in or one leaves, and what it has left to do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_client.alliance.authority_changes import known_changes
from cipherward_client.alliance.founding import require_fit, require_unused
from cipherward_client.alliance.joining import learn_addresses
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.left_to_do import (
    Pending,
    data_keys_due,
    seat_due,
    shared_keys_due,
    votes_due,
)
from cipherward_client.alliance.membership import store_admission
from cipherward_client.alliance.parts import SOLO
from cipherward_client.alliance.places import Services, read_places, write_places
from cipherward_client.sdk.admissions import find_admission
from cipherward_client.sdk.connection import admission_file
from cipherward_client.sdk.errors import ActRefused, CheckFailed, explaining
from cipherward_client.sdk.found_changes import FoundChange
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.membership import (
    ADMITTED,
    AUTHORITY_CHANGE,
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


class NotBegun(CheckFailed):
    """The chain has made no block yet: nothing can be proposed, and nothing is proven."""

    reason = "CHAIN_NOT_BEGUN"


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
        ActRefused, ClientError: the chain refuses it, does not answer, or has not begun.
    """
    await _ledger_status(hospital)
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
    await _ledger_status(hospital)
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
    status = await _ledger_status(hospital)
    registry = await read_registry(hospital)
    received = await asyncio.to_thread(_received, folder)
    pending = await _pending(hospital, registry, received)
    changes = await known_changes(folder, hospital)
    pending += [Pending(AUTHORITY_CHANGE, one.member, one.change) for one in changes]
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
        *votes_due(hospital.member, pending),
        *seat_due(hospital.member, registry),
        *(
            f"find out where {one.member} is reached: get its registration, or ask again"
            for one in registry.members
            if one.member not in places
        ),
        *await shared_keys_due(hospital, registry),
        *await data_keys_due(hospital, registry),
    ]
    return Standing(
        status.height, status.engine, status.catching_up, registry, pending, to_do, learned
    )


async def _ledger_status(hospital: Hospital) -> pb.GetStatusResponse:
    """Return where the ledger stands, or raise `ClientError`: away, or before the first block."""
    with explaining():
        ledger = hospital.alliance.ledger
        status = await ledger.GetStatus(pb.GetStatusRequest(), timeout=STATUS_SECONDS)
        if status.engine != SOLO and not status.height:  # solo begins with what is proposed
            raise NotBegun(hospital.alliance.chain_id)
        return status


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
