"""Reading a template's document: canonical CBOR of exactly one form, nothing unknown, nothing
missing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from cipherward_chain.canonical import NotCanonical, Value, decode_map
from cipherward_chain.fields import Fields
from cipherward_contract.templates.document import (
    KEPT_FORMS,
    KINDS,
    PARTY_KINDS,
    STEP_KINDS,
    Effects,
    Party,
    States,
    Step,
    Template,
    TemplateMalformed,
    Timer,
    Transition,
)
from cipherward_contract.templates.expressions import (
    Expression,
    ExpressionMalformed,
    parse_expression,
)
from cipherward_contract.templates.never import NEVER_MAX, Never, NeverMalformed, parse_never
from cipherward_contract.templates.types import TypeUnknown, parse_type

DOCUMENT_BYTES_MAX = 65_536  # as a transaction: a template must be proposable
NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)

T = TypeVar("T")


def parse_template(document: bytes) -> Template:
    """Return the template that `document` holds.

    Raises:
        TemplateMalformed: not canonical, too large, or not of the form.
    """
    if len(document) > DOCUMENT_BYTES_MAX:
        raise TemplateMalformed(f"a template has at most {DOCUMENT_BYTES_MAX} bytes")
    try:
        fields = Fields(decode_map(document))
        template = Template(
            name=_name(fields.text("name")),
            version=fields.integer("version", minimum=1),
            object_term=fields.text("object"),
            parties=_named(fields.mapping("parties"), _party),
            terms=_named(fields.mapping("terms"), parse_type),
            states=_states(fields),
            transitions=_named(fields.mapping("transitions"), _transition),
            policies=fields.text("policies"),
            digest=hashlib.sha256(document).digest(),
            unclaimed=_optional_flag(fields, "unclaimed"),
            never=_never(fields),
        )
        fields.end()
    except (NotCanonical, ExpressionMalformed, NeverMalformed, TypeUnknown) as error:
        raise TemplateMalformed(str(error)) from error
    return template


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise TemplateMalformed(f"{text[:40]!r} is no name")
    return text


def _named(mapping: Mapping[str, Value], read: Callable[[Value], T]) -> dict[str, T]:
    return {_name(name): read(value) for name, value in mapping.items()}


def _party(value: Value) -> Party:
    fields = Fields(value)
    kind = fields.text("is")
    if kind not in PARTY_KINDS:
        raise TemplateMalformed(f"no party is {kind}")
    party = Party(kind, {name: fields.text(name) for name in PARTY_KINDS[kind]})
    fields.end()
    return party


def _states(fields: Fields) -> States:
    names = fields.texts("states")
    found = States(
        names=tuple(_name(name) for name in names),
        initial=fields.text("initial"),
        finals=frozenset(fields.texts("finals")),
        timers=tuple(_timer(item) for item in fields.items("timers")),
    )
    if len(set(names)) != len(names):
        raise TemplateMalformed("a state is listed twice")
    return found


def _timer(value: Value) -> Timer:
    fields = Fields(value)
    when = fields.mapping("when")
    timer = Timer(
        states=fields.texts("states"),
        transition=fields.text("transition"),
        is_absolute="due" in when,
        when=_only_expression(when),
    )
    fields.end()
    return timer


def _only_expression(when: Mapping[str, Value]) -> Expression:
    if len(when) != 1 or not when.keys() <= {"due", "after"}:
        raise TemplateMalformed("a timer has either due or after")
    (expression,) = when.values()
    return parse_expression(expression)


def _never(fields: Fields) -> tuple[Never, ...]:
    found = [parse_never(item) for item in fields.items("never")] if fields.has("never") else []
    if len(found) > NEVER_MAX or len({one.id for one in found}) != len(found):
        raise TemplateMalformed(
            f"never: at most {NEVER_MAX} properties, each with an id of its own"
        )
    return tuple(found)


def _transition(value: Value) -> Transition:
    fields = Fields(value)
    kind = fields.text("kind")
    if kind not in KINDS:
        raise TemplateMalformed(f"no transition is of kind {kind}")
    found = Transition(
        kind=kind,
        sources=fields.texts("from") if fields.has("from") else (),
        target=fields.text("to"),
        by=fields.texts("by") if fields.has("by") else (),
        arguments=_named(_optional_map(fields, "arguments"), parse_type),
        step=_step(fields, kind) if kind in STEP_KINDS else None,
        effects=_effects(fields),
        gives_up_rights=_optional_flag(fields, "gives_up_rights"),
        exhausted=fields.text("exhausted") if fields.has("exhausted") else "",
    )
    fields.end()
    return found


def _optional_map(fields: Fields, name: str) -> dict[str, Value]:
    return fields.mapping(name) if fields.has(name) else {}


def _optional_flag(fields: Fields, name: str) -> bool:
    return fields.flag(name) if fields.has(name) else False


def _step(fields: Fields, kind: str) -> Step:
    if kind == "ceremony":
        return Step(quorum="", otherwise=fields.text("otherwise"))
    keep: dict[str, str] = {}
    for name, form in _optional_map(fields, "keep").items():
        if not isinstance(form, str) or form not in KEPT_FORMS:
            raise TemplateMalformed(f"reports do not leave {form} behind")
        keep[_name(name)] = form
    return Step(
        quorum=fields.text("quorum"),
        otherwise=fields.text("otherwise"),
        agree=_optional_flag(fields, "agree"),
        failures_end=fields.flag("failures_end") if fields.has("failures_end") else True,
        failure=fields.text("failure") if fields.has("failure") else "",
        keep=keep,
    )


def _effects(fields: Fields) -> Effects:
    instructions: list[tuple[str, Mapping[str, Expression]]] = []
    for item in fields.items("instructions") if fields.has("instructions") else []:
        inner = Fields(item)
        name = inner.text("order")
        arguments = inner.mapping("with")
        inner.end()
        instructions.append((name, {k: parse_expression(v) for k, v in arguments.items()}))
    return Effects(
        instructions=tuple(instructions),
        sets={_name(k): parse_expression(v) for k, v in _optional_map(fields, "sets").items()},
        counts_use=_optional_flag(fields, "counts_use"),
        spends=fields.text("spends") if fields.has("spends") else "",
    )
