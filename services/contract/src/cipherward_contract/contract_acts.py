"""The acts about contracts: starting one, moving it, and moving it to another version."""

from __future__ import annotations

from dataclasses import replace

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.canonical import Value, decode_map, encode
from cipherward_contract.actors import Actor, lapsed_refusal
from cipherward_contract.blocks import Block
from cipherward_contract.catalogue import Compiled
from cipherward_contract.entries import INSTANCE, Instance, Origin, Position, Record, timer_key
from cipherward_contract.environment import environment_of
from cipherward_contract.judging import Case, check_arguments, judge, open_case
from cipherward_contract.machine import due_time, start, take
from cipherward_contract.marks import erased_key
from cipherward_contract.refusals import Reason, Refused
from cipherward_contract.steps import VOTES
from cipherward_contract.templates.document import INSTANTIATE
from cipherward_contract.templates.values import ValueRefused, Values, check_values


def instantiate(block: Block, actor: Actor, wanted: pb.Instantiate) -> tuple[str, ...]:
    """Start a contract, or refuse; return the policies that permitted it."""
    compiled = active_template(block, wanted.template, wanted.version)
    if actor.lapsed and not compiled.template.transitions[INSTANTIATE].gives_up_rights:
        raise lapsed_refusal(actor.lapsed)
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
        _check_record(block, case.record, compiled)
    policies = judge(block, case, INSTANTIATE, {})
    start(block, case)
    return policies


def active_template(block: Block, name: str, version: int) -> Compiled:
    """Return a template that may be instantiated now, or refuse."""
    compiled = block.catalogue.find(block.state, name, version)
    if compiled is None:
        raise Refused(Reason.TEMPLATE_UNKNOWN, "the chain has no such template")
    if block.now < compiled.active_from:
        raise Refused(Reason.TEMPLATE_NOT_ACTIVE, "the template is not active yet")
    return compiled


def _check_record(block: Block, record: Record, compiled: Compiled) -> None:
    template = compiled.template
    if not record.owner and not template.unclaimed:
        raise Refused(Reason.RECORD_UNCLAIMED, "nobody owns the record yet")
    if compiled.releases and not record.allows(f"{template.name}/{template.version}"):
        raise Refused(
            Reason.TEMPLATE_NOT_ALLOWED, "neither the record's anchor nor its owner names it"
        )
    if block.state.get(erased_key(record.parsed().record_id)) is not None:
        raise Refused(Reason.RECORD_ERASED, "the record is erased")


def move(block: Block, actor: Actor, wanted: pb.Transition) -> tuple[str, ...]:
    """Take a transition that an act names, or refuse; return the policies that permitted it."""
    instance = block.instance(wanted.instance_id)
    return attempt(block, actor, instance, wanted.transition, decode_map(wanted.arguments))


def attempt(
    block: Block, actor: Actor, instance: Instance, name: str, arguments: Values
) -> tuple[str, ...]:
    """Take a transition of an instance, or refuse; return the policies that permitted it."""
    case = open_case(block, instance, actor)
    transition = case.template.transitions.get(name)
    if transition is None or transition.kind != "transition" or name == INSTANTIATE:
        raise Refused(Reason.TRANSITION_UNKNOWN, "nobody takes a transition of that name by an act")
    if actor.lapsed and not transition.gives_up_rights:
        raise lapsed_refusal(actor.lapsed)
    if instance.position.state not in transition.sources:
        raise Refused(Reason.STATE_FORBIDS, f"the contract is {instance.position.state}")
    case = check_arguments(block, case, transition, arguments)
    policies = judge(block, case, name, arguments)
    take(block, case, transition)
    return policies


def upgrade(block: Block, actor: Actor, wanted: pb.UpgradeInstance) -> None:
    """Move a contract to another version of its template, or refuse.

    Only who made the contract or owns its record can want that: everybody else has signed nothing
    that a later version says. What it waits for stays what was asked for: while members are at work
    for it, it is not moved.
    """
    instance = block.instance(wanted.instance_id)
    case = open_case(block, instance, actor)
    owner = case.record.owner if case.record else b""
    if not actor.key or actor.key not in (instance.origin.creator, owner):
        raise Refused(Reason.NOT_A_PARTY, "a contract is upgraded by its maker or the owner")
    name, state = instance.origin.template, instance.position.state
    if wanted.version == instance.origin.version:
        raise Refused(Reason.UPGRADE_REFUSED, "the contract is of that version")
    compiled = active_template(block, name, wanted.version)
    if case.record is not None:
        _check_record(block, case.record, compiled)
    if state not in compiled.template.states.names:
        raise Refused(Reason.INSTANCE_NOT_IN_STATE, f"the version has no state {state}")
    if state in case.template.states.finals or _waits(case):
        raise Refused(Reason.UPGRADE_REFUSED, "the contract has ended, or waits for members")
    try:
        check_values(compiled.template.terms, instance.origin.terms, block.world)
    except ValueRefused as error:
        raise Refused(Reason.UPGRADE_REFUSED, f"the version refuses {error}") from error
    variables = {key: value for key, value in instance.variables.items() if key != VOTES}
    after = replace(
        instance,
        origin=replace(instance.origin, version=wanted.version),
        variables=variables,
        changed=block.height,
    )
    after = replace(after, position=_rearmed(block, replace(case, compiled=compiled), after))
    block.save(after)


def _waits(case: Case) -> bool:
    """Say whether members are at work for the contract: on an order's step, or in a ceremony."""
    position = case.instance.position
    if position.step is not None:
        return True
    return case.template.transition_from(position.state, "ceremony") is not None


def _rearmed(block: Block, case: Case, after: Instance) -> Position:
    """Return where the contract stands, with the timer of its new version; it is never later than
    the one that ran.
    """
    before = after.position
    if before.timer:
        block.state.delete(timer_key(before.timer, after.id))
    timer = case.template.timer_of(before.state)
    if timer is None:
        return replace(before, timer=0)
    nothing: dict[str, Value] = {}
    environment = environment_of(
        block, (after, case.record), case.actor, (nothing, dict(after.variables))
    )
    due = due_time(block, timer, environment)
    due = min(due, before.timer) if before.timer else due
    block.state.put(timer_key(due, after.id), encode({"transition": timer.transition}))
    return replace(before, timer=due)
