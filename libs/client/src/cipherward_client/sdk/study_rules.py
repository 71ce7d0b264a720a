"""Which rule of which contract every act of a study is held to: read from the proven templates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from cipherward_chain.canonical import decode_map
from cipherward_client.sdk.column_studies import template_of
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.templates import ActiveTemplate, get_template
from cipherward_studies.spec import Draft

PERMIT = "data-permit"
# Acts of people and of members' services; what a contract does by itself has no policy.
_KINDS = ("transition", "vote", "report")
_POLICY = re.compile(r'@id\("([^"]+)"\)\s*(?:permit|forbid)\s*\(([^)]*)\)')
_ACTION = re.compile(r'Action::"([^"]+)"')


@dataclass(frozen=True, slots=True)
class Rule:
    """One act, and what decides about it.

    Attributes:
        contract: template and version, as `study/1`.
        states: in which it is possible; empty for the act that begins the contract.
        by: who may act: parties of the contract; for a report, the members that an order names.
        needed: how many of them: a term's name, a number or `all`; empty for one.
        policies: sorted ids of the policies that decide; empty for reports, which orders decide.
        orders: what the contract then orders the members' services, and the budgets it spends.
    """

    contract: str
    act: str
    states: tuple[str, ...]
    to: str
    by: tuple[str, ...]
    needed: str
    policies: tuple[str, ...]
    orders: tuple[str, ...]

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            name: list(cast("tuple[str, ...]", value)) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


async def study_rules(alliance: Alliance, draft: Draft) -> tuple[Rule, ...]:
    """Return the rules of permits and of a study's own contract, as the chain proves them.

    Raises:
        ClientError: a template is not active, or what was answered is not proven.
    """
    found: list[Rule] = []
    for name in (PERMIT, template_of(draft)):
        found += rules_of(await get_template(alliance, name))
    return tuple(found)


def rules_of(template: ActiveTemplate) -> tuple[Rule, ...]:
    """Return the rules that a template has for people and services."""
    document = cast("Mapping[str, Any]", decode_map(template.document))
    policies = _policies(document["policies"])
    transitions = cast("Mapping[str, Mapping[str, Any]]", document["transitions"])
    found = [
        Rule(
            contract=f"{template.name}/{template.version}",
            act=name,
            states=tuple(entry.get("from", ())),
            to=entry["to"],
            by=tuple(entry.get("by", ("member",) if entry["kind"] == "report" else ())),
            needed=str(entry.get("quorum", "")),
            policies=() if entry["kind"] == "report" else policies.get(name, ()),
            orders=tuple(_order(one) for one in entry.get("instructions", ())),
        )
        for name, entry in transitions.items()
        if entry["kind"] in _KINDS
    ]
    order = {state: place for place, state in enumerate(document["states"])}
    found.sort(key=lambda rule: min((order[state] for state in rule.states), default=-1))
    return tuple(found)


def _policies(text: str) -> dict[str, tuple[str, ...]]:
    """Return the ids of the policies that name an action, by action."""
    found: dict[str, set[str]] = {}
    for policy, scope in _POLICY.findall(text):
        for action in _ACTION.findall(scope):
            found.setdefault(action, set()).add(policy)
    return {action: tuple(sorted(ids)) for action, ids in found.items()}


def _order(instruction: Mapping[str, Any]) -> str:
    """Return an instruction in words: its name, and what a budget is of."""
    name = str(instruction["order"])
    given = cast("Mapping[str, Any]", instruction.get("with", {}))
    if name == "spend_budget":
        return f"{name} of {_words(given['budget'])}"
    steps = [_words(given[word]) for word in ("stage", "step") if word in given]
    return " ".join([name, *steps])


def _words(expression: object) -> str:
    if not isinstance(expression, Mapping):
        return str(expression)
    entries = cast("Mapping[str, object]", expression)
    if "value" in entries:
        return str(entries["value"])
    parts = cast("Sequence[object]", next(iter(entries.values())))
    return " + ".join(_words(one) for one in parts)
