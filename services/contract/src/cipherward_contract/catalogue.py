"""The templates of a chain, compiled once a version: parsed, checked, policies parsed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cipherward_contract.entries import template_key
from cipherward_contract.instructions import DISCLOSE
from cipherward_contract.policies import Policies
from cipherward_contract.templates.checks import check_template
from cipherward_contract.templates.document import Template, Transition
from cipherward_contract.templates.parsing import parse_template


class HasTemplates(Protocol):
    """Where the documents are: the state."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Compiled:
    """A template with its parsed policies."""

    template: Template
    policies: Policies


def compile_template(document: bytes) -> Compiled:
    """Return a template that may be deployed, or raise `TemplateMalformed` with the faults."""
    template = parse_template(document)
    check_template(template)
    return Compiled(template, Policies(template))


class Catalogue:
    """Compiled templates by name and version; a version's document never changes."""

    def __init__(self) -> None:
        self._compiled: dict[tuple[str, int], Compiled] = {}

    def find(self, state: HasTemplates, name: str, version: int) -> Compiled | None:
        """Return the template that the state holds, or None."""
        found = self._compiled.get((name, version))
        if found is None:
            document = state.get(template_key(name, version))
            if document is None:
                return None
            found = self._compiled[name, version] = compile_template(document)
        return found


def asks_for_access(transition: Transition) -> bool:
    """Say whether a transition opens a record, so that even a refused attempt is kept for its
    owner.
    """
    return any(name == DISCLOSE for name, _ in transition.effects.instructions)
