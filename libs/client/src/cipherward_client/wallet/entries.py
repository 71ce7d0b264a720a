"""What a wallet remembers, and how each entry is written into the backup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cipherward_chain.canonical import NotCanonical, Value
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
class KeptRound:
    """A released round of an own study: its order on the chain, iterate, and decrypted totals.

    order: (height, index) of the order that released it. iterate: empty in the first round.
    left_out: places of the cells that the members left out.
    """

    order: tuple[int, int]
    iterate: bytes
    totals: tuple[int, ...] = field(repr=False)
    left_out: tuple[int, ...] = ()

    def to_value(self) -> Mapping[str, Value]:
        """Return the entry as canonical CBOR takes it."""
        return {
            "order": list(self.order),
            "iterate": self.iterate,
            "totals": list(self.totals),
            "left_out": list(self.left_out),
        }

    @classmethod
    def from_value(cls, value: Value) -> KeptRound:
        """Return the entry, or raise NotCanonical."""
        fields = Fields(value)
        order = _integers(fields, "order", 2)
        found = cls(
            (order[0], order[1]),
            fields.octets("iterate"),
            _integers(fields, "totals"),
            _integers(fields, "left_out"),
        )
        fields.end()
        return found


@dataclass(frozen=True, slots=True)
class KeptStudy:
    """A study that this researcher proposed: the scope it was proposed in, and what was asked.

    Attributes:
        transaction: id of the transaction that proposed it; empty before its receipt was there.
        rounds: what was released and read so far, in order. The parameters of the next round
            follow from all of them, so they outlive the process that read them.
        asked: parameters of the round that was asked for after them; empty: of none.
    """

    study_id: bytes
    scope: str
    request: bytes
    transaction: bytes = b""
    rounds: tuple[KeptRound, ...] = ()
    asked: bytes = b""

    def to_value(self) -> Mapping[str, Value]:
        """Return the entry as canonical CBOR takes it."""
        return {
            "study": self.study_id,
            "scope": self.scope,
            "request": self.request,
            "transaction": self.transaction,
            "rounds": [one.to_value() for one in self.rounds],
            "asked": self.asked,
        }

    @classmethod
    def from_value(cls, value: Value) -> KeptStudy:
        """Return the entry, or raise NotCanonical."""
        fields = Fields(value)
        found = cls(
            fields.octets("study", length=16),
            fields.text("scope"),
            fields.octets("request"),
            fields.octets("transaction"),
            tuple(map(KeptRound.from_value, fields.items("rounds"))),
            fields.octets("asked"),
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


def _integers(fields: Fields, name: str, length: int | None = None) -> tuple[int, ...]:
    """Return a list of integers, of `length` items if that is given; else raise NotCanonical."""
    items = fields.items(name)
    found = tuple(one for one in items if isinstance(one, int) and type(one) is not bool)
    if len(found) != (len(items) if length is None else length):
        raise NotCanonical(f"field {name} is no such list of integers")
    return found
