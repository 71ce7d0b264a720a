"""What a presentation shows, read without a credential library.

Whoever reads lets the proof itself be verified elsewhere; these are bytes that it covers: the
header (schema, issuer, epoch) and the disclosed attributes (name, kind, value). Fields are
length-prefixed behind a tag, as cipherward_anoncred writes them; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cipherward_chain.errors import ChainError
from cipherward_chain.wire import length_prefixed

HEADER_TAG: Final = b"CIPHERWARD_CREDENTIAL_HEADER_V1_"
ATTRIBUTE_TAG: Final = b"CIPHERWARD_ATTRIBUTE_V1_"
EPOCH_BYTES: Final = 8
_LENGTH_BYTES: Final = 4  # before each field


class CredentialMalformed(ChainError):
    """Bytes that a proof covers are not of the form that an issuer of ours signs."""

    reason = "CREDENTIAL_MALFORMED"


@dataclass(frozen=True, slots=True)
class Header:
    """What everybody of one issuer, schema and epoch shares."""

    schema: str
    issuer: str
    epoch: int

    def to_bytes(self) -> bytes:
        """Return the octets that its issuer signs."""
        epoch = self.epoch.to_bytes(EPOCH_BYTES, "big")
        return _packed(HEADER_TAG, self.schema.encode(), self.issuer.encode(), epoch)


def parse_header(octets: bytes) -> Header:
    """Return the header that `octets` are, or raise `CredentialMalformed`."""
    schema, issuer, epoch = _fields(HEADER_TAG, octets, 3)
    if len(epoch) != EPOCH_BYTES:
        raise CredentialMalformed(f"a header's epoch has {EPOCH_BYTES} bytes")
    return Header(_text(schema), _text(issuer), int.from_bytes(epoch, "big"))


def parse_attribute(octets: bytes) -> tuple[str, str]:
    """Return an attribute's name and value, or raise `CredentialMalformed`."""
    name, _, value = _fields(ATTRIBUTE_TAG, octets, 3)
    return _text(name), _text(value)


def attribute_octets(name: str, kind: str, value: str) -> bytes:
    """Return the octets that an issuer signs for an attribute."""
    return _packed(ATTRIBUTE_TAG, name.encode(), kind.encode(), value.encode())


def _packed(*fields: bytes) -> bytes:
    return b"".join(map(length_prefixed, fields))


def _fields(tag: bytes, octets: bytes, count: int) -> list[bytes]:
    found: list[bytes] = []
    at = 0
    while at < len(octets):
        start = at + _LENGTH_BYTES
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
