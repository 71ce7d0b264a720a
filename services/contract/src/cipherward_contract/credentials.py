"""What a presentation shows, read without a credential library.

The proof itself was verified at admission; what is read here are bytes that the proof covers: the
header (schema, issuer, epoch) and the disclosed attributes (name, kind, value). Fields are
length-prefixed behind a tag, as cipherward_anoncred writes them; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass

HEADER_TAG = b"CIPHERWARD_CREDENTIAL_HEADER_V1_"
ATTRIBUTE_TAG = b"CIPHERWARD_ATTRIBUTE_V1_"


class CredentialMalformed(ValueError):
    """Bytes that a proof covers are not of the form that an issuer of ours signs."""


@dataclass(frozen=True, slots=True)
class Header:
    """What everybody of one issuer, schema and epoch shares."""

    schema: str
    issuer: str
    epoch: int


def parse_header(octets: bytes) -> Header:
    """Return the header that `octets` are, or raise `CredentialMalformed`."""
    schema, issuer, epoch = _fields(HEADER_TAG, octets, 3)
    if len(epoch) != 8:
        raise CredentialMalformed("a header's epoch has 8 bytes")
    return Header(_text(schema), _text(issuer), int.from_bytes(epoch, "big"))


def parse_attribute(octets: bytes) -> tuple[str, str]:
    """Return an attribute's name and value, or raise `CredentialMalformed`."""
    name, _, value = _fields(ATTRIBUTE_TAG, octets, 3)
    return _text(name), _text(value)


def _fields(tag: bytes, octets: bytes, count: int) -> list[bytes]:
    found: list[bytes] = []
    at = 0
    while at < len(octets):
        start = at + 4
        end = start + int.from_bytes(octets[at:start], "big")
        if end > len(octets):
            raise CredentialMalformed("a length points past the end")
        found.append(octets[start:end])
        at = end
    if len(found) != count + 1 or found[0] != tag:
        raise CredentialMalformed("another kind or version")
    return found[1:]


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise CredentialMalformed("a text is not UTF-8") from None
