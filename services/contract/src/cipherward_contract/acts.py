"""The acts of a transaction, each in one function: it changes the block, or refuses.

An act's form was checked when the transaction was parsed. `perform` returns who acts from then on:
after registering a pseudonym, the rest of the same transaction acts with the registered key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.canonical import decode_map
from cipherward_contract.actors import Actor
from cipherward_contract.blocks import Block
from cipherward_contract.entries import (
    INSTANCE,
    KEY,
    RECORD,
    Instance,
    Origin,
    Position,
    Record,
    Registration,
    anchor_of,
    pseudonym_key,
)
from cipherward_contract.index_rows import InstanceMade
from cipherward_contract.machine import check_arguments, judge, open_case, take
from cipherward_contract.refusals import Reason, Refused
from cipherward_contract.steps import report, vote
from cipherward_contract.templates.document import INSTANTIATE, Template
from cipherward_contract.templates.values import ValueRefused, Values, check_values


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
    if actor.lapsed and kind != "transition":
        raise _lapsed(actor.lapsed)
    return _ACTS[kind](block, actor, act)


def _lapsed(reason: Reason) -> Refused:
    """Return the refusal of a key whose credential was not renewed, or whose issuer is gone."""
    if reason is Reason.ISSUER_UNKNOWN:
        return Refused(reason, "the issuer of the key's credential is no member any more")
    return Refused(reason, "the key's credential is not of the current epoch")


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
    if wanted.owner_public_key:
        _check_owner(block, anchor.record_id, wanted.owner_public_key)
    record = Record(
        wanted.anchor, wanted.owner_public_key, wanted.custodian_slot_digest, block.height
    )
    block.state.put(key, record.to_bytes())
    return Performed(actor)


def _check_owner(block: Block, record_id: bytes, owner: bytes) -> None:
    raw = block.state.get(KEY + owner)
    if raw is not None:
        found = Registration.from_bytes(raw)
        if found.scope == f"record:{record_id.hex()}" and found.epoch == block.epoch:
            return
    raise Refused(Reason.OWNER_NOT_REGISTERED, "the owner's key is not registered for this record")


def _instantiate(block: Block, actor: Actor, act: pb.Act) -> Performed:
    wanted = act.instantiate
    compiled = block.catalogue.find(block.state, wanted.template, wanted.version)
    if compiled is None:
        raise Refused(Reason.TEMPLATE_UNKNOWN, "the template is not active on this chain")
    if block.state.get(INSTANCE + wanted.instance_id) is not None:
        raise Refused(Reason.INSTANCE_EXISTS, "a contract has that id")
    template, terms = compiled.template, decode_map(wanted.terms)
    try:
        check_values(template.terms, terms, block.world)
    except ValueRefused as error:
        raise Refused(Reason.TERMS_MALFORMED, str(error)) from error
    origin = Origin(template.name, template.version, wanted.terms, actor.key, block.height)
    case = open_case(block, Instance(wanted.instance_id, origin, Position("")), actor)
    if case.record is not None:
        _check_record(case.record, template)
    policies = judge(block, case, INSTANTIATE, {})
    take(block, case, template.transitions[INSTANTIATE])
    about = object_of(template, terms, wanted.instance_id)
    block.rows.append(InstanceMade(about, wanted.instance_id))
    return Performed(actor, policies)


def object_of(template: Template, terms: Values, instance_id: bytes) -> bytes:
    """Return what an instance is about: a record's id, or its own."""
    about = terms.get(template.object_term, instance_id)
    return about if isinstance(about, bytes) else b""


def _check_record(record: Record, template: Template) -> None:
    if not record.owner:
        raise Refused(Reason.RECORD_UNCLAIMED, "nobody owns the record yet")
    if f"{template.name}/{template.version}" not in record.parsed().release_templates:
        raise Refused(Reason.TEMPLATE_NOT_ALLOWED, "the record's anchor does not name the template")


def _transition(block: Block, actor: Actor, act: pb.Act) -> Performed:
    wanted = act.transition
    instance = block.instance(wanted.instance_id)
    case = open_case(block, instance, actor)
    transition = case.template.transitions.get(wanted.transition)
    if transition is None or transition.kind != "transition" or wanted.transition == INSTANTIATE:
        raise Refused(Reason.TRANSITION_UNKNOWN, "nobody takes a transition of that name by an act")
    if actor.lapsed and not transition.gives_up_rights:
        raise _lapsed(actor.lapsed)
    if instance.position.state not in transition.sources:
        raise Refused(Reason.STATE_FORBIDS, f"the contract is {instance.position.state}")
    arguments = decode_map(wanted.arguments)
    case = check_arguments(block, case, transition, arguments)
    policies = judge(block, case, wanted.transition, arguments)
    take(block, case, transition)
    return Performed(actor, policies)


def _vote(block: Block, actor: Actor, act: pb.Act) -> Performed:
    wanted = act.vote
    return Performed(
        actor, vote(block, actor, wanted.instance_id, (wanted.transition, wanted.approve))
    )


def _report(block: Block, actor: Actor, act: pb.Act) -> Performed:
    report(block, actor, act.report)
    return Performed(actor)


_ACTS: Mapping[str, Callable[[Block, Actor, pb.Act], Performed]] = {
    "register_pseudonym": _register_pseudonym,
    "anchor_record": _anchor_record,
    "instantiate": _instantiate,
    "transition": _transition,
    "vote": _vote,
    "report": _report,
}
