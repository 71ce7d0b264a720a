"""The state machine: taking a transition that was judged.

Small and deterministic: it reads the block's state and time, evaluates a template's expressions,
and writes the instance, its timer and its orders. Every function is total: it ends in a write or in
`Refused`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cipherward_chain.canonical import NotCanonical, Value, encode
from cipherward_contract.blocks import Block
from cipherward_contract.entries import DIGEST, Instance, Origin, Position, timer_key
from cipherward_contract.environment import Environment, environment_of, evaluate
from cipherward_contract.index_rows import InstanceMade
from cipherward_contract.instructions.closed_list import INSTRUCTIONS
from cipherward_contract.instructions.kinds import (
    Begin,
    Consequence,
    Given,
    InstructionKind,
    Move,
)
from cipherward_contract.instructions.releasing import RELEASE_KEY
from cipherward_contract.judging import Case, open_case
from cipherward_contract.order_entries import order_key
from cipherward_contract.refusals import Reason, Refused
from cipherward_contract.tally import DIGEST_RELEASED
from cipherward_contract.templates.document import INSTANTIATE, Template, Timer, Transition
from cipherward_contract.templates.values import Values


def take(block: Block, case: Case, transition: Transition, keep: Values | None = None) -> Instance:
    """Take a transition that was judged, and return the instance as it is then.

    Args:
        keep: variables that reports or votes leave behind.

    Raises:
        Refused: an expression leads to nothing, or an instruction cannot be given now.
    """
    before = case.instance
    variables: dict[str, Value] = {**before.variables, **(keep or {})}
    values = case.arguments or {}, variables
    environment = environment_of(block, (before, case.record), case.actor, values)
    effects = transition.effects
    for name, expression in effects.sets.items():
        variables[name] = evaluate(expression, environment)
    if effects.spends:
        digest = _octets(variables.get(effects.spends, b""))
        block.state.put(DIGEST + digest, before.id)
    step = _order_all(block, case, transition, environment)
    moved = transition.target != before.position.state
    if moved:
        step = _awaited(block, case, transition, step)
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


def start(block: Block, case: Case) -> Instance:
    """Make the instance of a case that was judged, and return it."""
    template, instance = case.template, case.instance
    made = take(block, case, template.transitions[INSTANTIATE])
    about = object_of(template, instance.origin.terms, instance.id)
    block.rows.append(InstanceMade(about, instance.id))
    return made


def object_of(template: Template, terms: Values, instance_id: bytes) -> bytes:
    """Return what an instance is about: a record's id, or its own."""
    about = terms.get(template.object_term, instance_id)
    return about if isinstance(about, bytes) else b""


def fall_back(block: Block, case: Case, transition: Transition, failure: str) -> Instance:
    """Take the automatic transition of a step that cannot succeed, and record why."""
    assert transition.step is not None  # checked with the template: such transitions have one
    otherwise = case.template.transitions[transition.step.otherwise]
    return take(block, case, otherwise, {"failure": failure} if failure else None)


def succeed(block: Block, case: Case, transition: Transition, keep: Values) -> Instance:
    """Take a step's transition, unless something that it would spend is spent."""
    obstacle = obstacle_to(block, case, transition, keep)
    if not obstacle:
        return take(block, case, transition, keep)
    if transition.exhausted:
        return take(block, case, case.template.transitions[transition.exhausted], keep)
    return fall_back(block, case, transition, obstacle)


def save_variables(block: Block, instance: Instance, variables: Values) -> None:
    """Write an instance that has not moved, with other variables."""
    after = replace(instance, variables={**instance.variables, **variables}, changed=block.height)
    block.save(after)


def obstacle_to(block: Block, case: Case, transition: Transition, keep: Values) -> str:
    """Say by a word why a step may not lead to its transition now, or "".

    A digest that it would spend was released before, by any study; or an instruction, such as one
    that spends a budget, has nothing left to give.
    """
    effects = transition.effects
    variables: dict[str, Value] = {**case.instance.variables, **keep}
    if effects.spends:
        digest = _octets(variables.get(effects.spends, b""))
        if block.state.get(DIGEST + digest) is not None:
            return DIGEST_RELEASED
    if not any(INSTRUCTIONS[name].obstacle for name, _ in effects.instructions):
        return ""
    environment = environment_of(block, (case.instance, case.record), case.actor, ({}, variables))
    for name, expression in effects.sets.items():
        variables[name] = evaluate(expression, environment)
    for name, expressions in effects.instructions:
        asked = INSTRUCTIONS[name].obstacle
        if asked is None:
            continue
        arguments = {k: evaluate(value, environment) for k, value in expressions.items()}
        try:
            found = asked(block, arguments)
        except NotCanonical as error:
            raise _ill_given(INSTRUCTIONS[name], error) from error
        if found:
            return found
    return ""


