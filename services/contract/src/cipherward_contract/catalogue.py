"""The templates of a chain, compiled once a version: parsed, checked, policies parsed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from cipherward_contract.entries import template_key
from cipherward_contract.instructions.disclosing import DISCLOSE
from cipherward_contract.instructions.releasing import RELEASE_KEY
from cipherward_contract.marks import active_from, active_key
from cipherward_contract.policies import Policies
from cipherward_contract.template_versions import versions_of
from cipherward_contract.templates.checks import check_template
from cipherward_contract.templates.document import Template, Transition
from cipherward_contract.templates.parsing import parse_template

# A beginning, a proposal, the end of its vote and the first use all ask for the same document, and
# compiling it takes some 10 ms. More than a release ships and than are voted on at a time; a
# document has at most 64 KiB.
COMPILED_MAX = 64


class HasTemplates(Protocol):
    """Where the documents are: the state."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None."""
        ...

    def committed(self, key: bytes) -> bytes | None:
        """Return what was committed under `key`, or None."""
        ...

    def scan(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` pairs from `start` up to, not including, `end`."""
        ...


@dataclass(frozen=True, slots=True)
class Compiled:
    """A template with its parsed policies.

    releases: one of its transitions may release a record's key, so a record must have named it.
    active_from: since when, in Unix seconds, it may be instantiated.
    """

    template: Template
    policies: Policies
    releases: bool
    active_from: int = 0


@lru_cache(COMPILED_MAX)
def compile_template(document: bytes) -> Compiled:
    """Return a template that may be deployed, or raise `TemplateMalformed` with the faults."""
    template = parse_template(document)
    check_template(template)
    transitions = template.transitions.values()
    releases = any(transition.orders(RELEASE_KEY.name) for transition in transitions)
    return Compiled(template, Policies(template), releases)


class Catalogue:
    """Compiled templates by name and version; a version's document never changes.

    Only what is committed is kept: the transaction that registers a template may still be undone.
    """

    def __init__(self) -> None:
        self._compiled: dict[tuple[str, int], Compiled] = {}

    def find(self, state: HasTemplates, name: str, version: int) -> Compiled | None:
        """Return the template that the state holds, or None."""
        found = self._compiled.get((name, version))
        if found is not None:
            return found
        document = state.get(template_key(name, version))
        if document is None:
            return None
        since = state.get(active_key(name, version))
        found = compile_template(document)
        found = replace(found, active_from=0 if since is None else active_from(since))
        if state.committed(template_key(name, version)) is not None:
            self._compiled[name, version] = found
        return found

    def newest(self, state: HasTemplates, name: str, now: int) -> Compiled | None:
        """Return the highest version of a template that may be instantiated at `now`, or None."""
        versions = sorted(versions_of(state, name), reverse=True)
        for version in versions:
            found = self.find(state, name, version)
            if found is not None and found.active_from <= now:
                return found
        return None


def asks_for_access(transition: Transition) -> bool:
    """Say whether a transition opens a record, so that even a refused attempt is kept for its
    owner.
    """
    return transition.orders(DISCLOSE.name)
