"""Who and what the references of a Consent mean: known to the wallet or the hospital, not to FHIR.

A reference is literal (`Organization/x`, looked up here) or an identifier of this alliance's own
systems, which needs no directory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cipherward_client.fhir_consent.codes import KEY_SYSTEM, MEMBER_SYSTEM, RECORD_SYSTEM
from cipherward_client.fhir_consent.elements import Element

KEY_BYTES, RECORD_ID_BYTES = 32, 16


@dataclass(frozen=True, slots=True, order=True)
class Grantee:
    """All clinicians of `member`, or (`key`, 32 bytes) one of them."""

    member: str
    key: bytes = b""


@dataclass(frozen=True, slots=True)
class Directory:
    """What literal references mean.

    records: ids (16 bytes). grantees: institutions and people. representatives: registered keys (32
    bytes) of parents and guardians. all_records: what a Consent without `data` is about: all that
    the patient's wallet holds, sorted by nobody but the wallet.
    """

    records: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    grantees: Mapping[str, Grantee] = field(default_factory=dict[str, Grantee])
    representatives: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    all_records: frozenset[bytes] = frozenset()

    def record(self, reference: Element) -> bytes | None:
        """Take a reference to a record; None, with a finding, if it means none."""
        literal, identifier = _taken(reference)
        found = self.records.get(literal)
        if found is None and identifier[0] == RECORD_SYSTEM:
            found = _octets(identifier[1], RECORD_ID_BYTES)
        if found is None:
            reference.refuse_here("no record is known under that name")
        return found

    def grantee(self, reference: Element) -> Grantee | None:
        """Take a reference to who may read; None, with a finding, if it means nobody."""
        literal, (system, value) = _taken(reference)
        found = self.grantees.get(literal)
        if found is None and system == MEMBER_SYSTEM and value:
            found = Grantee(value)
        if found is None and system == KEY_SYSTEM:
            member, _, digits = value.rpartition("/")
            key = _octets(digits, KEY_BYTES)
            found = Grantee(member, key) if key else None
        if found is None:
            reference.refuse_here("neither a member nor a registered key is known under that name")
        return found

    def representative(self, reference: Element) -> bytes:
        """Take a reference to a performer: a representative's key, or b"" for the patient."""
        literal, (system, value) = _taken(reference)
        found = self.representatives.get(literal, b"")
        if not found and system == KEY_SYSTEM:
            found = _octets(value, KEY_BYTES) or b""
        if not found and not literal.startswith("Patient/"):
            reference.refuse_here("a performer beside the patient needs a registered key")
        return found

    def record_reference(self, record_id: bytes) -> dict[str, object]:
        """Return how a Consent names a record."""
        literal = next((name for name, one in self.records.items() if one == record_id), "")
        return _reference(literal, RECORD_SYSTEM, record_id.hex())

    def grantee_reference(self, grantee: Grantee) -> dict[str, object]:
        """Return how a Consent names who may read."""
        literal = next((name for name, one in self.grantees.items() if one == grantee), "")
        if not grantee.key:
            return _reference(literal, MEMBER_SYSTEM, grantee.member)
        value = f"{grantee.member}/{grantee.key.hex()}" if grantee.member else grantee.key.hex()
        return _reference(literal, KEY_SYSTEM, value)


def _taken(reference: Element) -> tuple[str, tuple[str, str]]:
    """Return a reference's literal, and its identifier's system and value."""
    literal = reference.text("reference")
    for harmless in ("type", "display"):
        reference.raw(harmless)
    identifier = reference.child("identifier")
    system = value = ""
    if identifier is not None:
        system, value = identifier.text("system"), identifier.text("value")
        identifier.end()
    reference.end()
    return literal, (system, value)


def _reference(literal: str, system: str, value: str) -> dict[str, object]:
    if literal:
        return {"reference": literal}
    return {"identifier": {"system": system, "value": value}}


def _octets(digits: str, length: int) -> bytes | None:
    try:
        found = bytes.fromhex(digits)
    except ValueError:
        return None
    return found if len(found) == length and found.hex() == digits else None
