"""What policies may speak of in one transition: every attribute's path and Cedar type.

It is read from the same schema that Cedar validates the policies against
(`policies.cedar_schema`), so that the two cannot differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cipherward_contract.policies import cedar_schema
from cipherward_contract.templates.document import Template

TEXT, NUMBER, FLAG, TEXTS = "String", "Long", "Bool", "Set<String>"
NOW, USES, STATE = "context.now", "resource.uses", "resource.state"
TERMS, ARGUMENTS = "resource.terms.", "context.arguments."

_TOKEN = re.compile(r'"([^"]*)"|([A-Za-z_][A-Za-z0-9_]*(?:<[A-Za-z]+>)?)|([{}:,])')
_ACTION = re.compile(r'action "([^"]+)" appliesTo \{.*?context: (\{.*\})\};')


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The Cedar type of every path in one transition, as `resource.terms.expires`."""

    types: Mapping[str, str]

    def has(self, path: str) -> bool:
        """Say whether something is at `path`, or below it."""
        return path in self.types or any(one.startswith(f"{path}.") for one in self.types)


def vocabularies(template: Template) -> dict[str, Vocabulary]:
    """Return the vocabulary of every transition.

    A transition that nobody takes by an act has no arguments; its principal has no party.
    """
    lines = cedar_schema(template).split("\n")
    common: dict[str, str] = {}
    contexts: dict[str, str] = {}
    for line in lines:
        for root, entity in (("principal", "Actor"), ("resource", "Instance")):
            if line.startswith(f"entity {entity} = "):
                common.update(_paths(root, line.split("=", 1)[1]))
        found = _ACTION.fullmatch(line)
        if found:
            contexts[found[1]] = found[2]
    plain = "{now: Long, arguments: {}}"
    return {
        name: Vocabulary({**common, **_paths("context", contexts.get(name, plain))})
        for name in template.transitions
    }


def schema_with(template: Template) -> str:
    """Return the Cedar schema with an action for every transition, also where no act takes it."""
    acts = cedar_schema(template)
    others = [
        f'action "{name}" appliesTo {{principal: [Actor], resource: [Instance],'
        " context: {now: Long, arguments: {}}};"
        for name in sorted(template.transitions)
        if f'action "{name}" ' not in acts
    ]
    return "\n".join([acts, *others])


def _paths(root: str, record: str) -> dict[str, str]:
    """Return the type of every path of a record as a Cedar schema writes it."""
    tokens = (quoted or word or sign for quoted, word, sign in _TOKEN.findall(record))
    return dict(_fields(root, tokens, next(tokens)))


def _fields(root: str, tokens: Iterator[str], opening: str) -> Iterator[tuple[str, str]]:
    assert opening == "{", "a schema's record begins with a brace"
    for token in tokens:
        if token == "}":
            return
        if token == ",":
            continue
        assert next(tokens) == ":", "a schema's field has a type"
        kind = next(tokens)
        if kind == "{":
            yield from _fields(f"{root}.{token}", tokens, kind)
        else:
            yield f"{root}.{token}", kind
