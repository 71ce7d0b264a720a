"""Decisions by Cedar: one policy set per template version, parsed once; terms are entity
attributes.

The schema is made from the template's types, so policies are always validated against what they
will be asked about. Default deny; `forbid` wins; **an evaluation error is a denial**, because Cedar
skips a policy that errs, a `forbid` too. Inputs are the state and the block's time only; no floats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import cedarpy

from cipherward_chain.canonical import Value
from cipherward_contract.named_attributes import named_attributes
from cipherward_contract.templates.document import Template, TemplateMalformed
from cipherward_contract.templates.types import FieldType
from cipherward_contract.templates.values import for_policy

POLICIES_MAX = 32  # a decision takes about 0.05 ms; with a thousand policies it would take 1 ms
PRINCIPALS_MAX = 256  # parties and role, for most templates: a handful of each

ACTOR_TYPE, INSTANCE_TYPE = "Actor", "Instance"
_ACTOR = (
    "entity Actor = {kind: String, member: String, schema: String, role: String, scope: String,"
    " key: String, parties: Set<String>};"
)
_PRINCIPAL = {"type": ACTOR_TYPE, "id": "actor"}
_RESOURCE = {"type": INSTANCE_TYPE, "id": "instance"}


@dataclass(frozen=True, slots=True)
class Request:
    """What a policy is asked about.

    actor: the attributes of the entity Actor; parties sorted.
    instance: `state`, `uses`, `owner`, `creator`, `author`, `custodian`; keys as hex.
    terms, arguments: checked values.
    now: the block's time in Unix seconds.
    """

    action: str
    actor: Mapping[str, str | list[str]]
    instance: Mapping[str, str | int]
    terms: Mapping[str, Value]
    arguments: Mapping[str, Value]
    now: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policies said: the sorted ids of those that decided; `erred` denies whatever they
    said.
    """

    allowed: bool
    policies: tuple[str, ...]
    erred: bool = False


def cedar_schema(template: Template) -> str:
    """Return the Cedar schema that a template's types amount to."""
    lines = [
        _ACTOR,
        "entity Instance = {state: String, uses: Long, owner: String, creator: String,"
        f" author: String, custodian: String, terms: {_record(template.terms)}}};",
    ]
    for name in sorted(template.transitions):
        transition = template.transitions[name]
        if transition.kind in ("transition", "vote"):
            arguments = dict(transition.arguments)
            if transition.kind == "vote":
                arguments["approve"] = FieldType("text")
            lines.append(
                f'action "{name}" appliesTo {{principal: [Actor], resource: [Instance],'
                f" context: {{now: Long, arguments: {_record(arguments)}}}}};"
            )
    return "\n".join(lines)


def _record(types: Mapping[str, FieldType]) -> str:
    return "{" + ", ".join(f'"{name}": {types[name].cedar}' for name in sorted(types)) + "}"


class Policies:
    """The parsed policies of one template version."""

    def __init__(self, template: Template) -> None:
        """Parse and validate.

        Raises:
            TemplateMalformed: they do not parse, do not validate against the schema, are too many,
                or one has no `@id` of its own.
        """
        try:
            source = json.loads(cedarpy.policies_to_json_str(template.policies))
            self._parsed = cedarpy.PolicySet.from_str(template.policies)
            faults = _validation_faults(template)
        except ValueError as error:
            raise TemplateMalformed(f"policies do not parse: {error}") from error
        if faults:
            raise TemplateMalformed(f"policies do not fit the template: {'; '.join(faults)}")
        self.ids = _policy_ids(source)
        self._named = named_attributes(source)

    def decide(self, request: Request) -> Decision:
        """Return the decision; the same request gives the same bytes on every machine."""
        instance = {**self._asked_of(request.instance), "terms": self._asked_of(request.terms)}
        principal = _principal(json.dumps(self._asked_of(request.actor)))
        resource = _entity(_RESOURCE, json.dumps(instance))
        entities = principal.with_added_json_str(resource)  # pyright: ignore[reportUnknownMemberType] - its dicts have no types
        context = {"now": request.now, "arguments": self._asked_of(request.arguments)}
        asked: dict[str, object] = {
            "principal": _PRINCIPAL,
            "action": {"type": "Action", "id": request.action},
            "resource": _RESOURCE,
            "context": json.dumps(context),
        }
        return _evaluate(asked, self._parsed, entities)

    def _asked_of(self, values: Mapping[str, Value]) -> dict[str, object]:
        """Return those of the values that a policy may ask for, as policies see them."""
        named = values.keys() if self._named is None else self._named
        return {name: for_policy(value) for name, value in values.items() if name in named}


@lru_cache(PRINCIPALS_MAX)
def _principal(attributes: str) -> cedarpy.Entities:
    """Return the entity of who acts; many are alike in all that a template's policies name."""
    return cedarpy.Entities.from_json_str(_entity(_PRINCIPAL, attributes))  # pyright: ignore[reportUnknownMemberType] - as above


def _entity(uid: Mapping[str, str], attributes: str) -> str:
    """Return Cedar's JSON of one entity; `attributes` are JSON."""
    kind, name = uid["type"], uid["id"]
    return f'[{{"uid":{{"type":"{kind}","id":"{name}"}},"attrs":{attributes},"parents":[]}}]'


def _evaluate(
    asked: dict[str, object], policies: cedarpy.PolicySet, entities: cedarpy.Entities
) -> Decision:
    ask = cast("Callable[..., cedarpy.AuthzResult]", cedarpy.is_authorized)  # pyright: ignore[reportUnknownMemberType] - its dicts have no types
    answer = ask(asked, policies, entities)
    diagnostics = answer.diagnostics
    named = cast(
        "dict[str, str]",
        diagnostics.id_annotations_by_reason,  # pyright: ignore[reportUnknownMemberType] - as above
    )
    ids = tuple(sorted(named[reason] for reason in diagnostics.reasons))
    erred = bool(diagnostics.errors) or answer.decision is cedarpy.Decision.NoDecision
    return Decision(answer.allowed and not erred, ids, erred)


def _validation_faults(template: Template) -> list[str]:
    validate = cast("Callable[..., cedarpy.ValidationResult]", cedarpy.validate_policies)  # pyright: ignore[reportUnknownMemberType] - as above
    found = validate(template.policies, cedar_schema(template))
    return sorted({str(error) for error in found.errors} or {"invalid"}) if not found else []


def _policy_ids(source: dict[str, Any]) -> tuple[str, ...]:
    """Return the sorted `@id`s of a policy set in Cedar's JSON form."""
    found: list[str] = []
    for policy in source.get("staticPolicies", {}).values():
        found.append(policy.get("annotations", {}).get("id") or "")
    if source.get("templates"):
        raise TemplateMalformed("policies have slots; nothing would fill them")
    if not 1 <= len(found) <= POLICIES_MAX:
        raise TemplateMalformed(f"a template has 1 to {POLICIES_MAX} policies")
    if "" in found or len(set(found)) != len(found):
        raise TemplateMalformed("every policy needs an @id of its own")
    return tuple(sorted(found))
