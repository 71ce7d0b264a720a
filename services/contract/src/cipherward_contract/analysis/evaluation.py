"""Our own evaluator of policies, over worlds of which not everything is known.

Three values: true, false, erring. As in Cedar, the right side of `&&` and `||` is looked at only
when the left side leaves it open, and a policy that errs denies, whatever the others say.
A test holds it against Cedar itself on random requests.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cedarpy

from cipherward_contract.analysis.conditions import (
    Among,
    Both,
    Choice,
    Condition,
    Either,
    Est,
    Fixed,
    Flag,
    Not,
    Opaque,
    Order,
    Reading,
    Same,
    Text,
)
from cipherward_contract.analysis.linear import Linear
from cipherward_contract.analysis.vocabulary import Vocabulary


class Erred(Exception):
    """An expression cannot be evaluated in this world; Cedar would skip its policy."""


class World(Protocol):
    """What is the case. Adapters: the worlds of an exploration, and one request in tests."""

    def text(self, path: str) -> str:
        """Return a text attribute."""
        ...

    def flag(self, path: str) -> bool:
        """Return a boolean attribute."""
        ...

    def among(self, path: str, element: str) -> bool:
        """Say whether a set attribute holds a text."""
        ...

    def signs(self, form: Linear) -> frozenset[int]:
        """Return the signs (-1, 0, 1) that a sum may have: all that no policy tells apart."""
        ...

    def opaque(self, atom: Opaque) -> bool:
        """Say whether an opaque atom holds, or raise `Erred`."""
        ...


_SIGNS = {"<": frozenset({-1}), "<=": frozenset({-1, 0}), "==": frozenset({0})}


def holds(condition: Condition, world: World) -> bool:
    """Say whether a condition holds in a world.

    Raises:
        Erred: it cannot be evaluated there.
    """
    match condition:
        case Fixed(value):
            return value
        case Flag(path):
            return world.flag(path)
        case Not(part):
            return not holds(part, world)
        case Both(left, right):
            return holds(left, world) and holds(right, world)
        case Either(left, right):
            return holds(left, world) or holds(right, world)
        case Choice(asked, then, otherwise):
            return holds(then if holds(asked, world) else otherwise, world)
        case Order(form, sign):
            return world.signs(form) <= _SIGNS[sign]
        case Same(left, right):
            return _text(left, world) == _text(right, world)
        case Among(path, element):
            return world.among(path, _text(element, world))
        case Opaque():
            return world.opaque(condition)


def _text(text: Text, world: World) -> str:
    return world.text(text.word) if text.is_path else text.word


@dataclass(frozen=True, slots=True)
class Rule:
    """One policy, as far as it concerns one transition."""

    id: str
    permits: bool
    conditions: tuple[tuple[Condition, bool], ...]  # each with what it must come to

    @property
    def may_err(self) -> bool:
        """Whether some world makes it err."""
        return any(_may_err(condition) for condition, _ in self.conditions)

    def applies(self, world: World) -> bool:
        """Say whether the policy is satisfied, or raise `Erred`."""
        return all(holds(condition, world) is wanted for condition, wanted in self.conditions)


def _may_err(condition: Condition) -> bool:
    return any(isinstance(atom, Opaque) and atom.errs for atom in atoms(condition))


def atoms(condition: Condition) -> list[Condition]:
    """Return the atoms of a condition, in the order of the text."""
    match condition:
        case Not(part):
            return atoms(part)
        case Both(left, right) | Either(left, right):
            return [*atoms(left), *atoms(right)]
        case Choice(asked, then, otherwise):
            return [*atoms(asked), *atoms(then), *atoms(otherwise)]
        case _:
            return [condition]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision, and the policy that made it: "" when none permitted."""

    allowed: bool
    policy: str = ""
    erred: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """The policies of one transition: what may err first, then what forbids, then what permits.

    In that order a world is asked for no more than the decision needs.
    """

    erring: tuple[Rule, ...]
    forbids: tuple[Rule, ...]
    permits: tuple[Rule, ...]

    @classmethod
    def of(cls, rules: Sequence[Rule]) -> Rules:
        """Return the rules in the order of asking."""
        return cls(
            tuple(rule for rule in rules if rule.may_err),
            tuple(rule for rule in rules if not rule.permits),
            tuple(rule for rule in rules if rule.permits),
        )

    def decide(self, world: World) -> Verdict:
        """Return the decision in a world: default deny, forbid wins, an error denies."""
        for rule in self.erring:
            try:
                rule.applies(world)
            except Erred:
                return Verdict(False, rule.id, erred=True)
        for rule in self.forbids:
            if rule.applies(world):
                return Verdict(False, rule.id)
        for rule in self.permits:
            if rule.applies(world):
                return Verdict(True, rule.id)
        return Verdict(False)

    def conditions(self) -> list[Condition]:
        """Return every condition of every rule."""
        rules = (*self.forbids, *self.permits)
        return [condition for rule in rules for condition, _ in rule.conditions]


def read_rules(policies: str, transition: str, vocabulary: Vocabulary) -> Rules:
    """Return the policies that concern a transition; they were validated before.

    Raises:
        ValueError: they do not parse.
    """
    parsed: dict[str, Any] = json.loads(cedarpy.policies_to_json_str(policies))
    reading = Reading(vocabulary)
    found = [
        Rule(
            id=policy["annotations"].get("id") or "",
            permits=policy["effect"] == "permit",
            conditions=(*_scope(policy), *_bodies(policy, reading)),
        )
        for policy in map(_with_annotations, parsed["staticPolicies"].values())
        if _concerns(policy["action"], transition)
    ]
    return Rules.of(sorted(found, key=lambda rule: rule.id))


def read_condition(text: str, vocabulary: Vocabulary) -> Condition:
    """Return the condition that one Cedar expression is, or raise ValueError."""
    wrapped = f"permit (principal, action, resource) when {{ {text} }};"
    parsed: dict[str, Any] = json.loads(cedarpy.policies_to_json_str(wrapped))
    (policy,) = parsed["staticPolicies"].values()
    (only,) = policy["conditions"]
    return Reading(vocabulary).condition(only["body"])


def _bodies(policy: dict[str, Any], reading: Reading) -> list[tuple[Condition, bool]]:
    return [(reading.condition(c["body"]), c["kind"] == "when") for c in policy["conditions"]]


def _with_annotations(policy: dict[str, Any]) -> dict[str, Any]:
    return {"annotations": {}, **policy}


def _concerns(action: Est, transition: str) -> bool:
    if action["op"] == "All":
        return True
    named = action["entities"] if "entities" in action else [action["entity"]]
    return any(entity["id"] == transition for entity in named)


_WHOLE = {"principal": "Actor", "resource": "Instance"}


def _scope(policy: dict[str, Any]) -> tuple[tuple[Condition, bool], ...]:
    """Return what the policy's head asks of principal and resource: there is only one of each."""
    found: list[tuple[Condition, bool]] = []
    for name, kind in _WHOLE.items():
        head = policy[name]
        if head["op"] == "All" or (head["op"] == "is" and head["entity_type"] == kind):
            continue
        found.append((Opaque(json.dumps({name: head}, sort_keys=True), errs=False), True))
    return tuple(found)
