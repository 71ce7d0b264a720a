"""That every argument of an instruction is of the kind that the instruction reads.

An instruction is total for arguments of its kinds. What a template computes is known before any
instance is: terms and arguments are typed, variables come from expressions or from reports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cipherward_chain.canonical import Value
from cipherward_contract.analysis.findings import Finding
from cipherward_contract.instructions.notices import KINDS
from cipherward_contract.templates.document import Template, Transition
from cipherward_contract.templates.expressions import (
    FIXED_NAMES,
    Expression,
    Joined,
    Literal,
    Path,
)
from cipherward_contract.templates.types import FieldType

TEXT, OCTETS, NUMBER, NAMES, MAP, FLAG = "a text", "bytes", "a number", "a list", "a map", "a flag"

# What each argument of the closed list is: the same name is the same thing in every instruction.
ARGUMENT_KINDS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("authorities", "budget", "ca_certificate", "cause", "custodian", "data_set"),
            *("ground", "kind", "member", "name", "profile", "purpose", "recipient", "scope"),
            *("stage", "step"),
        ),
        TEXT,
    ),
    **dict.fromkeys(
        (
            *("anchor_digest", "ceremony", "ciphertext", "consensus_public_key", "digest", "grant"),
            *("custodian_public_key", "issuer_public_key", "key_digest", "node_id", "opening_key"),
            *("permit", "pseudonym", "public_key", "reader", "reader_key", "recipient_key"),
            *("record", "requester_key_digest", "seed", "slot_digest", "spec_digest", "study"),
            *("iterate", "old", "source", "warrant"),
        ),
        OCTETS,
    ),
    **dict.fromkeys(
        (
            *("amount", "due", "ends", "height", "index", "key_epoch", "limit", "minimum"),
            *("old_threshold", "releases_max", "round", "seconds", "sharing", "start", "threshold"),
            *("version", "window"),
        ),
        NUMBER,
    ),
    **dict.fromkeys(
        (
            *("dealers", "guardians", "holders", "members", "new", "outputs", "recipients"),
            "set",
        ),
        NAMES,
    ),
    **dict.fromkeys(("commitments", "reveals", "verdicts"), MAP),
}
# Numbers of which none, or less, would be refused by the instruction itself.
_LEAST: Mapping[str, int] = {"version": 1}

_FIELD_KINDS: Mapping[str, str] = {
    **dict.fromkeys(("int", "time", "quorum", "count"), NUMBER),
    **dict.fromkeys(("members", "texts", "data_sets"), NAMES),
    **dict.fromkeys(
        ("bytes", "digest", "instance", "pseudonym", "public_key", "sealing_key"), OCTETS
    ),
    "flag": FLAG,
}
_KEPT_KINDS: Mapping[str, str] = {"digests": MAP, "agreed_digest": OCTETS, "agreed_set": NAMES}
_FIXED: Mapping[str, str] = {
    **dict.fromkeys(("record.author", "record.custodian"), TEXT),
    **dict.fromkeys(("actor.member", "actor.scope", "actor.role", "ceremony.purpose"), TEXT),
    **dict.fromkeys(("block.time", "registry.next_index", "record.key_epoch"), NUMBER),
    **dict.fromkeys((f"parameters.{name}" for name in sorted(FIXED_NAMES["parameters"])), NUMBER),
    **dict.fromkeys(("record.guardians", "record.members", "record.keepers"), NAMES),
    **dict.fromkeys(("subject.guardians", "ceremony.guardians"), NAMES),
    **dict.fromkeys(("ceremony.members", "ceremony.dealers"), NAMES),
    **dict.fromkeys((f"subject.{name}" for name in ("key_epoch", "sharing", "threshold")), NUMBER),
    **dict.fromkeys(
        (f"ceremony.{name}" for name in ("key_epoch", "sharing", "threshold", "window", "start")),
        NUMBER,
    ),
}


def argument_findings(template: Template) -> Iterator[Finding]:
    """Yield the arguments that are of another kind than their instruction reads."""
    variables = _variables(template)
    for name, transition in template.transitions.items():
        for order, arguments in transition.effects.instructions:
            for argument, expression in arguments.items():
                wanted = ARGUMENT_KINDS.get(argument, "")
                found = _kinds(template, transition, variables, expression)
                wrong = sorted(found - {wanted})
                if wrong:
                    yield _finding(name, order, f"{argument} is {wrong[0]}, and must be {wanted}")
                elif not _is_in_bounds(template, transition, argument, expression):
                    yield _finding(name, order, f"{argument} can be too small")
                elif argument == "kind" and not _is_told(expression):
                    yield _finding(name, order, f"kind must be one of {', '.join(sorted(KINDS))}")


def _finding(name: str, order: str, what: str) -> Finding:
    return Finding("arguments", f"{name}: {order}: {what}", ("transitions", name))


def _is_in_bounds(
    template: Template, transition: Transition, argument: str, expression: Expression
) -> bool:
    """Say whether a number cannot be below what an instruction takes."""
    if ARGUMENT_KINDS.get(argument) != NUMBER:
        return True
    least = _LEAST.get(argument, 0)
    if isinstance(expression, Literal):
        return isinstance(expression.value, int) and expression.value >= least
    if not isinstance(expression, Path):
        return True
    types: Mapping[str, Mapping[str, FieldType]] = {
        "terms": template.terms,
        "arguments": transition.arguments,
    }
    kind = types.get(expression.root, {}).get(expression.name)
    return kind is None or kind.kind != "int" or kind.numbers[0] >= least


def _is_told(expression: Expression) -> bool:
    return isinstance(expression, Literal) and expression.value in KINDS


def _variables(template: Template) -> dict[str, set[str]]:
    """Return the kinds that each variable may have, over everything that ever sets it."""
    found: dict[str, set[str]] = {"failure": {TEXT}, "silent": {NAMES}, "votes": {MAP}}
    for transition in template.transitions.values():
        if transition.step is not None:
            for name, form in transition.step.keep.items():
                found.setdefault(name, set()).add(_KEPT_KINDS[form])
    for _ in template.transitions:  # a variable may be set from another one
        for transition in template.transitions.values():
            for name, expression in transition.effects.sets.items():
                kinds = _kinds(template, transition, found, expression)
                found.setdefault(name, set()).update(kinds)
    return found


def _kinds(
    template: Template,
    transition: Transition,
    variables: Mapping[str, set[str]],
    expression: Expression,
) -> set[str]:
    """Return the kinds that an expression's value may have; none while nothing is known."""
    if isinstance(expression, Literal):
        return {_kind_of(expression.value)}
    if isinstance(expression, Joined):
        return {TEXT}
    if not isinstance(expression, Path):
        return {NUMBER}
    if expression.root == "variables":
        return variables.get(expression.name, set())
    types = {"terms": template.terms, "arguments": transition.arguments}.get(expression.root)
    if types is None:
        return {_FIXED.get(f"{expression.root}.{expression.name}", OCTETS)}
    kind = types.get(expression.name)
    return set() if kind is None else {_FIELD_KINDS.get(kind.kind, TEXT)}


def _kind_of(value: Value) -> str:
    if isinstance(value, bool):
        return FLAG
    for kind, name in ((int, NUMBER), (str, TEXT), (bytes, OCTETS), (list, NAMES)):
        if isinstance(value, kind):
            return name
    return MAP
