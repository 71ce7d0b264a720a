"""What presentations show, against the library that makes them."""

from __future__ import annotations

import pytest

from cipherward_anoncred.issuance import HolderSecret, grant_first, request_first
from cipherward_anoncred.presentation import present
from cipherward_anoncred.schema import attribute, header_of
from cipherward_anoncred.scheme import generate_issuer_key
from cipherward_contract.credentials import (
    CredentialMalformed,
    Header,
    parse_attribute,
    parse_header,
    pseudonym_of,
)
from cipherward_contract.testing import packed


def test_headers_and_attributes_are_read_as_the_library_writes_them() -> None:
    header = header_of("staff", "hospital-b", 77)
    assert parse_header(header) == Header("staff", "hospital-b", 77)
    assert parse_attribute(attribute("role", "code", "clinician")) == ("role", "clinician")


@pytest.mark.slow
def test_the_pseudonym_stands_where_the_library_puts_it() -> None:
    key, session = generate_issuer_key(bytes(range(32))), bytes(16)
    header = header_of("patient", "hospital-a", 1)
    attributes = (attribute("role", "code", "patient"),)
    request, pending = request_first(
        HolderSecret.generate(), issuer="hospital-a", header=header, session=session
    )
    grant = grant_first(
        key, request, issuer="hospital-a", header=header, session=session, attributes=attributes
    )
    credential = pending.accept(grant.octets, key.public, attributes)
    scope = b"record:" + b"00" * 16
    shown = present(credential, disclosed=[0], scope=scope, context=b"body")
    assert pseudonym_of(shown) == credential.pseudonym(scope)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x00",
        header_of("patient", "hospital-a", 1)[:-1],
        header_of("patient", "hospital-a", 1) + b"\x00",
        header_of("patient", "hospital-a", 1) + packed(b"more"),
        attribute("role", "code", "patient"),
        header_of("patient", "hospital-a", 1).replace(b"patient", b"p\xfftient"),
    ],
)
def test_other_octets_are_no_header(octets: bytes) -> None:
    with pytest.raises(CredentialMalformed):
        parse_header(octets)


def test_an_epoch_has_eight_bytes() -> None:
    short = header_of("patient", "hospital-a", 1)[: -(4 + 8)] + packed(b"\x01")
    with pytest.raises(CredentialMalformed):
        parse_header(short)


@pytest.mark.parametrize("proof", [b"", b"\x01" + bytes(100), b"\x02" + bytes(400)])
def test_other_octets_are_no_presentation(proof: bytes) -> None:
    with pytest.raises(CredentialMalformed):
        pseudonym_of(proof)
