"""Proposals about members that everybody finds without being told their ids.

The id follows from what is proposed, so two members that propose the same propose one thing, and a
newcomer that made its registration finds the vote on it. A proposal that ended without a decision
leaves the next id free.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from grpc import aio

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.canonical import NotCanonical, Value, decode_map
from cipherward_chain.domains import proposed_change
from cipherward_client.sdk.contract_reads import GET_CONTRACT
from cipherward_client.sdk.errors import CheckFailed
from cipherward_client.sdk.questions import Asker, ask
from cipherward_kit.errors import reason_of

ATTEMPTS_MAX: Final = 256  # the attempt is one byte of what the id is made from
UNDECIDED_ENDS: Final = frozenset(("lapsed", "rejected"))


class ProposalsSpent(CheckFailed):
    """The same was proposed as often as it can be."""

    reason = "PROPOSALS_SPENT"


@dataclass(frozen=True, slots=True)
class FoundChange:
    """A proposal as a contract service has it.

    state: "" while nobody has proposed it. votes: yes or no by member. created_height,
    changed_height: the blocks that made it and that changed it last.
    """

    change_id: bytes
    state: str = ""
    votes: Mapping[str, bool] = field(default_factory=dict[str, bool])
    created_height: int = 0
    changed_height: int = 0


async def find_change(
    asker: Asker,
    template: str,
    subject: bytes,
    terms: Mapping[str, Value],
    *,
    ended: Collection[str] = UNDECIDED_ENDS,
) -> FoundChange:
    """Return the proposal about a subject that stands, was decided, or comes next.

    Args:
        template: `membership`, `removal` or `authority-change`.
        subject: a registration's or a set of authorities' digest, or the id of the member to
            remove.
        terms: those by which it is known: a contract that has that id and other terms is somebody's
            attempt to have something else voted for, and is passed over.
        ended: states in which it is no longer the one that is meant.

    Raises:
        AioRpcError: READ_REJECTED: the asker is no member. Or the service is away.
        ProposalsSpent: there is no next one.
    """
    for attempt in range(ATTEMPTS_MAX):
        change_id = proposed_change(asker.alliance.chain_id, template, subject, attempt)
        found = await _contract(asker, change_id)
        if found is None:
            return FoundChange(change_id)
        if found.state in ended or not _is_about(found, template, terms):
            continue
        heights = found.created_height, found.changed_height
        return FoundChange(change_id, found.state, _votes(found), *heights)
    raise ProposalsSpent(f"{ATTEMPTS_MAX} proposals have ended")


async def _contract(asker: Asker, change_id: bytes) -> pb.Contract | None:
    contract = asker.alliance.contract
    try:
        answer = await ask(
            asker,
            GET_CONTRACT,
            change_id,
            lambda read, left: contract.GetContract(pb.GetContractRequest(read=read), timeout=left),
        )
    except aio.AioRpcError as error:
        if reason_of(error) != "INSTANCE_UNKNOWN":
            raise
        return None
    return answer.contract


def _is_about(contract: pb.Contract, template: str, terms: Mapping[str, Value]) -> bool:
    found = _decoded(contract.terms)
    return contract.template == template and all(
        found.get(name) == value for name, value in terms.items()
    )


def _votes(contract: pb.Contract) -> Mapping[str, bool]:
    votes = _decoded(contract.variables).get("votes", {})
    items = votes.items() if isinstance(votes, Mapping) else ()
    return {member: said for member, said in items if isinstance(said, bool)}


def _decoded(raw: bytes) -> Mapping[str, Value]:
    try:
        return decode_map(raw)
    except NotCanonical:  # of a service that says nothing of use
        return {}
