"""What a template must show before it is deployed; every fault is named, all at once.

* every name that it uses exists, and every transition fits its kind;
* every state can be reached, every state that is not final can be left, and final ones cannot;
* every state in which somebody may read has a timer that ends it at a due time, and a transition by
  the owner that ends it and that an ended epoch does not stop: to end is to come where no key is
  released, now or later;
* instructions are of the closed list, with exactly their arguments; the cost of a transition is
  bounded.

That the policies fit the types is checked where they are parsed (cipherward_contract.policies).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from cipherward_contract.instructions.closed_list import INSTRUCTIONS
from cipherward_contract.instructions.data_keys import CUT_KEY_USES, FREE_KEY
from cipherward_contract.instructions.depending import KEY_ENDED, PERMIT_ENDED, SUPERSEDED
from cipherward_contract.instructions.resharing import END_KEY, HAND_OVER_KEY
from cipherward_contract.instructions.studies import CUT_STUDIES
from cipherward_contract.templates.document import (
    EXHAUSTED_KINDS,
    GUARDIANS,
    INSTANTIATE,
    QUORUM_CUSTODIAN,
    QUORUM_REGISTRY,
    RECORD_KINDS,
    REGISTRY_KINDS,
    STEP_KINDS,
    VOTING_KINDS,
    Step,
    Template,
    TemplateMalformed,
    Transition,
)
from cipherward_contract.templates.expressions import FIXED_NAMES, Expression
from cipherward_contract.templates.graph_checks import check_graph, check_reading_ends

# Bounds of what one act can cost, far above what a reviewed template needs.
STATES_MAX, TRANSITIONS_MAX, TERMS_MAX, INSTRUCTIONS_MAX = 32, 64, 32, 8


def check_template(template: Template) -> None:
    """Raise `TemplateMalformed` with every fault, or accept."""
    faults = faults_by_rule(template)
    if faults:
        raise TemplateMalformed("; ".join(fault for found in faults.values() for fault in found))


def faults_by_rule(template: Template) -> dict[str, list[str]]:
    """Return the faults by the id of the rule that they break; a fault begins with its place."""
    found = {rule: list(check(template)) for rule, check in _FORM.items()}
    if not any(found.values()):  # the graph is worth a look only when its names are right
        found = {rule: list(check(template)) for rule, check in _MEANING.items()}
    return {rule: faults for rule, faults in found.items() if faults}


def _names(template: Template) -> Iterator[str]:
    states = template.states
    if len(states.names) > STATES_MAX or len(template.transitions) > TRANSITIONS_MAX:
        yield "too many states or transitions"
    if len(template.terms) > TERMS_MAX:
        yield "too many terms"
    used: list[str] = [states.initial, *states.finals]
    for transition in template.transitions.values():
        used += [transition.target, *transition.sources]
    for timer in states.timers:
        used += timer.states
        if template.transitions.get(timer.transition, _NO_TRANSITION).kind != "timer":
            yield f"a timer takes {timer.transition}, which is no transition of kind timer"
    yield from (f"no state {name}" for name in sorted(set(used) - set(states.names)))
    if template.object_term and template.object_term not in template.terms:
        yield f"the object {template.object_term} is no term"
    if template.unclaimed and not template.object_term:
        yield "unclaimed: there is no record"
    for name, party in template.parties.items():
        if party.kind in RECORD_KINDS and not template.object_term:
            yield f"party {name}: there is no record"
        for term in party.terms.values():
            if term not in template.terms:
                yield f"party {name}: no term {term}"
    for name, kind in template.terms.items():
        if kind.kind in ("quorum", "count"):
            yield from (f"term {name}: no term {n}" for n in kind.names if n not in template.terms)


def _properties(template: Template) -> Iterator[str]:
    for item in template.never:
        if item.order not in INSTRUCTIONS:
            yield f"never {item.id}: no instruction {item.order}"
        if item.transition and item.transition not in template.transitions:
            yield f"never {item.id}: no transition {item.transition}"
        for state in sorted(set(item.states) - set(template.states.names)):
            yield f"never {item.id}: no state {state}"


# The transitions by which another contract's end moves one, and what moves so many in one block.
# What a key's end moves has no key left to free: that would end the key in the middle of its end.
_CUTTING = (CUT_STUDIES, CUT_KEY_USES, HAND_OVER_KEY, END_KEY)
_MOVED = {
    PERMIT_ENDED: _CUTTING,
    KEY_ENDED: (*_CUTTING, FREE_KEY),
    SUPERSEDED: (*_CUTTING, FREE_KEY),
}
_NO_TRANSITION = Transition(kind="", sources=(), target="")


def _edges(template: Template) -> Iterator[str]:
    made = template.transitions.get(INSTANTIATE)
    if made is None or made.kind != "transition":
        yield f"no transition {INSTANTIATE}"
    elif made.sources or made.arguments or made.target != template.states.initial:
        yield f"{INSTANTIATE} must lead from no state to the initial one, without arguments"
    for name, transition in template.transitions.items():
        if name != INSTANTIATE and not transition.sources:
            yield f"{name}: leaves no state"
        if transition.kind in ("transition", "vote") and not transition.by:
            yield f"{name}: nobody may take it"
        yield from (f"{name}: no party {p}" for p in transition.by if p not in template.parties)
        if transition.arguments and transition.kind != "transition":
            yield f"{name}: only acts that name a transition have arguments"
        if transition.kind == "vote" and not _members_only(template, transition):
            yield f"{name}: only parties that list members can vote"
        step = transition.step
        if step is not None:
            yield from (f"{name}: {fault}" for fault in _step(template, transition, step))
        yield from (f"{name}: {fault}" for fault in _instructions(transition))
        yield from (f"{name}: {fault}" for fault in _exhausted(template, transition))
        if any(transition.orders(kind.name) for kind in _MOVED.get(name, ())):
            yield f"{name}: what another contract's end ends may not end more"
    for kind in sorted(STEP_KINDS):
        for state in template.states.names:
            found = [t for t in template.transitions.values() if _leaves(t, kind, state)]
            if len(found) > 1:
                yield f"{state}: more than one {kind} leaves it"
    voted = [one for one in template.transitions.values() if one.kind == "vote"]
    if len(voted) > 1 and any("votes" not in one.effects.sets for one in voted):
        yield "with more than one vote, each sets votes anew: those on one are none on another"
    for state in template.states.names:
        if sum(state in timer.states for timer in template.states.timers) > 1:
            yield f"{state}: more than one timer"


def _step(template: Template, transition: Transition, step: Step) -> Iterator[str]:
    other = template.transitions.get(step.otherwise, _NO_TRANSITION)
    if other.kind != "automatic" or not set(transition.sources) <= set(other.sources):
        yield f"{step.otherwise} is no automatic transition from the same states"
    if transition.kind != "ceremony" and not _is_quorum(template, transition, step.quorum):
        yield f"no quorum {step.quorum}"
    if "agreed_digest" in step.keep.values() and not step.agree:
        yield "nobody has to agree on what it keeps"


def _exhausted(template: Template, transition: Transition) -> Iterator[str]:
    if not transition.exhausted:
        return
    other = template.transitions.get(transition.exhausted, _NO_TRANSITION)
    if transition.kind not in EXHAUSTED_KINDS:
        yield f"only a {', a '.join(sorted(EXHAUSTED_KINDS))} can be exhausted"
    if other.kind != "automatic" or not set(transition.sources) <= set(other.sources):
        yield f"{transition.exhausted} is no automatic transition from the same states"
    given = (INSTRUCTIONS.get(name) for name, _ in transition.effects.instructions)
    if not any(kind is not None and kind.obstacle for kind in given):
        yield "nothing that it does can be exhausted"


def _members_only(template: Template, transition: Transition) -> bool:
    parties = (template.parties.get(name) for name in transition.by)
    return all(party is not None and party.kind in VOTING_KINDS for party in parties)


def _is_quorum(template: Template, transition: Transition, quorum: str) -> bool:
    """Say whether a step can be decided so: the registry's quorum is for the registry's votes."""
    kinds = {template.parties[name].kind for name in transition.by if name in template.parties}
    if quorum == QUORUM_REGISTRY:
        return bool(kinds) and kinds <= REGISTRY_KINDS
    if quorum == QUORUM_CUSTODIAN:
        recorded = GUARDIANS in _variables(template)
        return transition.kind == "report" and bool(template.object_term) and recorded
    root, _, name = quorum.partition(".")
    known = {"terms": set(template.terms), "variables": _variables(template)}
    return quorum == "all" or name in known.get(root, set())


def _variables(template: Template) -> set[str]:
    """Return what the machine may have recorded in an instance."""
    found = {"failure", "silent", "votes"}  # what the machine itself records
    for transition in template.transitions.values():
        found.update(transition.effects.sets)
        found.update(transition.step.keep if transition.step else ())
    return found


def _leaves(transition: Transition, kind: str, state: str) -> bool:
    return transition.kind == kind and state in transition.sources


def _instructions(transition: Transition) -> Iterator[str]:
    if len(transition.effects.instructions) > INSTRUCTIONS_MAX:
        yield "too many instructions"
    for name, arguments in transition.effects.instructions:
        kind = INSTRUCTIONS.get(name)
        if kind is None:
            yield f"no instruction {name}"
        elif frozenset(arguments) != kind.arguments:
            names = ", ".join(sorted(set(arguments) ^ kind.arguments))
            yield f"{name}: arguments missing or unknown: {names}"


def _expressions(template: Template) -> Iterator[str]:
    variables = _variables(template)
    for timer in template.states.timers:
        yield from _paths(template, "a timer", [timer.when], frozenset(), variables)
    for name, transition in template.transitions.items():
        used: list[Expression] = list(transition.effects.sets.values())
        for _, arguments in transition.effects.instructions:
            used.extend(arguments.values())
        yield from _paths(template, name, used, frozenset(transition.arguments), variables)
        if transition.effects.spends and transition.effects.spends not in variables:
            yield f"{name}: spends {transition.effects.spends}, which nothing records"


def _paths(
    template: Template,
    where: str,
    expressions: Iterable[Expression],
    arguments: frozenset[str],
    variables: set[str],
) -> Iterator[str]:
    known = {
        **FIXED_NAMES,
        "terms": frozenset(template.terms),
        "arguments": arguments,
        "variables": frozenset(variables),
    }
    for expression in expressions:
        for path in expression.paths():
            if path.name not in known[path.root]:
                yield f"{where}: nothing at {path.root}.{path.name}"
            elif path.root == "record" and not template.object_term:
                yield f"{where}: there is no record"
            elif path.root == "subject" and not _names_somebody(template, variables):
                yield f"{where}: neither terms nor variables name a subject"
            elif path.root == "ceremony" and not template.terms.keys() >= CEREMONY_TERMS:
                yield f"{where}: the terms of a ceremony are {', '.join(sorted(CEREMONY_TERMS))}"


# What a ceremony is computed from.
CEREMONY_TERMS = frozenset({"purpose", "key_epoch", "members", "window"})


def _names_somebody(template: Template, variables: set[str]) -> bool:
    """Say whether an instance can say whose registration is meant, and by names of one type."""
    kinds = {
        name: template.terms[name].kind for name in ("scope", "pseudonym") if name in template.terms
    }
    in_terms = kinds == {"scope": "scope", "pseudonym": "pseudonym"}
    return in_terms or {"subject_scope", "subject_pseudonym"} <= variables


_FORM: Mapping[str, Callable[[Template], Iterator[str]]] = {
    "names": _names,
    "never": _properties,
    "transitions": _edges,
}
_MEANING: Mapping[str, Callable[[Template], Iterator[str]]] = {
    "graph": check_graph,
    "reading-ends": check_reading_ends,
    "expressions": _expressions,
}
