"""What the state holds: its keys, and the typed values under them (canonical CBOR).

| key | value |
|---|---|
| tx/ID | {expires}; until that block time the id is not accepted again |
| key/PUBLIC_KEY | Registration |
| nym/SCOPE/PSEUDONYM | the public key registered last, raw |
| record/ID | Record |
| instance/ID | Instance |
| order/HEIGHT INDEX (8 and 4 bytes) | order_entries.OrderEntry |
| timer/DUE (8 bytes) INSTANCE | {transition} |
| digest/DIGEST | the id of the instance that released this ciphertext, raw |
| orders | the last block's orders: cipherward_chain.orders |
| suspended/..., raised/..., erased/..., budget/..., depends/... | see marks |
| proposal/..., active/... | see marks |
| key_holders/DATA KEY | cipherward_chain.key_holders.KeyHolders |
| member/ID, issuer/PUBLIC_KEY, registry, gone/... | see registry |
| template/NAME/VERSION | the template's document |
| parameters | see genesis_state |
| groupkey/..., ceremony/..., deadline/... | see ceremonies.entries |
| fault/MEMBER/SHA256 | {record, order, role, height} of a wrong part that the member signed |
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.canonical import Value, decode, decode_map, encode
from cipherward_chain.fields import Fields
from cipherward_contract.shapes import Shape

TRANSACTION, TRANSACTION_END, KEY, RECORD = b"tx/", b"tx0", b"key/", b"record/"
INSTANCE, INSTANCE_END = b"instance/", b"instance0"
TIMER, TIMER_END, DIGEST = b"timer/", b"timer0", b"digest/"
ISSUER, PARAMETERS = b"issuer/", b"parameters"

# Entries are decoded once as long as they are in use; a few MB.
DECODED_MAX = 4096


_REGISTRATION = Shape(
    *("pseudonym", "scope", "issuer", "schema", "role", "epoch", "height"),
    *("opening", "opening_epoch"),
)
_RECORD = Shape("anchor", "owner", "slot_digest", "height", "allowed")
_INSTANCE = Shape(
    *("template", "version", "terms", "creator", "created"),
    *("state", "timer", "step", "variables", "uses", "changed"),
)


@lru_cache(DECODED_MAX)
def transaction_entry(expires: int) -> bytes:
    """Return the value under a transaction's id; many of a block expire at the same time."""
    return encode({"expires": expires})


@lru_cache(DECODED_MAX)
def expiry_of(entry: bytes) -> int:
    """Return when, in Unix seconds, the transaction of an entry expires."""
    return Fields(decode(entry)).integer("expires")


def pseudonym_key(scope: str, pseudonym: bytes) -> bytes:
    """Return the key of a pseudonym's entry; a scope has no slash, so no two entries share one."""
    return b"nym/" + scope.encode() + b"/" + pseudonym


def timer_key(due: int, instance: bytes) -> bytes:
    """Return the key of a timer: keys sort by due time (Unix seconds), then by instance."""
    return TIMER + due.to_bytes(8, "big") + instance


def template_key(name: str, version: int) -> bytes:
    """Return the key of a template's document."""
    return f"template/{name}/{version}".encode()


@dataclass(frozen=True, slots=True)
class Registration:
    """A pseudonym's key; valid while `epoch` is the chain's, for giving up rights also after.

    opening: the identity key encrypted to the members' opening key (96 bytes) of `opening_epoch`;
        empty, and 0, for patients and while there is no such key.
    """

    pseudonym: bytes
    scope: str
    issuer: str
    schema: str
    role: str
    epoch: int
    height: int
    opening: bytes = b""
    opening_epoch: int = 0

    def to_bytes(self) -> bytes:
        """Return the canonical value."""
        return _REGISTRATION.encode(
            self.pseudonym,
            self.scope,
            self.issuer,
            self.schema,
            self.role,
            self.epoch,
            self.height,
            self.opening,
            self.opening_epoch,
        )

    @staticmethod
    @lru_cache(DECODED_MAX)
    def from_bytes(raw: bytes) -> Registration:
        """Return the registration that `raw` holds."""
        fields = Fields(decode(raw))
        return Registration(
            pseudonym=fields.octets("pseudonym"),
            scope=fields.text("scope"),
            issuer=fields.text("issuer"),
            schema=fields.text("schema"),
            role=fields.text("role"),
            epoch=fields.integer("epoch"),
            height=fields.integer("height"),
            opening=fields.octets("opening"),
            opening_epoch=fields.integer("opening_epoch"),
        )


