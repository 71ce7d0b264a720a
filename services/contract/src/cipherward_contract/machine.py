"""The state machine: judging a transition, and taking it.

Small and deterministic: it reads the block's state and time, evaluates a template's expressions,
and writes the instance, its timer and its orders. Every function is total: it ends in a write or in
`Refused`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cipherward_chain.canonical import Value, encode
from cipherward_chain.domains import ceremony_seed
from cipherward_contract.actors import Actor
from cipherward_contract.blocks import Block
from cipherward_contract.catalogue import Compiled
from cipherward_contract.entries import DIGEST, Instance, Position, Record, order_key, timer_key
from cipherward_contract.index_rows import AccessAsked, Asker
from cipherward_contract.instructions import DISCLOSE, INSTRUCTIONS, RELEASE_KEY
from cipherward_contract.own_instructions import carry_out
from cipherward_contract.parties import Scene, parties_of
from cipherward_contract.policies import Request
from cipherward_contract.refusals import Reason, Refused
from cipherward_contract.tally import DIGEST_RELEASED
from cipherward_contract.templates.document import Template, Transition
from cipherward_contract.templates.expressions import Expression, NothingThere
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
    decision = case.compiled.policies.decide(_request(block, case, name, arguments))
    if decision.erred:
        raise Refused(Reason.POLICY_ERROR, "a policy could not be evaluated", decision.policies)
    if not decision.allowed:
        raise Refused(Reason.POLICY_DENIED, "the contract does not permit it", decision.policies)
    if not set(transition.by) & set(_parties(case)):
        raise Refused(Reason.NOT_A_PARTY, f"{name} is for others", decision.policies)
    return decision.policies


def _parties(case: Case) -> list[str]:
    origin = case.instance.origin
    return parties_of(case.template, case.actor, Scene(origin.terms, origin.creator, case.record))


def _request(block: Block, case: Case, name: str, arguments: Values) -> Request:
    actor, instance, record = case.actor, case.instance, case.record
    anchor = record.parsed() if record else None
    return Request(
        action=name,
        actor={
            "kind": actor.kind,
            "member": actor.member,
            "schema": actor.schema,
            "role": actor.role,
            "scope": actor.scope,
            "key": actor.key.hex(),
            "parties": _parties(case),
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


def take(block: Block, case: Case, transition: Transition, keep: Values | None = None) -> Instance:
    """Take a transition that was judged, and return the instance as it is then.

    Args:
        keep: variables that reports or votes leave behind.

    Raises:
        Refused: an expression leads to nothing, or needs a key that the actor does not have.
    """
    before = case.instance
    variables: dict[str, Value] = {**before.variables, **(keep or {})}
    environment = _environment(block, case, variables)
    effects = transition.effects
    for name, expression in effects.sets.items():
        variables[name] = _evaluate(expression, environment)
    if effects.spends:
        digest = _octets(variables.get(effects.spends, b""))
        block.state.put(DIGEST + digest, before.id)
    step = _order_all(block, case, transition, environment)
    moved = transition.target != before.position.state
    if moved and before.position.step is not None and block.machine.forgets_finished_orders:
        block.state.delete(order_key(*before.position.step))  # nobody waits for its reports now
    timer = _arm(block, case, transition, environment) if moved else before.position.timer
    after = replace(
        before,
        position=Position(transition.target, timer, step if moved else before.position.step),
        variables=variables,
        uses=before.uses + effects.counts_use,
        changed=block.height,
    )
    block.save(after)
    return after


def was_released(block: Block, case: Case, transition: Transition, keep: Values) -> bool:
    """Say whether the digest that a transition would spend was released before, by any study."""
    spends = transition.effects.spends
    if not spends:
        return False
    digest = {**case.instance.variables, **keep}.get(spends, b"")
    return block.state.get(DIGEST + _octets(digest)) is not None


def fall_back(block: Block, case: Case, transition: Transition, failure: str) -> Instance:
    """Take the automatic transition of a step that cannot succeed, and record why."""
    assert transition.step is not None  # checked with the template: votes and reports have one
    otherwise = case.template.transitions[transition.step.otherwise]
    return take(block, case, otherwise, {"failure": failure} if failure else None)


def succeed(block: Block, case: Case, transition: Transition, keep: Values) -> Instance:
    """Take a step's transition, unless it would release a ciphertext a second time."""
    if was_released(block, case, transition, keep):
        return fall_back(block, case, transition, DIGEST_RELEASED)
    return take(block, case, transition, keep)


