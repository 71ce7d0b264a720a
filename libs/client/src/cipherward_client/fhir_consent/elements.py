"""Typed reading of FHIR's JSON: an element of another type, or one unread, is a finding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from cipherward_client.fhir_consent.findings import Findings

# What any element may have and what changes nothing of its meaning.
_HARMLESS = frozenset({"id"})


class Element:
    """One JSON object with its path; every name must be read, or be refused by `end`."""

    def __init__(self, value: Mapping[str, Any], path: str, findings: Findings) -> None:
        self.path = path
        self._value = value
        self._findings = findings
        self._read: set[str] = set(_HARMLESS)

    def refuse(self, name: str, why: str) -> None:
        """Note that the element called `name` is refused."""
        self._read.add(name)
        self._findings.add(f"{self.path}.{name}", why)

    def refuse_here(self, why: str) -> None:
        """Note that this element is refused as a whole."""
        self._findings.add(self.path, why)

    def has(self, name: str) -> bool:
        """Say whether the element has a part of that name."""
        return name in self._value

    def raw(self, name: str) -> Any:
        """Take a part as it is, to be kept; None if it is not there."""
        self._read.add(name)
        return self._value.get(name)

    def text(self, name: str) -> str:
        """Take a non-empty string; "" if it is not there or is none."""
        value = self.raw(name)
        if value is None:
            return ""
        if not isinstance(value, str) or not value:
            self._findings.add(f"{self.path}.{name}", "not a text")
            return ""
        return value

    def child(self, name: str) -> Element | None:
        """Take an object; None if it is not there or is none."""
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            self._findings.add(f"{self.path}.{name}", "not an object")
            return None
        return Element(cast("dict[str, Any]", value), f"{self.path}.{name}", self._findings)

    def children(self, name: str) -> Iterator[Element]:
        """Take a list of objects; none if it is not there."""
        value = self.raw(name)
        if value is None:
            return
        if not isinstance(value, list) or not value:
            self._findings.add(f"{self.path}.{name}", "not a list with something in it")
            return
        for place, item in enumerate(cast("list[Any]", value)):
            path = f"{self.path}.{name}[{place}]"
            if isinstance(item, dict):
                yield Element(cast("dict[str, Any]", item), path, self._findings)
            else:
                self._findings.add(path, "not an object")

    def end(self) -> None:
        """Refuse everything that was not read: what is not understood may change the meaning."""
        for name in sorted(set(self._value) - self._read):
            why = (
                "must be understood, and is not"
                if name == "modifierExtension"
                else "not known here"
            )
            self._findings.add(f"{self.path}.{name}", why)

    def document(self) -> Mapping[str, Any]:
        """Return the object itself; read-only by agreement."""
        return self._value
