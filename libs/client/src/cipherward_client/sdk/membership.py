"""Who belongs to the alliance: members are proposed, voted in or out, and join by themselves."""

from __future__ import annotations

from dataclasses import dataclass, field

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.admission import Admission
from cipherward_chain.canonical import decode_map
from cipherward_client.sdk.contract_acts import take
from cipherward_client.sdk.errors import CheckFailed, explaining
from cipherward_client.sdk.found_changes import FoundChange, find_change
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct
from cipherward_client.sdk.proposals import (
    DAY_SECONDS,
    VOTE_SECONDS,
    CountedVote,
    ProposedChange,
    own_contract,
    propose,
    vote,
)
from cipherward_client.sdk.proven_orders import block_at
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.registration import Registration
from cipherward_client.sdk.retries import patiently

MEMBERSHIP, REMOVAL, MACHINE_UPGRADE = "membership", "removal", "machine-upgrade"
AUTHORITY_CHANGE = "authority-change"
SUSPENSION, REINSTATE = "suspension", "reinstate"  # the template, and the vote on a return
VOTES = {
    MEMBERSHIP: "admit",
    REMOVAL: "remove",
    SUSPENSION: "suspend",
    MACHINE_UPGRADE: "upgrade",
    AUTHORITY_CHANGE: "change",
}  # by template
SUSPEND_SECONDS = 30 * DAY_SECONDS  # unless somebody says else; the others may end it before
JOIN, ADMITTED = "join", "admitted"  # the newcomer's step, and the state that it is taken in
JOIN_SECONDS = VOTE_SECONDS  # a newcomer fetches the chain and is seated in that time
REGISTRY_SECONDS = 30.0


class NotAChange(CheckFailed):
    """The contract of that id is about something else than the alliance itself."""

    reason = "INSTANCE_UNKNOWN"


@dataclass(frozen=True, slots=True)
class Change:
    """A proposed change: one of VOTES, its state, and whom it names."""

    kind: str
    state: str
    member: str


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """A member as the registry has it; a power of 0 means that it does not vote in consensus."""

    member: str
    name: str
    index: int
    node_id: bytes
    consensus_public_key: bytes = field(repr=False)
    voting_power: int


@dataclass(frozen=True, slots=True)
class Registry:
    """The members of now, by number, at a height."""

    height: int
    members: tuple[RegistryEntry, ...]


async def read_registry(hospital: Hospital) -> Registry:
    """Return who belongs to the alliance now, as the member's own contract service says.

    Raises:
        ClientError: it does not answer.
    """
    with explaining():
        found = await patiently(
            lambda left: hospital.alliance.contract.GetRegistry(
                pb.GetRegistryRequest(), timeout=left
            ),
            REGISTRY_SECONDS,
        )
        return Registry(
            found.height,
            tuple(
                RegistryEntry(
                    one.member_id,
                    one.name,
                    one.index,
                    one.node_id,
                    one.consensus_public_key,
                    one.voting_power,
                )
                for one in found.members
            ),
        )


async def propose_member(hospital: Hospital, registration: Registration) -> ProposedChange:
    """Ask the members to let a newcomer in.

    Raises:
        ActRefused: the registration is out of form, one of its names or keys is taken, or somebody
            has proposed it already (INSTANCE_EXISTS).
    """
    found = await find_newcomer(Asker.member(hospital), registration)
    terms = registration.terms(JOIN_SECONDS)
    return await propose(hospital, MEMBERSHIP, terms, change_id=found.change_id)


async def propose_removal(hospital: Hospital, member: str) -> ProposedChange:
    """Ask the members to remove one of them, for ever.

    Raises:
        ActRefused: there is no such member, nobody would be left, or somebody has proposed it
            already (INSTANCE_EXISTS).
    """
    found = await find_removal(Asker.member(hospital), member)
    return await propose(hospital, REMOVAL, {"member": member}, change_id=found.change_id)


async def find_newcomer(asker: Asker, registration: Registration) -> FoundChange:
    """Return the proposal to admit who made a registration, as it stands.

    Raises:
        ClientError: READ_REJECTED: the asker is no member. Or nobody answers.
    """
    with explaining():
        fields = dict(registration.fields())
        return await find_change(asker, MEMBERSHIP, registration.digest, fields)


async def find_removal(asker: Asker, member: str) -> FoundChange:
    """Return the proposal to remove a member, as it stands.

    Raises:
        ClientError: the asker is no member, or nobody answers.
    """
    with explaining():
        return await find_change(asker, REMOVAL, member.encode(), {"member": member})


async def propose_suspension(
    hospital: Hospital, member: str, seconds: int = SUSPEND_SECONDS
) -> ProposedChange:
    """Ask the members to suspend one of them for a time.

    Args:
        seconds: a minute to a year, from the vote that decides it.

    Raises:
        ActRefused: there is no such member.
    """
    return await propose(hospital, SUSPENSION, {"member": member, "suspend_seconds": seconds})


async def vote_on_return(hospital: Hospital, change_id: bytes, approve: bool = True) -> CountedVote:
    """Say the member's yes or no to the return of a suspended one, before its time is over.

    Args:
        change_id: the suspension's.

    Raises:
        ActRefused: the member is not suspended by it, or this is that member.
    """
    return await vote(hospital, change_id, REINSTATE, approve)


async def propose_upgrade(hospital: Hospital, version: int, height: int) -> ProposedChange:
    """Ask the members to execute blocks by another version of the rules from a height on.

    Args:
        version: the one after the present one.
        height: far enough ahead for every member to install the release that carries it.

    Raises:
        ActRefused: it is not the next version, or the height is too near.
    """
    return await propose(hospital, MACHINE_UPGRADE, {"version": version, "height": height})


async def vote_on_change(
    hospital: Hospital, kind: str, change_id: bytes, approve: bool = True
) -> CountedVote:
    """Say the member's yes or no to a proposed change.

    Args:
        kind: one of VOTES; for a SUSPENSION's end see `vote_on_return`.

    Raises:
        ActRefused: it is decided already, or the member has no say in it.
    """
    return await vote(hospital, change_id, VOTES[kind], approve)


async def admission_of(hospital: Hospital, decided: ProvenAct) -> Admission:
    """Return the proof that the vote which decided it admitted a member.

    Raises:
        ClientError: no ledger has the block.
    """
    with explaining():
        block = await block_at(hospital.alliance, decided.height)
        return Admission.of(decided.receipt, block)


async def join(hospital: Hospital, change_id: bytes) -> ProvenAct:
    """Take one's own seat: from two blocks later on the member's node votes in consensus.

    Args:
        hospital: the newcomer itself, whose node has caught up with the chain.

    Raises:
        ActRefused: it was not admitted, or has its seat.
    """
    with explaining():
        return await take(hospital.alliance, hospital.signer, change_id, JOIN)


async def read_change(hospital: Hospital, change_id: bytes) -> Change:
    """Return a proposed change as it stands, as the member's own contract service says.

    Raises:
        ClientError: there is no such change.
    """
    with explaining():
        contract = await own_contract(hospital, change_id)
        if contract.template not in VOTES:
            raise NotAChange(contract.template)
        terms = decode_map(contract.terms)
        member = terms.get("member")
        return Change(contract.template, contract.state, member if isinstance(member, str) else "")