def _octets(value: Value) -> bytes:
    if not isinstance(value, bytes) or not value:
        raise Refused(Reason.NOT_RECORDED, "the contract has recorded no digest")
    return value


def _order_all(
    block: Block, case: Case, transition: Transition, environment: Environment
) -> tuple[int, int] | None:
    """Carry out or order every instruction; return the place of the order that the new state waits
    for.
    """
    step = released = None
    instance = case.instance
    for name, expressions in transition.effects.instructions:
        kind = INSTRUCTIONS[name]
        arguments = {key: evaluate(value, environment) for key, value in expressions.items()}
        if kind.effect is not None:
            done = _carry_out(block, kind, Given(instance, case.actor, arguments, released))
            for begin in done.begins:
                _begin(block, begin)
            for move in done.moves:
                _move(block, move)
            if not done.ordered:
                continue
        if kind.completes is not None:
            arguments.update(_completed(block, kind, arguments))
        place = block.order(instance, name, arguments, kind.executors_of(arguments))
        released = place if kind is RELEASE_KEY else released
        step = place if kind.is_step else step
    return step


def _carry_out(block: Block, kind: InstructionKind, given: Given) -> Consequence:
    """Return what an instruction comes to; what a template gives it in a wrong type is refused."""
    assert kind.effect is not None  # its caller has looked
    try:
        return kind.effect(block, given)
    except NotCanonical as error:
        raise _ill_given(kind, error) from error


def _completed(
    block: Block, kind: InstructionKind, arguments: Mapping[str, Value]
) -> Mapping[str, Value]:
    """Return what an order says besides what a template has given it."""
    assert kind.completes is not None  # its caller has looked
    try:
        return kind.completes(block, arguments)
    except NotCanonical as error:
        raise _ill_given(kind, error) from error


def _ill_given(kind: InstructionKind, error: NotCanonical) -> Refused:
    return Refused(Reason.NOT_RECORDED, f"{kind.name}: {error}")


def _begin(block: Block, wanted: Begin) -> None:
    """Make an instance for nobody: what begins it has decided that already."""
    origin = Origin(wanted.template, wanted.version, wanted.terms, b"", block.height)
    start(block, open_case(block, Instance(wanted.instance, origin, Position(""))))


def _move(block: Block, wanted: Move) -> None:
    """Take an automatic transition of another instance, where it stands in one of its sources."""
    case = open_case(block, block.instance(wanted.instance))
    transition = case.template.transitions.get(wanted.transition)
    if transition is None or transition.kind != "automatic":
        return
    if case.instance.position.state in transition.sources:
        take(block, case, transition)


def _awaited(
    block: Block, case: Case, transition: Transition, step: tuple[int, int] | None
) -> tuple[int, int] | None:
    """Return the place of the order that the state which is entered waits for, if it waits.

    That is the one just ordered; or still the one before, where the same transition waits for it in
    both states. Nobody waits for the reports of another order now.
    """
    before = case.instance.position
    if step is None and before.step is not None:
        waiting = case.template.transition_from(before.state, "report")
        if waiting is not None and transition.target in waiting[1].sources:
            return before.step
    if before.step is not None and block.machine.forgets_finished_orders:
        block.state.delete(order_key(*before.step))
    return step


def _arm(block: Block, case: Case, transition: Transition, environment: Environment) -> int:
    """Stop the timer of the state that is left, start that of the new one; return its due time."""
    instance = case.instance
    if instance.position.timer:
        block.state.delete(timer_key(instance.position.timer, instance.id))
    timer = case.template.timer_of(transition.target)
    if timer is None:
        return 0
    due = due_time(block, timer, environment)
    block.state.put(timer_key(due, instance.id), encode({"transition": timer.transition}))
    return due


def due_time(block: Block, timer: Timer, environment: Environment) -> int:
    """Return when a timer that starts now falls due, in Unix seconds, from 0."""
    value = evaluate(timer.when, environment)
    due = (value if isinstance(value, int) else 0) + (0 if timer.is_absolute else block.now)
    return max(0, due)  # what has passed, however long ago, falls due in the next block
