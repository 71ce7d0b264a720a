"""Who belongs to the alliance: members are proposed, voted in or out, and join by themselves."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.acts import ID_BYTES
from cipherward_chain.admission import Admission
from cipherward_chain.canonical import Value, decode_map, encode
from cipherward_client.sdk.errors import CheckFailed, explaining
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct, Submitter
from cipherward_client.sdk.ledger_calls import BEHIND_SECONDS
from cipherward_client.sdk.proven_orders import block_at
from cipherward_client.sdk.questions import Asker, ask
from cipherward_client.sdk.registration import Registration
from cipherward_client.sdk.retries import Patience, patiently
from cipherward_kit.errors import reason_of

MEMBERSHIP, REMOVAL, MACHINE_UPGRADE = "membership", "removal", "machine-upgrade"
VERSION = 1
VOTES = {MEMBERSHIP: "admit", REMOVAL: "remove", MACHINE_UPGRADE: "upgrade"}  # by template
JOIN, ADMITTED = "join", "admitted"  # the newcomer's step, and the state that it is taken in
DAY_SECONDS = 86_400
# How long members have to vote, and a newcomer to fetch the chain: people decide both.
VOTE_SECONDS = JOIN_SECONDS = 7 * DAY_SECONDS
REGISTRY_SECONDS = 30.0
GET_CONTRACT = "/cipherward.contract.v1.ContractService/GetContract"


@dataclass(frozen=True, slots=True)
class ProposedChange:
    """A change of the alliance on the chain that waits for the members' votes."""

    change_id: bytes
    act: ProvenAct


class NotAChange(CheckFailed):
    """The contract of that id is about something else than the alliance itself."""

    reason = "INSTANCE_UNKNOWN"


@dataclass(frozen=True, slots=True)
class Change:
    """A proposed change: MEMBERSHIP, REMOVAL or MACHINE_UPGRADE, its state, and whom it names."""

    kind: str
    state: str
    member: str


@dataclass(frozen=True, slots=True)
class CountedVote:
    """A vote on the chain; `decided` says that it was the one that decided."""

    act: ProvenAct
    decided: bool


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
        ActRefused: the registration is out of form, or one of its names or keys is taken.
    """
    return await _propose(hospital, MEMBERSHIP, registration.terms(JOIN_SECONDS))


async def propose_removal(hospital: Hospital, member: str) -> ProposedChange:
    """Ask the members to remove one of them, for ever.

    Raises:
        ActRefused: there is no such member, or nobody would be left.
    """
    return await _propose(hospital, REMOVAL, {"member": member})


async def propose_upgrade(hospital: Hospital, version: int, height: int) -> ProposedChange:
    """Ask the members to execute blocks by another version of the rules from a height on.

    Args:
        version: the one after the present one.
        height: far enough ahead for every member to install the release that carries it.

    Raises:
        ActRefused: it is not the next version, or the height is too near.
    """
    return await _propose(hospital, MACHINE_UPGRADE, {"version": version, "height": height})


async def _propose(hospital: Hospital, template: str, terms: Mapping[str, Value]) -> ProposedChange:
    with explaining():
        change_id = secrets.token_bytes(ID_BYTES)
        start = chain_pb.Instantiate(
            template=template,
            version=VERSION,
            instance_id=change_id,
            terms=encode({**terms, "vote_seconds": VOTE_SECONDS}),
        )
        act = await _submit(hospital, chain_pb.Act(instantiate=start))
        return ProposedChange(change_id, act)


async def vote_on_change(
    hospital: Hospital, kind: str, change_id: bytes, approve: bool = True
) -> CountedVote:
    """Say the member's yes or no to a proposed change.

    Args:
        kind: MEMBERSHIP, REMOVAL or MACHINE_UPGRADE.

    Raises:
        ActRefused: it is decided already, or the member has no say in it.
    """
    with explaining():
        said = chain_pb.Vote(instance_id=change_id, transition=VOTES[kind], approve=approve)
        act = await _submit(hospital, chain_pb.Act(vote=said))
        return CountedVote(act, act.result.order_count > 0)


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
        step = chain_pb.Transition(instance_id=change_id, transition=JOIN, arguments=encode({}))
        return await _submit(hospital, chain_pb.Act(transition=step))


async def read_change(hospital: Hospital, change_id: bytes) -> Change:
    """Return a proposed change as it stands, as the member's own contract service says.

    Raises:
        ClientError: there is no such change.
    """
    with explaining():
        found = await _contract(hospital, change_id)
        contract = found.contract
        if contract.template not in VOTES:
            raise NotAChange(contract.template)
        terms = decode_map(contract.terms)
        member = terms.get("member")
        return Change(contract.template, contract.state, member if isinstance(member, str) else "")


async def _contract(hospital: Hospital, change_id: bytes) -> pb.GetContractResponse:
    """Ask the member's own contract service, which may be a block behind whoever proposed."""
    contract, behind = hospital.alliance.contract, Patience(BEHIND_SECONDS)
    while True:
        try:
            return await ask(
                Asker.member(hospital),
                GET_CONTRACT,
                change_id,
                lambda read, left: contract.GetContract(
                    pb.GetContractRequest(read=read), timeout=left
                ),
            )
        except aio.AioRpcError as error:
            if reason_of(error) != "INSTANCE_UNKNOWN":
                raise
            await behind.pause(error)


async def _submit(hospital: Hospital, act: chain_pb.Act) -> ProvenAct:
    return await Submitter(hospital.alliance).submit([act], hospital.signer)
