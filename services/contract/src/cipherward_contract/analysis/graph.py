"""What the states and transitions alone show: that every history ends, and what one act costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cipherward_contract.analysis.findings import Finding
from cipherward_contract.instructions.closed_list import INSTRUCTIONS
from cipherward_contract.instructions.data_keys import CUT_KEY_USES
from cipherward_contract.instructions.depending import DEPENDENTS_MAX
from cipherward_contract.instructions.resharing import END_KEY, HAND_OVER_KEY
from cipherward_contract.instructions.studies import CUT_STUDIES
from cipherward_contract.templates.document import Template, Transition


def ending_findings(template: Template) -> Iterator[Finding]:
    """Yield the states from which no final one is reached, and the timers that go round."""
    edges: dict[str, set[str]] = {state: set() for state in template.states.names}
    for transition in template.transitions.values():
        for source in transition.sources:
            edges[source].add(transition.target)
    ends = set(template.states.finals)
    while more := {state for state, targets in edges.items() if targets & ends} - ends:
        ends |= more
    for state in template.states.names:
        if state not in ends:
            yield Finding("ending", f"{state}: no final state is reached from it", ("states",))
    yield from _idle_timers(template)
    yield from _timer_loops(template)


def _idle_timers(template: Template) -> Iterator[Finding]:
    """Yield the transitions that a timer should take, and from some state none does."""
    for name, transition in template.transitions.items():
        if transition.kind != "timer":
            continue
        for state in transition.sources:
            timer = template.timer_of(state)
            if timer is None or timer.transition != name:
                message = f"{name}: no timer takes it from {state}"
                yield Finding("timer-missing", message, ("transitions", name))


def _timer_loops(template: Template) -> Iterator[Finding]:
    """Yield each cycle that block time alone goes round."""
    follows: dict[str, tuple[str, str]] = {}  # a state has one timer at most
    for state in template.states.names:
        timer = template.timer_of(state)
        if timer is not None:
            follows[state] = timer.transition, template.transitions[timer.transition].target
    reported: set[str] = set()
    for begin in template.states.names:
        path: list[str] = []
        state = begin
        while state in follows and state not in path and state not in reported:
            path.append(state)
            state = follows[state][1]
        if state in path:
            cycle = path[path.index(state) :]
            reported.update(cycle)
            steps = tuple(f"{one}: a timer takes {follows[one][0]}" for one in cycle)
            place = ("transitions", follows[cycle[0]][0])
            words = f"{' to '.join((*cycle, cycle[0]))}: timers go round for ever"
            yield Finding("timer-loop", words, place, steps)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one act, vote or report makes a block do at worst.

    contracts: others that an instruction moves. entries: values written to the state.
    """

    transition: str
    orders: int
    entries: int
    contracts: int
    decisions: int

    def in_words(self) -> str:
        """Return one line."""
        others = f", and moves up to {self.contracts} other contracts" if self.contracts else ""
        return (
            f"cost of one act at worst ({self.transition}): {self.orders} orders,"
            f" {self.entries} entries of the state, {self.decisions} decision by policies{others}"
        )


def worst_cost(template: Template) -> Cost:
    """Return the cost of the transition that writes most."""
    costs = [_cost(template, name, one) for name, one in template.transitions.items()]
    return max(costs, key=lambda cost: (cost.contracts, cost.entries, cost.orders, cost.transition))


# Of the contract itself: its entry, the timer that stops, the one that starts, the step that ends.
_OWN_ENTRIES = 4
# The other contracts that an instruction moves at most. A key's end moves the contract that has
# handed it over too, a hand-over the one before, and a key that its holders end is one more itself.
_MOVES = {
    CUT_STUDIES.name: DEPENDENTS_MAX,
    CUT_KEY_USES.name: DEPENDENTS_MAX + 1,
    HAND_OVER_KEY.name: DEPENDENTS_MAX + 1,
    END_KEY.name: DEPENDENTS_MAX + 1,
}
# What an instruction of contract's own changes at most, except the registry's: a member's entry,
# its number, its keys and its issuers.
_EFFECT_ENTRIES = 10


def _cost(template: Template, name: str, transition: Transition) -> Cost:
    given = [INSTRUCTIONS[order] for order, _ in transition.effects.instructions]
    entries = _OWN_ENTRIES + bool(transition.effects.spends)
    entries += sum(bool(kind.executors) + _EFFECT_ENTRIES * bool(kind.effect) for kind in given)
    contracts = max((_MOVES.get(kind.name, 0) for kind in given), default=0)
    judged = transition.kind in ("transition", "vote")
    return Cost(name, len(given), entries + contracts * _OWN_ENTRIES, contracts, int(judged))


def by_instruction(template: Template) -> Mapping[str, list[str]]:
    """Return the transitions that give each instruction, both by name."""
    found: dict[str, list[str]] = {}
    for name, transition in sorted(template.transitions.items()):
        for order, _ in transition.effects.instructions:
            found.setdefault(order, []).append(name)
    return {order: sorted(set(names)) for order, names in sorted(found.items())}
