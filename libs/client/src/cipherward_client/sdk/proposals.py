"""What a member proposes to the others and they vote on: contracts about the alliance itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.canonical import Value, encode
from cipherward_client.sdk.contract_acts import begin, vote_on
from cipherward_client.sdk.contract_reads import read_contract
from cipherward_client.sdk.errors import explaining
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct, Submitter
from cipherward_client.sdk.questions import Asker

VERSION = 1  # of the shipped templates
DAY_SECONDS = 86_400
VOTE_SECONDS = 7 * DAY_SECONDS  # how long members have to vote: people decide


@dataclass(frozen=True, slots=True)
class ProposedChange:
    """A change of the alliance on the chain that waits for the members' votes."""

    change_id: bytes
    act: ProvenAct


@dataclass(frozen=True, slots=True)
class CountedVote:
    """A vote on the chain; `decided` says that it was the one that decided."""

    act: ProvenAct
    decided: bool


async def propose(
    hospital: Hospital,
    template: str,
    terms: Mapping[str, Value],
    *,
    version: int = VERSION,
    change_id: bytes | None = None,
) -> ProposedChange:
    """Begin a contract that the members vote on, for VOTE_SECONDS unless its terms say else.

    Args:
        change_id: where it follows from what is proposed; else it is drawn.

    Raises:
        ActRefused: the terms are out of bounds.
    """
    with explaining():
        written = encode({"vote_seconds": VOTE_SECONDS, **terms})
        begun = await begin(
            hospital.alliance, hospital.signer, template, version, written, change_id
        )
        return ProposedChange(*begun)


async def vote(
    hospital: Hospital, change_id: bytes, transition: str, approve: bool = True
) -> CountedVote:
    """Say the member's yes or no.

    Args:
        transition: the template's step that is voted on.

    Raises:
        ActRefused: it is decided already, or the member has no say in it.
    """
    with explaining():
        act = await vote_on(hospital, change_id, transition, approve)
        return CountedVote(act, act.result.order_count > 0)


async def own_contract(hospital: Hospital, instance_id: bytes) -> pb.Contract:
    """Return a contract as the member's own contract service has it.

    Raises:
        ClientError: there is none.
    """
    with explaining():
        return await read_contract(Asker.member(hospital), instance_id)


async def act_as(hospital: Hospital, act: chain_pb.Act) -> ProvenAct:
    """Carry out an act as the member.

    Raises:
        ActRefused, ClientError: see `Submitter.submit`.
    """
    return await Submitter(hospital.alliance).submit([act], hospital.signer)
