"""A contract as its transitions see it, and whether somebody may take one of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cipherward_contract.actors import Actor
from cipherward_contract.blocks import Block
from cipherward_contract.catalogue import Compiled
from cipherward_contract.entries import Instance, Record
from cipherward_contract.parties import Scene, parties_of
from cipherward_contract.policies import Request
from cipherward_contract.refusals import Reason, Refused
from cipherward_contract.templates.document import Template, Transition
from cipherward_contract.templates.values import ValueRefused, Values, check_values

NOBODY = Actor("member", b"", "")  # a timer's transition has no actor


@dataclass(frozen=True, slots=True)
class Case:
    """An instance with all that its transitions may read. `arguments` are checked."""

    compiled: Compiled
    instance: Instance
    record: Record | None
    actor: Actor = NOBODY
    arguments: Values | None = None

    @property
    def template(self) -> Template:
        """The instance's template."""
        return self.compiled.template


def open_case(block: Block, instance: Instance, actor: Actor = NOBODY) -> Case:
    """Return the case of an instance, or refuse."""
    origin = instance.origin
    compiled = block.catalogue.find(block.state, origin.template, origin.version)
    if compiled is None:
        raise Refused(Reason.TEMPLATE_UNKNOWN, "the template is not active on this chain")
    record = None
    if compiled.template.object_term:
        record_id = origin.terms[compiled.template.object_term]
        record = block.record(record_id if isinstance(record_id, bytes) else b"")
    return Case(compiled, instance, record, actor)


def check_arguments(block: Block, case: Case, transition: Transition, arguments: Values) -> Case:
    """Return the case with checked arguments, or refuse."""
    try:
        check_values(transition.arguments, arguments, block.world)
    except ValueRefused as error:
        raise Refused(Reason.ARGUMENTS_MALFORMED, str(error)) from error
    return replace(case, arguments=arguments)


def judge(block: Block, case: Case, name: str, arguments: Values) -> tuple[str, ...]:
    """Return the sorted ids of the policies that permit the actor this transition now, or refuse.

    The template's own list of parties must allow it too: a policy cannot permit more than that
    list.
    """
    transition = case.template.transitions[name]
    parties = _parties(case)
    decision = case.compiled.policies.decide(_request(block, case, name, (parties, arguments)))
    if decision.erred:
        raise Refused(Reason.POLICY_ERROR, "a policy could not be evaluated", decision.policies)
    if not decision.allowed:
        raise Refused(Reason.POLICY_DENIED, "the contract does not permit it", decision.policies)
    if not set(transition.by) & set(parties):
        raise Refused(Reason.NOT_A_PARTY, f"{name} is for others", decision.policies)
    return decision.policies


def _parties(case: Case) -> list[str]:
    origin = case.instance.origin
    return parties_of(case.template, case.actor, Scene(origin.terms, origin.creator, case.record))


def _request(block: Block, case: Case, name: str, asked: tuple[list[str], Values]) -> Request:
    actor, instance, record = case.actor, case.instance, case.record
    anchor = record.parsed() if record else None
    parties, arguments = asked
    return Request(
        action=name,
        actor={
            "kind": actor.kind,
            "member": actor.member,
            "schema": actor.schema,
            "role": actor.role,
            "scope": actor.scope,
            "key": actor.key.hex(),
            "parties": parties,
        },
        instance={
            "state": instance.position.state,
            "uses": instance.uses,
            "owner": record.owner.hex() if record else "",
            "creator": instance.origin.creator.hex(),
            "author": anchor.author if anchor else "",
            "custodian": anchor.custodian if anchor else "",
        },
        terms=instance.origin.terms,
        arguments=arguments,
        now=block.now,
    )
