"""This member as an issuer: its key, what it may issue, and the headers that it signs under."""

from __future__ import annotations

from dataclasses import dataclass, field

from cipherward_anoncred.schema import header_of
from cipherward_anoncred.scheme import IssuerKey, generate_issuer_key
from cipherward_chain.genesis import Genesis
from cipherward_kit.errors import CannotStart

KEY_MATERIAL_BYTES = 32  # random ones, of which the issuer's key is made


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


def own_issuer(material: bytes, genesis: Genesis, member: str) -> OwnIssuer:
    """Return this member as the issuer that the registry knows.

    Args:
        material: KEY_MATERIAL_BYTES.
        genesis: has the registry.
        member: this one.

    Raises:
        IssuerKeyDiffers: the registry knows no such issuer.
    """
    key = generate_issuer_key(material)
    for issuer in genesis.issuers:
        if issuer.member == member and issuer.public_key == key.public:
            return OwnIssuer(member, key, frozenset(issuer.schemas))
    raise IssuerKeyDiffers(
        f"the genesis file has no issuer {member} with the key of this key file; "
        "give the file that the registry's key was made from"
    )
