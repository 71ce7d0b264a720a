"""Who acts: an authorization, judged against the state.

Checked before (by the ledger, at admission, without the state): the body names this authorizer; the
signature is by the key that the authorization carries, or the presentation is valid under the
issuer key, header, disclosed attributes, scope and pseudonym that it carries; a new key's proof of
possession; an owner's countersignature.
Checked here: whose key it is, and whether it still counts. No signature is verified here again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.canonical import decode
from cipherward_chain.fields import Fields
from cipherward_contract.blocks import Block
from cipherward_contract.credentials import (
    CredentialMalformed,
    Header,
    parse_attribute,
    parse_header,
)
from cipherward_contract.entries import ISSUER, KEY, Registration
from cipherward_contract.refusals import Reason, Refused

PATIENT, STAFF = "patient", "staff"
PATIENT_SCOPE = re.compile(r"(record|study):[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts.

    key: the Ed25519 key that acts; empty for a one-time presentation.
    member: the member itself, or the issuer of the pseudonym's credential.
    pseudonym, scope, schema, role: what a pseudonym's credential showed; empty for a member.
    lapsed: why the key's credential counts no more, if it does not: only rights may be given up.
    presented: the authorization is a presentation.
    """

    kind: Literal["member", "pseudonym"]
    key: bytes
    member: str
    pseudonym: bytes = b""
    scope: str = ""
    schema: str = ""
    role: str = ""
    lapsed: Reason | None = None
    presented: bool = False


def actor_of(block: Block, authorization: pb.Authorization) -> Actor:
    """Return who an authorization stands for, or refuse."""
    kind = authorization.WhichOneof("kind")
    if kind == "member":
        return member_actor(block, authorization.member.member_id, authorization.member.public_key)
    if kind == "pseudonym":
        return registered_actor(block, authorization.pseudonym.public_key)
    return _presented_actor(block, authorization.presentation)


def member_actor(block: Block, member: str, public_key: bytes) -> Actor:
    """Return the member whose key that is in the registry, or refuse."""
    found = block.rules.registry.get(member)
    if found is None or found.member.public_key != public_key:
        raise Refused(Reason.MEMBER_UNKNOWN, "the registry has no such member with that key")
    return Actor("member", public_key, member)


def registered_actor(block: Block, public_key: bytes) -> Actor:
    """Return the pseudonym that registered the key, or refuse."""
    raw = block.state.get(KEY + public_key)
    if raw is None:
        raise Refused(Reason.KEY_NOT_REGISTERED, "no pseudonym has registered that key")
    found = Registration.from_bytes(raw)
    return Actor(
        "pseudonym",
        public_key,
        found.issuer,
        found.pseudonym,
        found.scope,
        found.schema,
        found.role,
        lapsed=_lapsed(block, found),
    )


def _lapsed(block: Block, found: Registration) -> Reason | None:
    """Say why a registered key's credential counts no more: its epoch, or its issuer, is over."""
    if found.epoch != block.epoch:
        return Reason.EPOCH_OVER
    return None if found.issuer in block.rules.registry else Reason.ISSUER_UNKNOWN


def _presented_actor(block: Block, presentation: pb.Presentation) -> Actor:
    raw = block.state.get(ISSUER + presentation.issuer_public_key)
    if raw is None:
        raise Refused(Reason.ISSUER_UNKNOWN, "the registry has no such issuer")
    issuer = Fields(decode(raw))
    member, schemas = issuer.text("member"), issuer.texts("schemas")
    try:
        header = parse_header(presentation.header)
        shown = dict(parse_attribute(attribute.value) for attribute in presentation.disclosed)
    except CredentialMalformed as error:
        raise Refused(Reason.PRESENTATION_REFUSED, str(error)) from error
    if header.issuer != member or header.schema not in schemas:
        raise Refused(Reason.PRESENTATION_REFUSED, "the issuer does not issue that")
    if header.epoch != block.epoch:
        raise Refused(Reason.EPOCH_OVER, "the credential is not of the current epoch")
    if len(shown) != len(presentation.disclosed):
        raise Refused(Reason.PRESENTATION_REFUSED, "an attribute is shown twice")
    _check_scope(header, presentation.scope)
    role = shown.get("role", "")
    if header.schema == STAFF and (not role or shown.get("member", member) != member):
        raise Refused(Reason.PRESENTATION_REFUSED, "staff show their role, and their own member")
    return Actor(
        "pseudonym",
        b"",
        member,
        presentation.pseudonym,
        presentation.scope,
        header.schema,
        role,
        presented=True,
    )


def _check_scope(header: Header, scope: str) -> None:
    """Patients are known inside one record or one study; staff inside one epoch's duty at their
    member.
    """
    if header.schema == PATIENT:
        in_order = PATIENT_SCOPE.fullmatch(scope) is not None
    else:
        in_order = header.schema == STAFF and scope == f"duty:{header.issuer}:{header.epoch}"
    if not in_order:
        raise Refused(Reason.SCOPE_REFUSED, "the credential may not be used in that scope")
