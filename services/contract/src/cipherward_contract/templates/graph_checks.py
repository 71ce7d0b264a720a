"""What a template's states must show: that all are reached and left, and that reading ends."""

from __future__ import annotations

from collections.abc import Iterator

from cipherward_contract.instructions.releasing import RELEASE_KEY
from cipherward_contract.templates.document import Template


def check_graph(template: Template) -> Iterator[str]:
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


def check_reading_ends(template: Template) -> Iterator[str]:
    owners = {name for name, party in template.parties.items() if party.kind == "record_owner"}
    reading = _where_somebody_reads(template)
    ended = frozenset(template.states.names) - _leading_to(template, reading)
    for state in sorted(reading):
        timer = template.timer_of(state)
        if timer is None or not timer.is_absolute:
            yield f"{state}: lets somebody read and no due time ends it"
        elif template.transitions[timer.transition].target not in ended:
            yield f"{state}: lets somebody read and its timer does not end it"
        if not any(
            state in t.sources and t.target in ended and t.gives_up_rights and owners & set(t.by)
            for t in template.transitions.values()
        ):
            yield f"{state}: lets somebody read and the owner cannot end it at any time"


def _where_somebody_reads(template: Template) -> frozenset[str]:
    """Return the states from which or into which a transition releases a key."""
    found: set[str] = set()
    for transition in template.transitions.values():
        if transition.orders(RELEASE_KEY.name):
            found.update((*transition.sources, transition.target))
    return frozenset(found)


def _leading_to(template: Template, states: frozenset[str]) -> frozenset[str]:
    """Return the states from which one of `states` can be reached, themselves included."""
    found, before = set(states), -1
    while len(found) != before:
        before = len(found)
        for transition in template.transitions.values():
            if transition.target in found:
                found.update(transition.sources)
    return frozenset(found)
