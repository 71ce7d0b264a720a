"""What is held against everything that a template can do: its own `never`, and its own parties."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cipherward_contract.analysis.conditions import Condition
from cipherward_contract.analysis.evaluation import Erred, World, holds, read_condition
from cipherward_contract.analysis.exploration import Exploration, is_judged
from cipherward_contract.analysis.findings import Finding
from cipherward_contract.analysis.policy_source import policy_faults
from cipherward_contract.analysis.vocabulary import schema_with
from cipherward_contract.analysis.wording import trace
from cipherward_contract.templates.document import Template
from cipherward_contract.templates.never import Never


@dataclass(frozen=True, slots=True)
class Property:
    """A property with its condition as each transition that gives its order understands it."""

    never: Never
    conditions: Mapping[str, Condition]


def properties_of(exploration: Exploration) -> tuple[list[Property], list[Finding]]:
    """Return the properties that can be looked at, and what is wrong with the others.

    What they compare is noted, so that the walk tells it apart.
    """
    template = exploration.template
    found: list[Property] = []
    findings = list(_idle(template))
    schema = schema_with(template)
    for index, never in enumerate(template.never):
        conditions: dict[str, Condition] = {}
        for name in _givers(template, never):
            wrapped = (
                f'permit (principal, action == Action::"{name}", resource)'
                f" when {{ {never.condition} }};"
            )
            faults = policy_faults(wrapped, schema)
            if faults:
                message = f"{never.id}: in {name}, {faults[0].message}"
                findings.append(Finding("never-condition", message, ("never", str(index))))
                continue
            conditions[name] = read_condition(never.condition, exploration.words[name])
        for name, condition in conditions.items():
            exploration.vocables.note(name, [condition])
        found.append(Property(never, conditions))
    return found, findings


def _idle(template: Template) -> Iterator[Finding]:
    for index, never in enumerate(template.never):
        if not _givers(template, never):
            message = f"{never.id}: no transition that it is about gives {never.order}"
            yield Finding("never-idle", message, ("never", str(index)), is_fault=False)


def _givers(template: Template, never: Never) -> list[str]:
    """Return the transitions that a property is about: those that give its order."""
    return [
        name
        for name, transition in sorted(template.transitions.items())
        if any(order == never.order for order, _ in transition.effects.instructions)
        and never.transition in ("", name)
    ]


def broken_properties(exploration: Exploration, found: Sequence[Property]) -> list[Finding]:
    """Return a finding for each property that something the template can do breaks."""
    return [
        Finding(
            "never-broken",
            f"{one.never.id}: {one.never.order} can be ordered",
            ("never", str(index)),
            steps,
        )
        for index, one in enumerate(found)
        if (steps := _counterexample(exploration, one))
    ]


def _counterexample(exploration: Exploration, one: Property) -> tuple[str, ...]:
    """Return the shortest history that ends in what a property forbids; empty when none does."""
    for taken in (*exploration.taken, *exploration.upgraded):
        condition = one.conditions.get(taken.name)
        if condition is None or not one.never.concerns(taken.name, taken.source.state):
            continue

        def is_broken(world: World, condition: Condition = condition) -> bool:
            try:
                return holds(condition, world)
            except Erred:
                return True  # a property that cannot be evaluated is not shown

        for answers, broken in exploration.outcomes(is_broken, taken.possible, taken.answers):
            if broken:
                return trace(exploration.template, taken, answers)
    return ()


def idle_parties(exploration: Exploration) -> list[Finding]:
    """Return the transitions that policies never let anybody take, and the parties in vain."""
    found: list[Finding] = []
    permitted = {(taken.name, taken.party) for taken in exploration.taken}
    reached = {taken.name for taken in exploration.taken}
    for name, transition in exploration.template.transitions.items():
        if not is_judged(transition):
            continue
        place = ("transitions", name)
        if not any((name, party) in permitted for party in transition.by):
            message = f"{name}: the policies never permit it to any of its parties"
            if name not in reached:
                found.append(Finding("policy-never-permits", message, place))
            continue
        found += [
            Finding(
                "party-never-permitted",
                f"{name}: the policies never permit it to {party}",
                place,
                is_fault=False,
            )
            for party in transition.by
            if (name, party) not in permitted
        ]
    return found