@dataclass(frozen=True, slots=True)
class Record:
    """A record's anchor as its author signed it, its owner's key (empty: unclaimed), its slot, and
    the templates (name/version, sorted) that its owner has added to the anchor's.
    """

    anchor: bytes
    owner: bytes
    slot_digest: bytes
    height: int
    allowed: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the canonical value."""
        return _RECORD.encode(self.anchor, self.owner, self.slot_digest, self.height, self.allowed)

    @staticmethod
    @lru_cache(DECODED_MAX)
    def from_bytes(raw: bytes) -> Record:
        """Return the record that `raw` holds."""
        fields = Fields(decode(raw))
        return Record(
            anchor=fields.octets("anchor"),
            owner=fields.octets("owner"),
            slot_digest=fields.octets("slot_digest"),
            height=fields.integer("height"),
            allowed=fields.texts("allowed"),
        )

    def allows(self, template: str) -> bool:
        """Say whether a template (name/version) may release the record."""
        return template in self.parsed().release_templates or template in self.allowed

    def parsed(self) -> pb.RecordAnchor:
        """Return the anchor as a message; read-only by agreement."""
        return anchor_of(self.anchor)

    def described(self) -> dict[str, Value]:
        """Return what a template's expressions may name of a record, its guardians left out."""
        anchor = self.parsed()
        return {
            "id": anchor.record_id,
            "owner": self.owner,
            "author": anchor.author,
            "custodian": anchor.custodian,
            "anchor_digest": hashlib.sha256(self.anchor).digest(),
            "slot_digest": self.slot_digest,
            "key_epoch": anchor.key_epoch,
            "keepers": sorted({anchor.author, anchor.custodian}),
        }


@lru_cache(DECODED_MAX)
def anchor_of(raw: bytes) -> pb.RecordAnchor:
    """Return an anchor whose form was checked, as a message; read-only by agreement."""
    return pb.RecordAnchor.FromString(raw)


@dataclass(frozen=True, slots=True)
class Position:
    """Where an instance stands."""

    state: str
    timer: int = 0
    step: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """What an instance was made from, and never changes.

    document: the terms as canonical CBOR, kept as they came: a change of state encodes none.
    creator: a key, or empty.
    """

    template: str
    version: int
    document: bytes
    creator: bytes
    height: int

    @property
    def terms(self) -> Mapping[str, Value]:
        """The terms; read-only by agreement."""
        return _terms(self.document)


@lru_cache(DECODED_MAX)
def _terms(document: bytes) -> Mapping[str, Value]:
    return decode_map(document)


@dataclass(frozen=True, slots=True)
class Instance:
    """A contract. `variables` is what the machine has recorded in it, `changed` the last height."""

    id: bytes
    origin: Origin
    position: Position
    variables: Mapping[str, Value] = field(default_factory=dict[str, Value])
    uses: int = 0
    changed: int = 0

    def to_bytes(self) -> bytes:
        """Return the canonical value."""
        origin, position = self.origin, self.position
        return _INSTANCE.encode(
            origin.template,
            origin.version,
            origin.document,
            origin.creator,
            origin.height,
            position.state,
            position.timer,
            position.step or (),
            self.variables,
            self.uses,
            self.changed,
        )

    @staticmethod
    @lru_cache(DECODED_MAX)
    def from_bytes(instance_id: bytes, raw: bytes) -> Instance:
        """Return the instance that `raw` holds."""
        fields = Fields(decode(raw))
        origin = Origin(
            template=fields.text("template"),
            version=fields.integer("version"),
            document=fields.octets("terms"),
            creator=fields.octets("creator"),
            height=fields.integer("created"),
        )
        step = [number for number in fields.items("step") if isinstance(number, int)]
        return Instance(
            id=instance_id,
            origin=origin,
            position=Position(
                state=fields.text("state"),
                timer=fields.integer("timer"),
                step=(step[0], step[1]) if step else None,
            ),
            variables=fields.mapping("variables"),
            uses=fields.integer("uses"),
            changed=fields.integer("changed"),
        )
