"""Headers, attributes and schemas have one encoding, and nothing else is read."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cipherward_anoncred import domains
from cipherward_anoncred.errors import Malformed, SchemaMismatch, SchemaUnknown
from cipherward_anoncred.octets import i2osp, pack
from cipherward_anoncred.schema import (
    ATTRIBUTES_MAX,
    EPOCH_MAX,
    PATIENT,
    STAFF,
    Attribute,
    HeaderFields,
    Schema,
    attribute,
    header_of,
    parse_attribute,
    parse_header,
    schema_of,
)

_tokens = st.from_regex(r"[a-z][a-z0-9_-]{0,20}", fullmatch=True)
_issuers = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,30}", fullmatch=True)


@given(_tokens, _issuers, st.integers(min_value=0, max_value=EPOCH_MAX))
def test_a_header_comes_back(schema: str, issuer: str, epoch: int) -> None:
    assert parse_header(header_of(schema, issuer, epoch)) == HeaderFields(schema, issuer, epoch)


@pytest.mark.parametrize(
    ("schema", "issuer", "epoch"),
    [
        ("", "north", 1),
        ("Patient", "north", 1),
        ("patient\n", "north", 1),
        ("patient", "", 1),
        ("patient", "north\n", 1),
        ("patient", "nörth", 1),
        ("patient", "n" * 129, 1),
        ("patient", "north", -1),
        ("patient", "north", EPOCH_MAX + 1),
    ],
)
def test_a_header_out_of_range_is_not_made(schema: str, issuer: str, epoch: int) -> None:
    with pytest.raises(Malformed):
        header_of(schema, issuer, epoch)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        pack(domains.HEADER, b"patient", b"north"),
        pack(domains.HEADER, b"patient", b"north", i2osp(1, 7)),
        pack(domains.HEADER, b"patient", b"north", i2osp(1, 9)),
        pack(domains.HEADER, b"patient", b"north", b"\xff" * 8),
        pack(domains.HEADER, b"patient", b"\xff", i2osp(1)),
        pack(b"CIPHERWARD_CREDENTIAL_HEADER_V2_", b"patient", b"north", i2osp(1)),
        header_of("patient", "north", 1) + b"\0",
        header_of("patient", "north", 1)[:-1],
    ],
)
def test_octets_that_are_no_header_are_refused(octets: bytes) -> None:
    with pytest.raises(Malformed):
        parse_header(octets)


@given(_tokens, _tokens, st.text(min_size=1, max_size=40).filter(str.isprintable))
def test_an_attribute_comes_back(name: str, kind: str, value: str) -> None:
    read = parse_attribute(attribute(name, kind, value))
    assert read == Attribute(name, kind, unicodedata.normalize("NFC", value))


def test_one_text_has_one_attribute() -> None:
    composed, decomposed = "Zo\u00eb", "Zoe\u0308"
    assert attribute("role", "text", composed) == attribute("role", "text", decomposed)
    with pytest.raises(Malformed):
        Attribute("role", "text", decomposed).to_octets()
    with pytest.raises(Malformed):
        parse_attribute(pack(domains.ATTRIBUTE, b"role", b"text", decomposed.encode()))


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("", "text", "x"),
        ("Role", "text", "x"),
        ("role", "", "x"),
        ("role", "text", ""),
        ("role", "text", "a\nb"),
        ("role", "text", "x" * 257),
    ],
)
def test_an_attribute_out_of_range_is_not_made(name: str, kind: str, value: str) -> None:
    with pytest.raises(Malformed):
        attribute(name, kind, value)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"patient",
        pack(domains.ATTRIBUTE, b"role", b"text", b"\xff"),
        attribute("a", "b", "c")[:-1],
    ],
)
def test_octets_that_are_no_attribute_are_refused(octets: bytes) -> None:
    with pytest.raises(Malformed):
        parse_attribute(octets)


def test_a_schema_takes_its_attributes_in_its_order_only() -> None:
    member, role = attribute("member", "text", "north"), attribute("role", "text", "nurse")
    STAFF.check([member, role])
    for wrong in ([role, member], [member], [member, role, role], []):
        with pytest.raises(SchemaMismatch):
            STAFF.check(wrong)
    assert (STAFF.index_of("role"), PATIENT.index_of("role")) == (1, 0)
    with pytest.raises(SchemaMismatch):
        PATIENT.index_of("member")


def test_a_schema_has_a_bounded_number_of_distinct_attributes() -> None:
    names = tuple(f"a{i}" for i in range(ATTRIBUTES_MAX + 1))
    assert Schema("wide", names[:-1]).index_of("a31") == 31
    with pytest.raises(SchemaMismatch):
        Schema("wide", names)
    with pytest.raises(SchemaMismatch):
        Schema("twice", ("role", "role"))


def test_a_header_leads_to_its_schema() -> None:
    assert schema_of(header_of("staff", "north", 1)) == STAFF
    own = Schema("visitor", ("badge",))
    assert schema_of(header_of("visitor", "north", 1), {"visitor": own}) == own
    with pytest.raises(SchemaUnknown):
        schema_of(header_of("visitor", "north", 1))
