"""The acts of a transaction, each in one function: it changes the block, or refuses.

An act's form was checked when the transaction was parsed. `perform` returns who acts from then on:
after registering a pseudonym, the rest of the same transaction acts with the registered key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import SUITE_SHARED
from cipherward_chain.group_keys import RECORD as RECORD_KEY
from cipherward_chain.group_keys import group_key_key
from cipherward_contract.actors import Actor, lapsed_refusal
from cipherward_contract.blocks import Block
from cipherward_contract.ceremonies.closing import hear
from cipherward_contract.contract_acts import instantiate, move, upgrade
from cipherward_contract.entries import (
    KEY,
    RECORD,
    Record,
    Registration,
    anchor_of,
    pseudonym_key,
)
from cipherward_contract.evidence import publish
from cipherward_contract.marks import erased_key
from cipherward_contract.refusals import Reason, Refused
from cipherward_contract.steps import report, vote
from cipherward_contract.template_acts import allow, propose


@dataclass(frozen=True, slots=True)
class Performed:
    """Who acts from now on, and the policies that permitted the act."""

    actor: Actor
    policies: tuple[str, ...] = ()


def perform(block: Block, actor: Actor, act: pb.Act) -> Performed:
    """Carry out one act, or refuse."""
    kind = act.WhichOneof("act")
    if kind == "tick" or kind is None:  # a tick only lets a block exist in which timers fire
        return Performed(actor)
    if actor.lapsed and kind not in ("transition", "instantiate"):  # some give up rights
        raise lapsed_refusal(actor.lapsed)
    return _ACTS[kind](block, actor, act)


def _register_pseudonym(block: Block, actor: Actor, act: pb.Act) -> Performed:
    public_key = act.register_pseudonym.public_key
    if not actor.presented:
        raise Refused(Reason.PRESENTATION_REQUIRED, "a pseudonym is registered by a presentation")
    name = pseudonym_key(actor.scope, actor.pseudonym)
    _check_free(block, name, actor, public_key)
    registration = Registration(
        pseudonym=actor.pseudonym,
        scope=actor.scope,
        issuer=actor.member,
        schema=actor.schema,
        role=actor.role,
        epoch=block.epoch,
        height=block.height,
        opening=actor.opening,
        opening_epoch=actor.opening_epoch,
    )
    block.state.put(KEY + public_key, registration.to_bytes())
    block.state.put(name, public_key)
    return Performed(replace(actor, key=public_key, presented=False))


def _check_free(block: Block, name: bytes, actor: Actor, public_key: bytes) -> None:
    """A pseudonym has one key an epoch; a key belongs to one pseudonym, which may renew it."""
    held = block.state.get(KEY + public_key)
    if held is not None:
        found = Registration.from_bytes(held)
        same = (found.scope, found.pseudonym) == (actor.scope, actor.pseudonym)
        if not same or found.epoch == block.epoch:
            raise Refused(Reason.KEY_REGISTERED, "the key is registered")
    current = block.state.get(name)
    if current is not None and current != public_key:
        registered = block.state.get(KEY + current)
        if registered is not None and Registration.from_bytes(registered).epoch == block.epoch:
            raise Refused(Reason.PSEUDONYM_REGISTERED, "the pseudonym has a key in this epoch")


def _anchor_record(block: Block, actor: Actor, act: pb.Act) -> Performed:
    wanted = act.anchor_record
    anchor = anchor_of(wanted.anchor)  # its form was checked when the transaction was parsed
    if actor.kind != "member" or actor.member != anchor.author:
        raise Refused(Reason.NOT_THE_AUTHOR, "a record is anchored by its author")
    if anchor.custodian not in block.rules.registry:
        raise Refused(Reason.MEMBER_NOT_IN_REGISTRY, "the custodian is no member")
    key = RECORD + anchor.record_id
    held = block.state.get(key)
    if held is not None:
        found = Record.from_bytes(held)
        claims = not found.owner and wanted.owner_public_key and found.anchor == wanted.anchor
        if not claims or found.slot_digest != wanted.custodian_slot_digest:
            raise Refused(Reason.RECORD_EXISTS, "a record with that id is anchored")
        if block.state.get(erased_key(anchor.record_id)) is not None:
            raise Refused(Reason.RECORD_ERASED, "the record is erased")
    else:
        _check_suite(block, anchor)
    if wanted.owner_public_key:
        _check_owner(block, anchor.record_id, wanted.owner_public_key)
    record = Record(
        wanted.anchor, wanted.owner_public_key, wanted.custodian_slot_digest, block.height
    )
    block.state.put(key, record.to_bytes())
    return Performed(actor)


def _check_suite(block: Block, anchor: pb.RecordAnchor) -> None:
    """A record is sealed as strongly as the alliance wants, under a key that the members have."""
    if anchor.suite < block.rules.minimum_suite:
        raise Refused(Reason.SUITE_TOO_OLD, "the alliance takes records of later suites only")
    if anchor.suite < SUITE_SHARED:
        return
    if block.state.get(group_key_key(RECORD_KEY, anchor.key_epoch)) is None:
        raise Refused(Reason.KEY_EPOCH_UNKNOWN, "the members have no record key of that epoch")


def _check_owner(block: Block, record_id: bytes, owner: bytes) -> None:
    raw = block.state.get(KEY + owner)
    if raw is not None:
        found = Registration.from_bytes(raw)
        if found.scope == f"record:{record_id.hex()}" and found.epoch == block.epoch:
            return
    raise Refused(Reason.OWNER_NOT_REGISTERED, "the owner's key is not registered for this record")


def _instantiate(block: Block, actor: Actor, act: pb.Act) -> Performed:
    return Performed(actor, instantiate(block, actor, act.instantiate))


def _transition(block: Block, actor: Actor, act: pb.Act) -> Performed:
    return Performed(actor, move(block, actor, act.transition))


def _vote(block: Block, actor: Actor, act: pb.Act) -> Performed:
    wanted = act.vote
    return Performed(
        actor, vote(block, actor, wanted.instance_id, (wanted.transition, wanted.approve))
    )


def _report(block: Block, actor: Actor, act: pb.Act) -> Performed:
    report(block, actor, act.report)
    return Performed(actor)


def _propose_template(block: Block, actor: Actor, act: pb.Act) -> Performed:
    return Performed(actor, propose(block, actor, act.propose_template))


def _ceremony_message(block: Block, actor: Actor, act: pb.Act) -> Performed:
    hear(block, actor, act.ceremony_message)
    return Performed(actor)


def _bad_share(block: Block, actor: Actor, act: pb.Act) -> Performed:
    publish(block, act.bad_share)
    return Performed(actor)


def _upgrade_instance(block: Block, actor: Actor, act: pb.Act) -> Performed:
    upgrade(block, actor, act.upgrade_instance)
    return Performed(actor)


def _allow_template(block: Block, actor: Actor, act: pb.Act) -> Performed:
    allow(block, actor, act.allow_template)
    return Performed(actor)


_ACTS: Mapping[str, Callable[[Block, Actor, pb.Act], Performed]] = {
    "register_pseudonym": _register_pseudonym,
    "anchor_record": _anchor_record,
    "instantiate": _instantiate,
    "transition": _transition,
    "vote": _vote,
    "report": _report,
    "propose_template": _propose_template,
    "ceremony_message": _ceremony_message,
    "bad_share": _bad_share,
    "upgrade_instance": _upgrade_instance,
    "allow_template": _allow_template,
}
