"""What was shown about a template, line by line, in words that its members read before a vote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cipherward_contract.analysis.exploration import Exploration, Taken
from cipherward_contract.analysis.graph import by_instruction, worst_cost
from cipherward_contract.analysis.properties import Property
from cipherward_contract.analysis.wording import conditions, purposes, readers, verb
from cipherward_contract.instructions.releasing import RELEASE_KEY
from cipherward_contract.templates.document import Template
from cipherward_contract.templates.expressions import Expression, Path


def report_of(exploration: Exploration, shown: Sequence[Property]) -> tuple[str, ...]:
    """Return the report of a template without faults."""
    template = exploration.template
    about = f"about the record {template.object_term}" if template.object_term else "about itself"
    if template.unclaimed:
        about += ", also while nobody owns it"
    return (
        f"{template.name} version {template.version}: {about}",
        *(_state(exploration, state) for state in template.states.names),
        *_instructions(exploration),
        *(f"never {one.never.id}: holds" for one in shown),
        worst_cost(template).in_words(),
        f"told {exploration.points} points of histories apart,"
        f" by {exploration.effort.questions} questions",
    )


def _taken(exploration: Exploration, name: str, state: str) -> list[Taken]:
    return [one for one in exploration.taken if one.name == name and one.source.state == state]


def _state(exploration: Exploration, state: str) -> str:
    template = exploration.template
    if state in template.states.finals:
        return f"state {state}: final"
    reads: list[str] = []
    ended: list[str] = []
    other: list[str] = []
    for name, transition in template.transitions.items():
        if state not in transition.sources:
            if transition.target == state and transition.orders(RELEASE_KEY.name):
                ways = [one for one in exploration.taken if one.name == name]
                reads += [f"{who} ({verb(name)})" for who in readers(ways)]
            continue
        ways = _taken(exploration, name, state)
        if transition.orders(RELEASE_KEY.name):
            reads += [f"{who} ({name})" for who in readers(ways)]
        elif transition.kind == "timer":
            ended.append(f"by timer ({_when(template, state)}) to {transition.target}")
        elif transition.kind in ("transition", "vote"):
            who = ", ".join(readers(ways)) or "nobody"
            votes = " by vote" if transition.kind == "vote" else ""
            line = f"by {who} ({name}{votes}) to {transition.target}"
            (ended if transition.target in template.states.finals else other).append(line)
        else:
            other.append(f"{name} ({transition.kind}) to {transition.target}")
    parts = [
        f"read by {', '.join(reads)}" if reads else "",
        f"ended {', '.join(ended)}" if ended else "",
        f"goes on {', '.join(other)}" if other else "",
    ]
    return f"state {state}: " + "; ".join(part for part in parts if part)


def _when(template: Template, state: str) -> str:
    timer = template.timer_of(state)
    assert timer is not None  # a transition of kind timer leaves the state by it
    return ("at " if timer.is_absolute else "after ") + _expression(timer.when)


def _expression(expression: Expression) -> str:
    if isinstance(expression, Path):
        return f"{expression.root}.{expression.name}"
    paths = expression.paths()
    return " and ".join(f"{path.root}.{path.name}" for path in paths) if paths else "a fixed time"


def _instructions(exploration: Exploration) -> Iterator[str]:
    template = exploration.template
    for order, names in by_instruction(template).items():
        ways = [f"{verb(name)} {_by(exploration, name)}" for name in names]
        yield f"{order}: given by {'; by '.join(ways)}"


def _by(exploration: Exploration, name: str) -> str:
    template = exploration.template
    transition = template.transitions[name]
    ways = [one for one in exploration.taken if one.name == name]
    states = sorted({one.source.state for one in ways} - {""})
    parts = [f"from {', '.join(states)}"] if states else []
    if transition.kind not in ("transition", "vote"):
        return " ".join([f"({transition.kind})", *parts])
    parts.insert(0, f"by {', '.join(readers(ways)) or 'nobody'}")
    claimed = purposes(ways)
    if claimed:
        parts.append(f"for {', '.join(claimed)}")
    always = conditions(ways)
    if always:
        parts.append(f"only while {' and '.join(always)}")
    return " ".join(parts)
