"""What anybody does with a contract: begin one, take a transition of it, vote on one."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.acts import ID_BYTES
from cipherward_chain.authorization import Signer
from cipherward_chain.canonical import Value, encode
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct, Submitter


async def begin(
    alliance: Alliance,
    signer: Signer,
    template: str,
    version: int,
    terms: bytes,
    instance_id: bytes | None = None,
) -> tuple[bytes, ProvenAct]:
    """Begin a contract of a template, and return its id (16 bytes) and the act.

    Args:
        terms: canonical.
        instance_id: where it follows from what the contract is about; else it is drawn.

    Raises:
        ActRefused, ClientError: see `Submitter.submit`.
    """
    instance_id = instance_id or secrets.token_bytes(ID_BYTES)
    start = chain_pb.Instantiate(
        template=template, version=version, instance_id=instance_id, terms=terms
    )
    act = await Submitter(alliance).submit([chain_pb.Act(instantiate=start)], signer)
    return instance_id, act


async def take(
    alliance: Alliance,
    signer: Signer,
    instance_id: bytes,
    transition: str,
    arguments: Mapping[str, Value] | None = None,
) -> ProvenAct:
    """Take a transition of a contract.

    Raises:
        ActRefused, ClientError: see `Submitter.submit`.
    """
    step = chain_pb.Transition(
        instance_id=instance_id, transition=transition, arguments=encode(arguments or {})
    )
    return await Submitter(alliance).submit([chain_pb.Act(transition=step)], signer)


async def vote_on(
    hospital: Hospital, instance_id: bytes, transition: str, approve: bool
) -> ProvenAct:
    """Say a member's yes or no to a transition of a contract.

    Raises:
        ActRefused, ClientError: see `Submitter.submit`.
    """
    said = chain_pb.Vote(instance_id=instance_id, transition=transition, approve=approve)
    return await Submitter(hospital.alliance).submit([chain_pb.Act(vote=said)], hospital.signer)
