"""What a wallet remembers, and how each entry is written into the backup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cipherward_chain.canonical import Value
from cipherward_chain.fields import Fields


@dataclass(frozen=True, slots=True)
class OwnedRecord:
    """A record of this holder. `label` is the holder's own words and never leaves the wallet."""

    record_id: bytes
    custodian: str
    author: str
    label: str = ""

    def to_value(self) -> Mapping[str, Value]:
        """Return the entry as canonical CBOR takes it."""
        return {
            "record": self.record_id,
            "custodian": self.custodian,
            "author": self.author,
            "label": self.label,
        }

    @classmethod
    def from_value(cls, value: Value) -> OwnedRecord:
        """Return the entry, or raise NotCanonical."""
        fields = Fields(value)
        found = cls(
            fields.octets("record", length=16),
            fields.text("custodian"),
            fields.text("author"),
            fields.text("label"),
        )
        fields.end()
        return found


@dataclass(frozen=True, slots=True)
class GivenGrant:
    """A consent that this holder gave: its contract, the record, and the member it was given to."""

    grant_id: bytes
    record_id: bytes
    member: str

    def to_value(self) -> Mapping[str, Value]:
        """Return the entry as canonical CBOR takes it."""
        return {"grant": self.grant_id, "record": self.record_id, "member": self.member}

    @classmethod
    def from_value(cls, value: Value) -> GivenGrant:
        """Return the entry, or raise NotCanonical."""
        fields = Fields(value)
        found = cls(
            fields.octets("grant", length=16),
            fields.octets("record", length=16),
            fields.text("member"),
        )
        fields.end()
        return found


@dataclass(frozen=True, slots=True)
class KeptStudy:
    """A study that this researcher proposed: the scope it was proposed in, and what was asked."""

    study_id: bytes
    scope: str
    request: bytes

    def to_value(self) -> Mapping[str, Value]:
        """Return the entry as canonical CBOR takes it."""
        return {"study": self.study_id, "scope": self.scope, "request": self.request}

    @classmethod
    def from_value(cls, value: Value) -> KeptStudy:
        """Return the entry, or raise NotCanonical."""
        fields = Fields(value)
        found = cls(
            fields.octets("study", length=16), fields.text("scope"), fields.octets("request")
        )
        fields.end()
        return found


@dataclass(frozen=True, slots=True)
class PendingCredential:
    """A request for a credential that was, or may have been, sent: the same one is sent again.

    `code` came from the desk; `state` are the octets of the pending request and secret; the others
    are what the issuer said and what was asked.
    """

    code: str = field(repr=False)
    member: str
    session: bytes
    request: bytes = field(repr=False)
    state: bytes = field(repr=False)
    public_key: bytes
    attributes: tuple[bytes, ...]
    earlier_public_key: bytes = b""
    earlier_header: bytes = b""

    def to_value(self) -> Mapping[str, Value]:
        """Return the entry as canonical CBOR takes it."""
        return {
            "code": self.code,
            "member": self.member,
            "session": self.session,
            "request": self.request,
            "state": self.state,
            "public_key": self.public_key,
            "attributes": list(self.attributes),
            "earlier_public_key": self.earlier_public_key,
            "earlier_header": self.earlier_header,
        }

    @classmethod
    def from_value(cls, value: Value) -> PendingCredential:
        """Return the entry, or raise NotCanonical."""
        fields = Fields(value)
        attributes = tuple(a for a in fields.items("attributes") if isinstance(a, bytes))
        found = cls(
            code=fields.text("code"),
            member=fields.text("member"),
            session=fields.octets("session"),
            request=fields.octets("request"),
            state=fields.octets("state"),
            public_key=fields.octets("public_key"),
            attributes=attributes,
            earlier_public_key=fields.octets("earlier_public_key"),
            earlier_header=fields.octets("earlier_header"),
        )
        fields.end()
        return found
