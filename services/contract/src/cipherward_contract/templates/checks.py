"""What a template must show before it is deployed; every fault is named, all at once.

* every name that it uses exists, and every transition fits its kind;
* every state can be reached, every state that is not final can be left, and final ones cannot;
* every state from which a key can be released has a timer that ends it, and a transition by the
  owner that ends it and that an ended epoch does not stop;
* instructions are of the closed list, with exactly their arguments; the cost of a transition is
  bounded.

That the policies fit the types is checked where they are parsed (cipherward_contract.policies).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cipherward_contract.instructions import INSTRUCTIONS, RELEASE_KEY
from cipherward_contract.templates.document import (
    INSTANTIATE,
    QUORUM_REGISTRY,
    REGISTRY_KINDS,
    VOTING_KINDS,
    Template,
    TemplateMalformed,
    Transition,
)
from cipherward_contract.templates.expressions import FIXED_NAMES, Expression

# Bounds of what one act can cost, far above what a reviewed template needs.
STATES_MAX, TRANSITIONS_MAX, TERMS_MAX, INSTRUCTIONS_MAX = 32, 64, 32, 8


def check_template(template: Template) -> None:
    """Raise `TemplateMalformed` with every fault, or accept."""
    faults = [*_names(template), *_edges(template)]
    if not faults:  # the graph is worth a look only when its names are right
        faults = [*_graph(template), *_access_ends(template), *_expressions(template)]
    if faults:
        raise TemplateMalformed("; ".join(faults))


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
    for name, party in template.parties.items():
        if party.kind == "record_owner" and not template.object_term:
            yield f"party {name}: there is no record"
        for term in party.terms.values():
            if term not in template.terms:
                yield f"party {name}: no term {term}"
    for name, kind in template.terms.items():
        if kind.kind in ("quorum", "count"):
            yield from (f"term {name}: no term {n}" for n in kind.names if n not in template.terms)


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
            other = template.transitions.get(step.otherwise, _NO_TRANSITION)
            if other.kind != "automatic" or not set(transition.sources) <= set(other.sources):
                yield f"{name}: {step.otherwise} is no automatic transition from the same states"
            if not _is_quorum(template, transition, step.quorum):
                yield f"{name}: no quorum {step.quorum}"
            if "agreed_digest" in step.keep.values() and not step.agree:
                yield f"{name}: nobody has to agree on what it keeps"
        yield from (f"{name}: {fault}" for fault in _instructions(transition))
    for kind in ("report", "vote"):
        for state in template.states.names:
            found = [t for t in template.transitions.values() if _leaves(t, kind, state)]
            if len(found) > 1:
                yield f"{state}: more than one {kind} leaves it"
    for state in template.states.names:
        if sum(state in timer.states for timer in template.states.timers) > 1:
            yield f"{state}: more than one timer"


def _members_only(template: Template, transition: Transition) -> bool:
    parties = (template.parties.get(name) for name in transition.by)
    return all(party is not None and party.kind in VOTING_KINDS for party in parties)


def _is_quorum(template: Template, transition: Transition, quorum: str) -> bool:
    """Say whether a step can be decided so: the registry's quorum is for the registry's votes."""
    kinds = {template.parties[name].kind for name in transition.by if name in template.parties}
    if quorum == QUORUM_REGISTRY:
        return bool(kinds) and kinds <= REGISTRY_KINDS
    return quorum == "all" or quorum.removeprefix("terms.") in template.terms


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


def _graph(template: Template) -> Iterator[str]:
    reached, waiting = {template.states.initial}, [template.states.initial]
    while waiting:
        state = waiting.pop()
        targets = {t.target for t in template.transitions.values() if state in t.sources}
        waiting.extend(sorted(targets - reached))
        reached |= targets
    left = {state for t in template.transitions.values() for state in t.sources}
    for state in template.states.names:
        if state not in reached:
            yield f"{state}: cannot be reached"
        if state in template.states.finals and state in left:
            yield f"{state}: is final and can be left"
        if state not in template.states.finals and state not in left:
            yield f"{state}: cannot be left and is not final"


def _access_ends(template: Template) -> Iterator[str]:
    owners = {name for name, party in template.parties.items() if party.kind == "record_owner"}
    for state in _where_keys_are_released(template):
        timer = template.timer_of(state)
        if timer is None or not timer.is_absolute:
            yield f"{state}: lets somebody read and no due time ends it"
        elif template.transitions[timer.transition].target not in template.states.finals:
            yield f"{state}: lets somebody read and its timer does not end it"
        if not any(
            state in t.sources
            and t.target in template.states.finals
            and t.gives_up_rights
            and owners & set(t.by)
            for t in template.transitions.values()
        ):
            yield f"{state}: lets somebody read and the owner cannot end it at any time"


def _where_keys_are_released(template: Template) -> list[str]:
    found: set[str] = set()
    for transition in template.transitions.values():
        if any(name == RELEASE_KEY for name, _ in transition.effects.instructions):
            found.update((*transition.sources, transition.target))
    return sorted(found)


def _expressions(template: Template) -> Iterator[str]:
    variables = {"failure", "votes"}  # what the machine itself records
    for transition in template.transitions.values():
        variables.update(transition.effects.sets)
        variables.update(transition.step.keep if transition.step else ())
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
