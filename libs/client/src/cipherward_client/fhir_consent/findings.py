"""What of a FHIR Consent cannot be said as a contract: every element, by its path, at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One element that is refused.

    path: FHIRPath of the element, as `Consent.provision.purpose[1]`.
    why: in words, with what to do instead.
    """

    path: str
    why: str


class ConsentNotExpressible(ValueError):
    """A FHIR Consent says what no contract says, or is no Consent; nothing is approximated."""

    reason = "CONSENT_NOT_EXPRESSIBLE"

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("; ".join(f"{one.path}: {one.why}" for one in findings))
        self.findings = tuple(findings)


class Findings:
    """Collects findings, so that an author sees all of them at once."""

    def __init__(self) -> None:
        self._found: list[Finding] = []

    def add(self, path: str, why: str) -> None:
        """Note that the element at `path` is refused."""
        self._found.append(Finding(path, why))

    def stop(self) -> None:
        """Raise `ConsentNotExpressible` if anything was found."""
        if self._found:
            raise ConsentNotExpressible(self._found)
