"""What presentations show, against the library that makes them."""

from __future__ import annotations

import pytest

from cipherward_anoncred.schema import attribute, header_of
from cipherward_chain.credentials import (
    CredentialMalformed,
    Header,
    attribute_octets,
    parse_attribute,
    parse_header,
)
from cipherward_chain.wire import length_prefixed


def test_headers_and_attributes_are_read_as_the_library_writes_them() -> None:
    header = header_of("staff", "hospital-b", 77)
    assert parse_header(header) == Header("staff", "hospital-b", 77)
    assert parse_attribute(attribute("role", "code", "clinician")) == ("role", "clinician")


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x00",
        header_of("patient", "hospital-a", 1)[:-1],
        header_of("patient", "hospital-a", 1) + b"\x00",
        header_of("patient", "hospital-a", 1) + length_prefixed(b"more"),
        attribute("role", "code", "patient"),
        header_of("patient", "hospital-a", 1).replace(b"patient", b"p\xfftient"),
    ],
)
def test_other_octets_are_no_header(octets: bytes) -> None:
    with pytest.raises(CredentialMalformed):
        parse_header(octets)


def test_an_epoch_has_eight_bytes() -> None:
    short = header_of("patient", "hospital-a", 1)[: -(4 + 8)] + length_prefixed(b"\x01")
    with pytest.raises(CredentialMalformed):
        parse_header(short)


def test_headers_and_attributes_are_written_as_the_library_writes_them() -> None:
    assert Header("staff", "hospital-b", 77).to_bytes() == header_of("staff", "hospital-b", 77)
    assert attribute_octets("role", "code", "clinician") == attribute("role", "code", "clinician")
