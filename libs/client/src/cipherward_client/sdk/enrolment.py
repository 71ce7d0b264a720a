"""Enrolling for the encrypted columns of a data key, hospital by hospital.

On the chain stands a pseudonym of the data key's scope, which says nothing about who it is. To each
of its hospitals the patient shows it together with the pseudonym by which that hospital knows it;
the hospitals learn nothing of each other.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_chain.domains import read_context
from cipherward_chain.opt_outs import Choice, care_scope
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.credentials import register_pseudonym
from cipherward_client.sdk.errors import explaining
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.retries import patiently
from cipherward_client.sdk.signing import PresentationSigner
from cipherward_client.wallet.scopes import study_scope
from cipherward_client.wallet.wallet import Wallet

ENROL = "/cipherward.compute.v1.ComputeService/Enrol"
ENROL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a hospital has taken.

    Attributes:
        care_pseudonym: by which it knows the patient.
        linked: whether it knows which rows are the patient's: else it is to be shown the pseudonym.
        registered: whether it has seen the block that gives the patient a slot.
    """

    data_key: bytes
    member: str
    care_pseudonym: bytes
    linked: bool
    registered: bool


async def enrol(alliance: Alliance, wallet: Wallet, data_key: bytes, member: str) -> Enrolment:
    """Let a hospital store the patient's values encrypted under a data key; again is safe.

    Registers the wallet's pseudonym of the data key on the chain, if it is not there.

    Raises:
        ClientError: the wallet has no patient's credential, or the enrolment is closed.
    """
    with explaining():
        wallet.require_chain(alliance.chain_id, alliance.genesis.digest)
        await register_pseudonym(alliance, wallet, study_scope(data_key))
        return await _show(alliance, wallet, data_key, member, "in")


async def leave(alliance: Alliance, wallet: Wallet, data_key: bytes, member: str) -> Enrolment:
    """Take an enrolment at a hospital back; the chain learns nothing of it.

    Raises:
        ClientError: the wallet has no patient's credential, or the columns are fixed.
    """
    with explaining():
        wallet.require_chain(alliance.chain_id, alliance.genesis.digest)
        return await _show(alliance, wallet, data_key, member, "out")


async def _show(
    alliance: Alliance, wallet: Wallet, data_key: bytes, member: str, choice: Choice
) -> Enrolment:
    """Show two presentations of one body: each is good for this enrolment only."""
    scopes = care_scope(member), study_scope(data_key)
    credential = wallet.credential_for(scopes[1])
    care, study = [
        await asyncio.to_thread(PresentationSigner, credential, scope) for scope in scopes
    ]
    compute = alliance.compute_of(member)

    def request() -> pb.EnrolRequest:
        read = Asker(alliance, care).read(ENROL, data_key + choice.encode())
        other = study.authorize(read_context(read.body))
        return pb.EnrolRequest(
            care=read, study=chain_pb.AuthorizedRead(body=read.body, authorization=other)
        )

    answer = await patiently(lambda left: compute.Enrol(request(), timeout=left), ENROL_SECONDS)
    pseudonym = await asyncio.to_thread(credential.pseudonym, scopes[0].encode())
    return Enrolment(data_key, member, pseudonym, answer.linked, answer.registered)
