"""What the canaries ask about: synthetic records whose rights are over, or were never given."""

from __future__ import annotations

from dataclasses import dataclass

from cipherward_chain.acts import ID_BYTES
from cipherward_chain.canonical import NotCanonical, Value
from cipherward_chain.fields import Fields


@dataclass(frozen=True, slots=True)
class Opening:
    """A record that was opened, rightly, under a consent.

    `order` is (height, index) of the release, `scope` that of the reader's pseudonym, `guardians`
    whose shares were ordered.
    """

    record_id: bytes
    grant_id: bytes
    order: tuple[int, int]
    scope: str
    guardians: tuple[str, ...]

    def to_value(self) -> Value:
        """Return it as canonical CBOR takes it."""
        return {
            "record": self.record_id,
            "grant": self.grant_id,
            "height": self.order[0],
            "index": self.order[1],
            "scope": self.scope,
            "guardians": list(self.guardians),
        }

    @classmethod
    def from_value(cls, value: Value) -> Opening:
        """Return it, or raise NotCanonical."""
        fields = Fields(value)
        found = cls(
            fields.octets("record", length=ID_BYTES),
            fields.octets("grant", length=ID_BYTES),
            (fields.integer("height"), fields.integer("index")),
            fields.text("scope"),
            fields.texts("guardians"),
        )
        fields.end()
        return found


@dataclass(frozen=True, slots=True)
class Scenes:
    """One set of records, good for a day.

    epoch: the clinician's key counts in it. made: Unix seconds; what was to be revoked and erased
    is since then. scope: of the clinician's pseudonym.
    standing: opened by its owner; its consent is for the key of somebody else.
    foreign: a consent about the same record for another member's staff; empty: there is no other.
    narrow: a consent about the same record for the clinician, for one purpose.
    revoked, expired: opened by the clinician; expires: Unix seconds. erased: likewise, and erased.
    """

    epoch: int
    made: int
    scope: str
    standing: Opening
    foreign: bytes
    narrow: bytes
    revoked: Opening
    expired: Opening
    expires: int
    erased: Opening

    @property
    def records(self) -> frozenset[bytes]:
        """Ids of the records that the scenes are about."""
        openings = (self.standing, self.revoked, self.expired, self.erased)
        return frozenset(opening.record_id for opening in openings)

    def to_value(self) -> Value:
        """Return them as canonical CBOR takes them."""
        return {
            "epoch": self.epoch,
            "made": self.made,
            "scope": self.scope,
            "standing": self.standing.to_value(),
            "foreign": self.foreign,
            "narrow": self.narrow,
            "revoked": self.revoked.to_value(),
            "expired": self.expired.to_value(),
            "expires": self.expires,
            "erased": self.erased.to_value(),
        }

    @classmethod
    def from_value(cls, value: Value) -> Scenes:
        """Return them, or raise NotCanonical."""
        fields = Fields(value)
        foreign = fields.octets("foreign")
        if len(foreign) not in (0, ID_BYTES):
            raise NotCanonical("a consent's id has 16 bytes")
        found = cls(
            epoch=fields.integer("epoch"),
            made=fields.integer("made"),
            scope=fields.text("scope"),
            standing=Opening.from_value(fields.mapping("standing")),
            foreign=foreign,
            narrow=fields.octets("narrow", length=ID_BYTES),
            revoked=Opening.from_value(fields.mapping("revoked")),
            expired=Opening.from_value(fields.mapping("expired")),
            expires=fields.integer("expires"),
            erased=Opening.from_value(fields.mapping("erased")),
        )
        fields.end()
        return found
