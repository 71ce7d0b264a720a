"""What a credential says: headers, attributes, and the schemas that fix both.

A header is shown with every presentation and is common to everybody of one issuer, schema and
epoch; an attribute is hidden unless disclosed.  Both have one encoding only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from cipherward_anoncred import domains
from cipherward_anoncred.errors import Malformed, SchemaMismatch, SchemaUnknown
from cipherward_anoncred.octets import i2osp, pack, unpack_tagged

ATTRIBUTES_MAX = 32  # bounds the generators, and so the work, that a claim can ask for
EPOCH_MAX = 2**63 - 1  # fits every signed 64-bit column and field
_VALUE_CHARACTERS_MAX = 256  # a role or a registry number, never a text
_TOKEN = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)
_ISSUER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Attribute:
    """A typed value under its name: `name` and `kind` are tokens, `value` is NFC text."""

    name: str
    kind: str
    value: str

    def to_octets(self) -> bytes:
        """
        Raises:
            Malformed: a name or kind that is no token, a value that is empty, longer than 256
                characters, not NFC, or with control characters.
        """
        for token in (self.name, self.kind):
            if not _TOKEN.fullmatch(token):
                raise Malformed("attribute: name and kind are tokens")
        if not 0 < len(self.value) <= _VALUE_CHARACTERS_MAX or not self.value.isprintable():
            raise Malformed("attribute: value is not 1 to 256 printable characters")
        if unicodedata.normalize("NFC", self.value) != self.value:
            raise Malformed("attribute: value is not NFC")
        fields = (self.name, self.kind, self.value)
        return pack(domains.ATTRIBUTE, *(field.encode() for field in fields))


def attribute(name: str, kind: str, value: str) -> bytes:
    """An attribute's octets, its value brought to NFC.

    Raises:
        Malformed: as `Attribute.to_octets`.
    """
    return Attribute(name, kind, unicodedata.normalize("NFC", value)).to_octets()


def parse_attribute(octets: bytes) -> Attribute:
    """The attribute that has these octets.

    Raises:
        Malformed: no attribute has.
    """
    fields = unpack_tagged(domains.ATTRIBUTE, octets, count=3)
    try:
        name, kind, value = (field.decode() for field in fields)
    except UnicodeDecodeError:
        raise Malformed("attribute: not UTF-8") from None
    parsed = Attribute(name, kind, value)
    parsed.to_octets()  # the rules of the values
    return parsed


@dataclass(frozen=True, slots=True)
class Schema:
    """A kind of credential: its name and its attributes' names, in the order they are signed in."""

    name: str
    attributes: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.attributes) > ATTRIBUTES_MAX:
            raise SchemaMismatch(f"a schema has at most {ATTRIBUTES_MAX} attributes")
        if len(set(self.attributes)) != len(self.attributes):
            raise SchemaMismatch("a schema names an attribute twice")

    def index_of(self, name: str) -> int:
        """Where the attribute stands; what `disclosed` counts in.

        Raises:
            SchemaMismatch: the schema has no such attribute.
        """
        try:
            return self.attributes.index(name)
        except ValueError:
            raise SchemaMismatch(f"schema {self.name} has no attribute {name}") from None

    def check(self, attributes: Sequence[bytes]) -> None:
        """
        Raises:
            SchemaMismatch: not exactly this schema's attributes, in order.
            Malformed: octets that are no attribute.
        """
        names = tuple(parse_attribute(octets).name for octets in attributes)
        if names != self.attributes:
            raise SchemaMismatch(f"not the attributes of schema {self.name}")


PATIENT = Schema("patient", ("role",))
STAFF = Schema("staff", ("member", "role"))
# Whose presentations may carry an opening, and whose identity key an opening gives.  Patients'
# never: the ciphertext would lie on the chain until a quantum computer reads it.
ACCOUNTABLE_SCHEMAS = frozenset((STAFF.name,))
SHIPPED_SCHEMAS: Mapping[str, Schema] = MappingProxyType({s.name: s for s in (PATIENT, STAFF)})


@dataclass(frozen=True, slots=True)
class HeaderFields:
    """What everybody of one crowd shares: schema's name, issuer's id, epoch in 0..2^63-1."""

    schema: str
    issuer: str
    epoch: int

    @property
    def accountable(self) -> bool:
        """Whether presentations under it may carry an opening."""
        return self.schema in ACCOUNTABLE_SCHEMAS


def header_of(schema: str, issuer: str, epoch: int) -> bytes:
    """A header's octets.

    Raises:
        Malformed: a schema name or issuer id of another alphabet or length, an epoch out of range.
    """
    if not _TOKEN.fullmatch(schema) or not _ISSUER.fullmatch(issuer):
        raise Malformed("header: bad schema name or issuer id")
    if not 0 <= epoch <= EPOCH_MAX:
        raise Malformed("header: epoch out of range")
    return pack(domains.HEADER, schema.encode(), issuer.encode(), i2osp(epoch))


def parse_header(header: bytes) -> HeaderFields:
    """The fields of `header_of`.

    Raises:
        Malformed: `header_of` makes no such octets.
    """
    schema, issuer, epoch = unpack_tagged(domains.HEADER, header, count=3)
    try:
        fields = HeaderFields(schema.decode(), issuer.decode(), int.from_bytes(epoch, "big"))
    except UnicodeDecodeError:
        raise Malformed("header: not UTF-8") from None
    if header_of(fields.schema, fields.issuer, fields.epoch) != header:
        raise Malformed("header: not canonical")
    return fields


def schema_of(header: bytes, schemas: Mapping[str, Schema] = SHIPPED_SCHEMAS) -> Schema:
    """The schema that a header names: where a claim's number of attributes comes from.

    Raises:
        Malformed: not a header.
        SchemaUnknown: not one of `schemas`.
    """
    name = parse_header(header).schema
    try:
        return schemas[name]
    except KeyError:
        raise SchemaUnknown("the header names a schema that is not known here") from None