def save_variables(block: Block, instance: Instance, variables: Values) -> None:
    """Write an instance that has not moved, with other variables."""
    after = replace(instance, variables={**instance.variables, **variables}, changed=block.height)
    block.save(after)


def _environment(
    block: Block, case: Case, variables: Mapping[str, Value]
) -> dict[str, Mapping[str, Value]]:
    instance, record = case.instance, case.record
    seed = ceremony_seed(block.rules.chain_id, block.height, instance.id)
    found: dict[str, Mapping[str, Value]] = {
        "terms": instance.origin.terms,
        "arguments": case.arguments or {},
        "variables": variables,
        "actor": {"key": case.actor.key, "member": case.actor.member},
        "instance": {"id": instance.id},
        "block": {"time": block.now, "seed": seed},
        "registry": {"next_index": block.rules.next_index},
    }
    if record is not None:
        found["record"] = record.described()
    return found


def _evaluate(expression: Expression, environment: Mapping[str, Mapping[str, Value]]) -> Value:
    try:
        value = expression.evaluate(environment)
    except NothingThere as error:
        raise Refused(Reason.NOT_RECORDED, f"the contract has not recorded {error}") from error
    return value


def _octets(value: Value) -> bytes:
    if not isinstance(value, bytes) or not value:
        raise Refused(Reason.NOT_RECORDED, "the contract has recorded no digest")
    return value


def _order_all(
    block: Block,
    case: Case,
    transition: Transition,
    environment: Mapping[str, Mapping[str, Value]],
) -> tuple[int, int] | None:
    """Carry out or order every instruction; return the place of the order that the new state waits
    for.
    """
    step = released = None
    instance, template = case.instance, case.template
    for name, expressions in transition.effects.instructions:
        arguments = {key: _evaluate(value, environment) for key, value in expressions.items()}
        if name == RELEASE_KEY and not arguments["reader"]:
            raise Refused(Reason.KEY_REQUIRED, "a reader needs a registered key to fetch with")
        if name == RELEASE_KEY and arguments["custodian"] not in block.rules.registry:
            raise Refused(
                Reason.MEMBER_NOT_IN_REGISTRY, "the record's custodian is no member any more"
            )
        if name == DISCLOSE:
            block.rows.append(_access(block, case, arguments, released))
            continue
        if not carry_out(block, name, arguments):
            continue
        place = block.order(instance.id, template.name, name, arguments)
        released = place if name == RELEASE_KEY else released
        step = place if INSTRUCTIONS[name].is_step else step
    return step


def _access(
    block: Block, case: Case, arguments: Values, released: tuple[int, int] | None
) -> AccessAsked:
    return AccessAsked(
        record=_octets(arguments["record"]),
        instance=case.instance.id,
        transaction_id=block.transaction_id,
        asker=Asker(case.actor.member, case.actor.role),
        purpose=str(arguments["purpose"]),
        order=released,
    )


def _arm(
    block: Block,
    case: Case,
    transition: Transition,
    environment: Mapping[str, Mapping[str, Value]],
) -> int:
    """Stop the timer of the state that is left, start that of the new one; return its due time."""
    instance = case.instance
    if instance.position.timer:
        block.state.delete(timer_key(instance.position.timer, instance.id))
    timer = case.template.timer_of(transition.target)
    if timer is None:
        return 0
    value = _evaluate(timer.when, environment)
    due = (value if isinstance(value, int) else 0) + (0 if timer.is_absolute else block.now)
    due = max(0, due)  # what has passed, however long ago, falls due in the next block
    block.state.put(timer_key(due, instance.id), encode({"transition": timer.transition}))
    return due
