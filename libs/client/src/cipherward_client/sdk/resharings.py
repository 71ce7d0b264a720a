"""Resharings: a data key goes over to other members, and its columns stay as they are.

Whoever holds the key proposes one and votes; the holders deal the key anew, and the new holders try
what they got. Until it is handed over, and if it fails, the key stays with those who hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.canonical import NotCanonical, decode_map, encode
from cipherward_chain.fields import Fields
from cipherward_client.sdk.column_studies import threshold_of
from cipherward_client.sdk.contract_acts import begin, take, vote_on
from cipherward_client.sdk.contract_reads import failure_of, read_contract
from cipherward_client.sdk.data_keys import STEP_SECONDS, DataKey, show_data_key
from cipherward_client.sdk.errors import CheckFailed, explaining
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct
from cipherward_client.sdk.membership import read_registry
from cipherward_client.sdk.questions import Asker

TEMPLATE, VERSION = "key-resharing", 1


class ResharingUnreadable(CheckFailed):
    """What a contract service answers for a resharing is none."""

    reason = "RESHARING_UNREADABLE"


class HoldersTooFew(CheckFailed):
    """Fewer members than decrypt are left of those that hold the key: nobody can deal it anew."""

    reason = "HOLDERS_TOO_FEW"


@dataclass(frozen=True, slots=True)
class ResharingRequest:
    """To whom a data key is to go.

    members: who will hold it, old holders among them or not; empty means all of the alliance.
    approvals: how many of today's holders must vote yes; 0 means as many as decrypt today.
    """

    data_key: bytes
    members: tuple[str, ...] = ()
    step_seconds: int = STEP_SECONDS
    approvals: int = 0

    def terms(self, key: DataKey, registry: Sequence[str]) -> bytes:
        """Return the canonical terms; `registry` are the alliance's members of now.

        Raises:
            HoldersTooFew: too many of the key's holders have left the alliance.
        """
        holders = [member for member in key.holders.members if member in registry]
        if len(holders) < key.holders.threshold:
            raise HoldersTooFew(
                f"{len(holders)} of the key's holders are in the alliance, "
                f"and {key.holders.threshold} have to deal"
            )
        members = sorted(self.members or registry)
        return encode(
            {
                "source": key.data_key,
                "data_set": key.data_set,
                "minimum": key.minimum,
                "key_releases_max": key.releases_max,
                "key_digest": key.key_digest,
                "holders": holders,
                "old_threshold": key.holders.threshold,
                "approvals": self.approvals or key.holders.threshold,
                "members": members,
                "threshold": threshold_of(len(members)),
                "step_seconds": self.step_seconds,
            }
        )


@dataclass(frozen=True, slots=True)
class ProposedResharing:
    """A resharing on the chain that waits for the holders' votes."""

    resharing: bytes
    act: ProvenAct


@dataclass(frozen=True, slots=True)
class Resharing:
    """A resharing as a contract service says that it stands.

    holders: who held the key and was in the alliance when it was proposed. members: who is to hold
    it, or does. failure: why it has failed, as a word; empty if it has not.
    """

    resharing: bytes
    state: str
    data_key: bytes
    holders: tuple[str, ...]
    members: tuple[str, ...]
    threshold: int
    failure: str = ""


async def propose_resharing(hospital: Hospital, request: ResharingRequest) -> ProposedResharing:
    """Propose as one of its holders that a data key goes over to other members.

    Raises:
        ActRefused: the member is none of its holders, or the terms are out of bounds.
        ClientError: the key is not ready, or too few of its holders are left.
    """
    with explaining():
        alliance = hospital.alliance
        key = await show_data_key(hospital, request.data_key)
        key.require_ready()
        registry = [one.member for one in (await read_registry(hospital)).members]
        terms = request.terms(key, registry)
        resharing, act = await begin(alliance, hospital.signer, TEMPLATE, VERSION, terms)
        return ProposedResharing(resharing, act)


async def vote_resharing(hospital: Hospital, resharing: bytes, approve: bool = True) -> ProvenAct:
    """Say a holder's yes or no to a proposed resharing.

    Raises:
        ActRefused: it is decided already, or the member holds nothing of the key.
    """
    with explaining():
        return await vote_on(hospital, resharing, "approve", approve)


async def withdraw_resharing(hospital: Hospital, resharing: bytes) -> ProvenAct:
    """End a resharing as one of its old or new holders, before the key is handed over.

    Raises:
        ActRefused: it is handed over or has ended, or the member has no part in it.
    """
    with explaining():
        return await take(hospital.alliance, hospital.signer, resharing, "withdraw")


async def show_resharing(hospital: Hospital, resharing: bytes) -> Resharing:
    """Return a resharing to a member.

    Raises:
        ClientError: there is none, or it is not this one's to see.
    """
    with explaining():
        return resharing_of(await read_contract(Asker.member(hospital), resharing))


def resharing_of(contract: pb.Contract) -> Resharing:
    """Return the resharing that a contract is.

    Raises:
        ResharingUnreadable: it is another contract, or out of form.
    """
    if contract.template != TEMPLATE:
        raise ResharingUnreadable(f"the contract is a {contract.template}, and no resharing")
    try:
        fields = Fields(decode_map(contract.terms))
        return Resharing(
            contract.instance_id,
            contract.state,
            data_key=fields.octets("source"),
            holders=fields.texts("holders"),
            members=fields.texts("members"),
            threshold=fields.integer("threshold"),
            failure=failure_of(contract),
        )
    except NotCanonical as error:
        raise ResharingUnreadable(f"the resharing is out of form: {error}") from error
