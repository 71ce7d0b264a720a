"""Who invites, held against the chain where the genesis does not say it.

A member that joined later, or has changed its authority since, stands in the registry. Its ledger
proves the entry of now: from the genesis on, the validators of the newest headers are followed, and
their state has the entry, or has none any more.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.admission import Admission
from cipherward_chain.endpoints import Endpoint, Endpoints
from cipherward_chain.genesis import Genesis, Member
from cipherward_chain.registry_entry import entered_member, member_key
from cipherward_client.alliance.invitation import Invitation, authority_fingerprints
from cipherward_client.alliance.proofs import fetch_admission
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import CheckFailed
from cipherward_client.sdk.proven_state import prove


class InviterUnproven(CheckFailed):
    """Nothing proves that who invites is a member now."""

    reason = "INVITER_UNPROVEN"


class InviterRemoved(CheckFailed):
    """Who invites was a member, or never was one; the registry of now does not have it."""

    reason = "INVITER_REMOVED"


@dataclass(frozen=True, slots=True)
class Inviter:
    """Who invites: the certificates of its authority (PEM), and what proves that it joined later;
    None of whom the genesis names.
    """

    ca_certificate: str
    admission: Admission | None = None


async def find_inviter(
    invitation: Invitation, genesis: Genesis, leaf: bytes, told: pb.GetGenesisResponse
) -> Inviter:
    """Return who invites, by the genesis or else by the registry of now.

    Args:
        leaf: the certificate (PEM) that its ledger shows: only its key is spoken to.
        told: what that ledger answers about the genesis and that member.

    Raises:
        InviterUnproven: its ledger shows no proof, or no proof of its admission.
        InviterRemoved: it is no member now.
        StateUnproven, StateTooOld: the proof does not lead to a certified and recent header.
        AioRpcError: the ledger does not answer.
    """
    founder = genesis.members.get(invitation.member)
    proves = told.HasField("entry")
    if founder is not None and (is_named(invitation, founder.ca_certificate) or not proves):
        return Inviter(founder.ca_certificate)
    if not proves:
        raise InviterUnproven(f"its ledger does not prove that {invitation.member} is a member")
    async with _pinned(invitation, genesis, leaf) as alliance:
        member = await _entered(alliance, invitation.member, told.entry)
        if founder is not None:
            return Inviter(member.ca_certificate)
        admission = await fetch_admission(alliance, invitation.member)
    if admission is None:
        raise InviterUnproven(f"no proof that {invitation.member} was admitted")
    return Inviter(member.ca_certificate, admission)


def is_named(invitation: Invitation, ca_certificate: str) -> bool:
    """Say whether an invitation names one of these authorities (PEM)."""
    try:
        return invitation.authority in authority_fingerprints(ca_certificate)
    except ValueError:  # the chain checks only the form of what a newcomer is admitted with
        return False


@asynccontextmanager
async def _pinned(
    invitation: Invitation, genesis: Genesis, leaf: bytes
) -> AsyncGenerator[Alliance]:
    """Yield a connection to the inviter's ledger alone, to whoever holds that certificate's key."""
    member = invitation.member
    place = Endpoint(invitation.address, invitation.address)
    endpoints = Endpoints(genesis.chain_id, member, {member: {"ledger": place}})
    # Whose authority issued it is judged by what is asked here: until then it vouches for itself.
    asked = Member(member, member, 0, b"", b"", leaf.decode())
    async with AsyncExitStack() as stack:
        yield Alliance(genesis, endpoints, None, member, stack, {member: asked})


async def _entered(alliance: Alliance, member: str, entry: pb.RegistryEntry) -> Member:
    """Return what the registry has of a member, proven."""
    key = member_key(member)
    state = contract_pb.ProvenState(
        height=entry.height, app_hash=entry.app_hash, proofs=[entry.proof]
    )
    raw = (await prove(alliance, state, [key])).values[key]
    if raw is None:
        raise InviterRemoved(f"the registry of block {entry.height} has no {member}")
    return entered_member(member, raw)
