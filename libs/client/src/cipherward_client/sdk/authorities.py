"""Which authorities a member has: it proposes another set, and the members vote."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.authorities import AuthoritiesProof
from cipherward_chain.canonical import Value, encode
from cipherward_chain.registry_entry import entered_member, member_key
from cipherward_client.sdk.errors import explaining
from cipherward_client.sdk.found_changes import UNDECIDED_ENDS, FoundChange, find_change
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.membership import AUTHORITY_CHANGE
from cipherward_client.sdk.proposals import ProposedChange, propose
from cipherward_client.sdk.proven_orders import block_at, orders_proof
from cipherward_client.sdk.proven_state import prove
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.retries import patiently

STATE_SECONDS = 15.0
CHANGED = "changed"  # the state of a proposal that was voted


async def registered_authorities(hospital: Hospital) -> Mapping[str, str]:
    """Return the authorities (PEM) of the members that this connection knows, proven; those that
    left are not there.

    Raises:
        ClientError: the contract service does not answer, or what it says is not to be believed.
    """
    alliance = hospital.alliance
    keys = {member: member_key(member) for member in alliance.members}
    request = pb.ReadStateRequest(keys=list(keys.values()))
    with explaining():
        found = await patiently(
            lambda left: alliance.contract.ReadState(request, timeout=left), STATE_SECONDS
        )
        state = pb.ProvenState(height=found.height, app_hash=found.app_hash, proofs=found.proofs)
        values = (await prove(alliance, state, request.keys)).values
        return {
            member: entered_member(member, raw).ca_certificate
            for member, key in keys.items()
            if (raw := values[key]) is not None
        }


async def propose_authorities(hospital: Hospital, authorities: str, present: str) -> ProposedChange:
    """Ask the members to let the certificates of these authorities, and no others, be one's own.

    Args:
        authorities: 1 to 4 certificates, PEM; one of the present set is among them.
        present: the set as the registry has it.

    Raises:
        ActRefused: it is out of form, or somebody has proposed it already (INSTANCE_EXISTS).
    """
    found = await find_authority_change(
        Asker.member(hospital), hospital.member, authorities, present
    )
    terms = _terms(hospital.member, authorities)
    return await propose(hospital, AUTHORITY_CHANGE, terms, change_id=found.change_id)


async def find_authority_change(
    asker: Asker, member: str, authorities: str, present: str
) -> FoundChange:
    """Return the proposal that a member has these authorities, as it stands.

    Args:
        present: the set that the registry has. One that was voted and changed again since may be
            proposed anew.

    Raises:
        ClientError: the asker is no member, or nobody answers.
    """
    terms = _terms(member, authorities)
    subject = hashlib.sha256(encode(dict(terms))).digest()
    ended = UNDECIDED_ENDS if authorities == present else UNDECIDED_ENDS | {CHANGED}
    with explaining():
        return await find_change(asker, AUTHORITY_CHANGE, subject, terms, ended=ended)


async def authorities_proof(hospital: Hospital, found: FoundChange) -> AuthoritiesProof:
    """Return the proof of a change that was voted; nothing of it is verified.

    Raises:
        ClientError: no ledger has the block.
    """
    with explaining():
        block = await block_at(hospital.alliance, found.changed_height)
        return await orders_proof(hospital.alliance, block, AuthoritiesProof)


def _terms(member: str, authorities: str) -> dict[str, Value]:
    return {"member": member, "authorities": authorities}
