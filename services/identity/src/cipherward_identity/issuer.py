"""This member as an issuer: its key, what it may issue, and the headers that it signs under."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cipherward_anoncred.errors import KeyMaterialTooShort
from cipherward_anoncred.schema import header_of
from cipherward_anoncred.scheme import IssuerKey, generate_issuer_key
from cipherward_chain.genesis import Genesis
from cipherward_kit.errors import CannotStart

# Key material is 32 random bytes; a file much longer is something else, given by mistake.
KEY_FILE_BYTES_MAX = 1024


class IssuerKeyUnusable(CannotStart):
    """The file of the issuer's key material cannot be read, or holds too little."""

    exit_status = 20


class IssuerKeyDiffers(CannotStart):
    """The registry has another key for this member, or does not have it as an issuer."""

    exit_status = 21


@dataclass(frozen=True, slots=True)
class OwnIssuer:
    """The issuer's name is the member's id; `schemas` are what the registry lets it issue."""

    member: str
    key: IssuerKey = field(repr=False)
    schemas: frozenset[str]

    def header(self, schema: str, epoch: int) -> bytes:
        """Return the header of everybody who has this schema in this epoch."""
        return header_of(schema, self.member, epoch)


def read_key_material(path: Path) -> bytes:
    """Return the raw bytes of the key file, or raise `IssuerKeyUnusable`."""
    try:
        with path.open("rb") as file:
            material = file.read(KEY_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise IssuerKeyUnusable(
            f"the issuer key file cannot be read ({error.strerror}); "
            "check CIPHERWARD_ISSUER_KEY_FILE"
        ) from None
    if len(material) > KEY_FILE_BYTES_MAX:
        raise IssuerKeyUnusable("the issuer key file is too long: it holds 32 raw random bytes")
    return material


def own_issuer(material: bytes, genesis: Genesis, member: str) -> OwnIssuer:
    """Return this member as the issuer that the registry knows.

    Raises:
        IssuerKeyUnusable: fewer than 32 bytes of material.
        IssuerKeyDiffers: the registry knows no such issuer.
    """
    try:
        key = generate_issuer_key(material)
    except KeyMaterialTooShort:
        raise IssuerKeyUnusable(
            "the issuer key file is too short: it holds 32 raw random bytes"
        ) from None
    for issuer in genesis.issuers:
        if issuer.member == member and issuer.public_key == key.public:
            return OwnIssuer(member, key, frozenset(issuer.schemas))
    raise IssuerKeyDiffers(
        f"the genesis file has no issuer {member} with the key of this key file; "
        "give the file that the registry's key was made from"
    )
