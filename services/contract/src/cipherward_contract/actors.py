"""Who acts: an authorization, judged against the state.

Checked before (by the ledger, at admission, without the state): the body names this authorizer; the
signature is by the key that the authorization carries, or the presentation is valid under the
issuer key, header, disclosed attributes, scope and pseudonym that it carries; a new key's proof of
possession; an owner's countersignature.
Checked here: whose key it is, and whether it still counts. No signature is verified here again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.canonical import decode
from cipherward_chain.credentials import (
    CredentialMalformed,
    Header,
    parse_attribute,
    parse_header,
)
from cipherward_chain.fields import Fields
from cipherward_chain.group_keys import OPENING
from cipherward_contract.blocks import Block
from cipherward_contract.ceremonies.shared_keys import newest_shared_key
from cipherward_contract.entries import ISSUER, KEY, Registration
from cipherward_contract.marks import suspended_key, suspended_until
from cipherward_contract.refusals import Reason, Refused

PATIENT, STAFF = "patient", "staff"
PATIENT_SCOPE = re.compile(r"(record|study):[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts.

    key: the Ed25519 key that acts; empty for a one-time presentation.
    member: the member itself, or the issuer of the pseudonym's credential.
    pseudonym, scope, schema, role: what a pseudonym's credential showed; empty for a member.
    opening, opening_epoch: a presentation's identity key, encrypted to the members' opening key of
        that epoch; empty, and 0, for patients and while the members have no such key.
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
    opening: bytes = b""
    opening_epoch: int = 0


def lapsed_refusal(reason: Reason) -> Refused:
    """Return the refusal of a key that may only give up rights, by why it may do no more."""
    return Refused(reason, _LAPSED[reason])


_LAPSED: Mapping[Reason, str] = {
    Reason.EPOCH_OVER: "the key's credential is not of the current epoch",
    Reason.ISSUER_UNKNOWN: "the issuer of the key's credential is no member any more",
    Reason.PSEUDONYM_SUSPENDED: "the pseudonym is suspended",
    Reason.MEMBER_SUSPENDED: "the member is suspended",
}


def actor_of(block: Block, authorization: pb.Authorization) -> Actor:
    """Return who an authorization stands for, or refuse."""
    kind = authorization.WhichOneof("kind")
    if kind == "member":
        signed = authorization.member
        actor = member_actor(block, signed.member_id, signed.public_key)
        require_active(block, actor)
        return actor
    if kind == "pseudonym":
        return registered_actor(block, authorization.pseudonym.public_key)
    return _presented_actor(block, authorization.presentation)


def require_active(block: Block, actor: Actor) -> None:
    """Refuse a member that is suspended."""
    if actor.kind == "member" and actor.member not in block.rules.active:
        raise lapsed_refusal(Reason.MEMBER_SUSPENDED)


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
    """Say why a registered key's credential counts no more: its epoch, or its issuer, is over, or
    the pseudonym, or the member that it is staff of, is suspended. Patients keep their rights.
    """
    if found.epoch != block.epoch or found.epoch <= block.rules.raised.get(found.issuer, 0):
        return Reason.EPOCH_OVER
    if found.issuer not in block.rules.registry:
        return Reason.ISSUER_UNKNOWN
    if found.schema != STAFF:
        return None
    if found.issuer not in block.rules.active:
        return Reason.MEMBER_SUSPENDED
    suspended = _is_suspended(block, found.scope, found.pseudonym)
    return Reason.PSEUDONYM_SUSPENDED if suspended else None


def _is_suspended(block: Block, scope: str, pseudonym: bytes) -> bool:
    raw = block.state.get(suspended_key(scope, pseudonym))
    return raw is not None and block.now < suspended_until(raw)


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
    if header.epoch != block.epoch or header.epoch <= block.rules.raised.get(member, 0):
        raise Refused(Reason.EPOCH_OVER, "the credential is not of the current epoch")
    if len(shown) != len(presentation.disclosed):
        raise Refused(Reason.PRESENTATION_REFUSED, "an attribute is shown twice")
    _check_scope(header, presentation.scope)
    role = shown.get("role", "")
    if header.schema == STAFF and member not in block.rules.active:
        raise lapsed_refusal(Reason.MEMBER_SUSPENDED)
    if header.schema == STAFF and _is_suspended(block, presentation.scope, presentation.pseudonym):
        raise lapsed_refusal(Reason.PSEUDONYM_SUSPENDED)
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
        opening=presentation.opening,
        opening_epoch=_opening_epoch(block, header.schema, presentation),
    )


def _opening_epoch(block: Block, schema: str, presentation: pb.Presentation) -> int:
    """Return the epoch of the key that a presentation can be opened with; 0 if by nobody.

    That the ciphertext holds the holder's own identity key is part of the presentation's proof.

    Raises:
        Refused: staff can be opened as soon as the members have a key for it, and patients never.
    """
    given = presentation.opening_key  # with it comes a ciphertext: their form was checked
    if schema != STAFF:
        if given:
            raise Refused(Reason.PRESENTATION_REFUSED, "a patient is opened by nobody")
        return 0
    shared = newest_shared_key(block.state, OPENING)
    if given != (b"" if shared is None else shared.public_key):
        raise Refused(Reason.OPENING_REQUIRED, "staff present for the opening key in force")
    if shared is None:
        return 0
    return shared.key_epoch


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
