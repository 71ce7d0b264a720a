"""What the registry says of a member, as the state holds it.

| state key | value |
|---|---|
| member/ID | what the member was admitted with, and what has changed since |

There is no such entry of somebody who is no member, or not any more.
"""

from __future__ import annotations

from typing import Final

from cipherward_chain.canonical import NotCanonical, decode
from cipherward_chain.errors import ChainError
from cipherward_chain.fields import Fields
from cipherward_chain.members import Member

MEMBER: Final = b"member/"


class RegistryEntryMalformed(ChainError):
    """Bytes are not a member's entry in the registry."""

    reason = "REGISTRY_ENTRY_MALFORMED"


def member_key(member_id: str) -> bytes:
    """Return the state key of a member's entry."""
    return MEMBER + member_id.encode()


def described_member(member_id: str, fields: Fields) -> Member:
    """Return a member as an entry of the registry, or an order to admit it, describes it."""
    return Member(
        id=member_id,
        name=fields.text("name"),
        index=fields.integer("index"),
        public_key=fields.octets("public_key"),
        custodian_public_key=fields.octets("custodian_public_key"),
        ca_certificate=fields.text("ca_certificate"),
        consensus_public_key=fields.octets("consensus_public_key"),
        node_id=fields.octets("node_id"),
    )


def entered_member(member_id: str, raw: bytes) -> Member:
    """Return the member whose entry `raw` is, or raise `RegistryEntryMalformed`."""
    try:
        return described_member(member_id, Fields(decode(raw)))
    except NotCanonical as error:
        raise RegistryEntryMalformed(f"not a member's entry: {error}") from error
