"""Templates of contracts: proposed by a member, voted by all, allowed for a record by its owner."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

import yaml

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.acts import ID_BYTES
from cipherward_chain.canonical import NotCanonical, encode
from cipherward_client.sdk.certified import StateUnproven
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.credentials import owners_signer
from cipherward_client.sdk.errors import CheckFailed, explaining
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct, Submitter
from cipherward_client.sdk.proposals import (
    VOTE_SECONDS,
    CountedVote,
    ProposedChange,
    act_as,
    vote,
)
from cipherward_client.sdk.proven_state import prove
from cipherward_client.sdk.retries import patiently
from cipherward_client.wallet.wallet import Wallet

ADOPTION, ADOPT = "template-adoption", "adopt"  # the vote's own template, and what is voted on
TEMPLATE_SECONDS = 15.0
SOURCE_BYTES_MAX = 262_144  # as the analysis takes it


class SourceMalformed(CheckFailed):
    """A template's source is no YAML, or holds what a document cannot."""

    reason = "TEMPLATE_MALFORMED"


@dataclass(frozen=True, slots=True)
class ActiveTemplate:
    """A template as the chain proves it; `document` is canonical, `digest` its SHA-256."""

    name: str
    version: int
    document: bytes
    height: int

    @property
    def digest(self) -> bytes:
        """What members compare before they vote."""
        return hashlib.sha256(self.document).digest()


def document_of(source: str) -> bytes:
    """Return the canonical document of a template's YAML source.

    Raises:
        SourceMalformed: it is no YAML, or holds a float, a null or the like.
    """
    if len(source.encode()) > SOURCE_BYTES_MAX:
        raise SourceMalformed(f"a template's source has at most {SOURCE_BYTES_MAX} bytes")
    try:
        return encode(yaml.safe_load(source))
    except (yaml.YAMLError, NotCanonical, TypeError) as error:
        raise SourceMalformed(str(error)) from error


async def propose_template(
    hospital: Hospital, document: bytes, *, vote_seconds: int = VOTE_SECONDS
) -> ProposedChange:
    """Put a template before the members, who vote on it.

    Args:
        document: canonical, as `document_of` makes it.

    Raises:
        ActRefused: the analysis finds faults in it, or its version is taken.
    """
    with explaining():
        change_id = secrets.token_bytes(ID_BYTES)
        proposal = chain_pb.ProposeTemplate(
            document=document, instance_id=change_id, vote_seconds=vote_seconds
        )
        act = await act_as(hospital, chain_pb.Act(propose_template=proposal))
        return ProposedChange(change_id, act)


async def vote_on_template(
    hospital: Hospital, change_id: bytes, approve: bool = True
) -> CountedVote:
    """Say the member's yes or no to a proposed template.

    Raises:
        ActRefused: it is decided already.
    """
    return await vote(hospital, change_id, ADOPT, approve)


async def get_template(alliance: Alliance, name: str, version: int = 0) -> ActiveTemplate:
    """Return an active template, proven.

    Args:
        version: 0 the newest that is active.

    Raises:
        ClientError: there is none, or what was answered is not proven.
    """
    with explaining():
        request = pb.GetTemplateRequest(name=name, version=version)
        answer = await patiently(
            lambda left: alliance.contract.GetTemplate(request, timeout=left), TEMPLATE_SECONDS
        )
        if version not in (0, answer.version):
            raise StateUnproven("the template is of another version than was asked for")
        key = f"template/{name}/{answer.version}".encode()
        entries = await prove(alliance, answer.proven, [key])
        document = entries.values[key]
        if document is None:
            raise StateUnproven("the state has no such template")
        return ActiveTemplate(name, answer.version, document, entries.height)


async def allow_template(
    alliance: Alliance, wallet: Wallet, record_id: bytes, template: str
) -> ProvenAct:
    """Let one more template release a record of this wallet.

    Args:
        template: `name/version` of an active one.

    Raises:
        ActRefused: it is not active.
        ClientError: the record is not this wallet's.
    """
    with explaining():
        signer = await owners_signer(alliance, wallet, record_id)
        act = chain_pb.AllowTemplate(record_id=record_id, template=template)
        return await Submitter(alliance).submit([chain_pb.Act(allow_template=act)], signer)


async def upgrade_instance(
    alliance: Alliance, wallet: Wallet, grant_id: bytes, version: int
) -> ProvenAct:
    """Move a consent of this wallet to another version of its template.

    Raises:
        ActRefused: the version is not active, not allowed for the record, or does not fit.
        ClientError: the wallet has not given the consent.
    """
    with explaining():
        signer = await owners_signer(alliance, wallet, wallet.grant(grant_id).record_id)
        act = chain_pb.UpgradeInstance(instance_id=grant_id, version=version)
        return await Submitter(alliance).submit([chain_pb.Act(upgrade_instance=act)], signer)
