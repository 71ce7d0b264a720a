"""Who belongs to an alliance, and the JSON in which genesis documents and registries say it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from cipherward_chain.acts import MEMBER_ID
from cipherward_chain.json_fields import JsonFields, JsonMalformed
from cipherward_chain.sealing import SealingKeyRefused, check_sealing_key
from cipherward_chain.signatures import KeyRefused, check_public_key

SCHEMAS: Final = ("patient", "staff")
ISSUER_KEY_BYTES: Final = 96
MEMBERS_MAX: Final = 64  # more members than any alliance of hospitals that votes on each study
# A member's number is never given twice: it outgrows the number of members, slowly.
INDEX_MAX: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Member:
    """An institution of the alliance: Ed25519 member key, HPKE custodian key, and the certificates
    of its authorities (PEM, 1 to 4).

    `consensus_public_key` (Ed25519) and `node_id` (the 20 bytes by which other nodes know its own)
    are of the member's consensus node; both are empty for a member that runs none.
    """

    id: str
    name: str
    index: int
    public_key: bytes
    custodian_public_key: bytes
    ca_certificate: str
    consensus_public_key: bytes = b""
    node_id: bytes = b""


@dataclass(frozen=True, slots=True)
class AuthoritiesSet:
    """The authorities (PEM, 1 to 4 certificates) that a member has since the block at `height`."""

    member: str
    authorities: str
    height: int


@dataclass(frozen=True, slots=True)
class Issuer:
    """A member's BBS issuing key (96 bytes) and the credential schemas that it signs."""

    member: str
    public_key: bytes
    schemas: tuple[str, ...]


def check_key(public_key: bytes, where: str) -> None:
    """Return if an Ed25519 key may be registered, else raise `JsonMalformed` naming `where`."""
    try:
        check_public_key(public_key)
    except KeyRefused as error:
        raise JsonMalformed(f"{where}: {error}") from error


def parse_members(fields: JsonFields) -> dict[str, Member]:
    """Take `members`: return them by id, in the order of their indexes.

    Raises:
        JsonMalformed: one is out of form, two share an id, index or key, or their
            number is none or above MEMBERS_MAX.
    """
    found: dict[str, Member] = {}
    index = -1
    for item in fields.objects("members"):
        member = _parse_member(item)
        if member.id in found or member.index <= index:
            raise JsonMalformed(f"{item.where} has an id or index that is not its own")
        found[member.id], index = member, member.index
    if len(found) > MEMBERS_MAX:
        raise JsonMalformed(f"an alliance has at most {MEMBERS_MAX} members")
    if not found or len({m.public_key for m in found.values()}) != len(found):
        raise JsonMalformed("an alliance has members, each with a key of its own")
    return found


def _parse_member(item: JsonFields) -> Member:
    member = Member(
        id=item.text("id"),
        name=item.text("name"),
        index=item.integer("index", minimum=0, maximum=INDEX_MAX),
        public_key=item.hexadecimal("public_key", length=32),
        custodian_public_key=item.hexadecimal("custodian_public_key"),
        ca_certificate=item.text("ca_certificate"),
        consensus_public_key=item.hexadecimal("consensus_public_key"),
        node_id=item.hexadecimal("node_id"),
    )
    item.end()
    if not MEMBER_ID.fullmatch(member.id):
        raise JsonMalformed(f"{item.where} has an id or index that is not its own")
    check_key(member.public_key, item.where)
    try:
        check_sealing_key(member.custodian_public_key)
    except SealingKeyRefused as error:
        raise JsonMalformed(f"{item.where}: {error}") from error
    if not member.ca_certificate.startswith("-----BEGIN CERTIFICATE-----\n"):
        raise JsonMalformed(f"{item.where}.ca_certificate is not PEM")
    return member


def parse_issuers(fields: JsonFields, members: Collection[str]) -> tuple[Issuer, ...]:
    """Take `issuers`, each of one of the `members`.

    Raises:
        JsonMalformed: one is out of form or of nobody, or two have one key.
    """
    found: list[Issuer] = []
    for item in fields.objects("issuers"):
        public_key = item.hexadecimal("public_key", length=ISSUER_KEY_BYTES)
        issuer = Issuer(item.text("member"), public_key, item.texts("schemas"))
        item.end()
        if issuer.member not in members or not set(issuer.schemas) <= set(SCHEMAS):
            raise JsonMalformed(f"{item.where} is of no member or has an unknown schema")
        found.append(issuer)
    if len({issuer.public_key for issuer in found}) != len(found):
        raise JsonMalformed("two issuers have one key")
    return tuple(found)


def member_document(member: Member) -> dict[str, object]:
    """Return what `parse_members` reads a member from."""
    return {
        "id": member.id,
        "name": member.name,
        "index": member.index,
        "public_key": member.public_key.hex(),
        "custodian_public_key": member.custodian_public_key.hex(),
        "ca_certificate": member.ca_certificate,
        "consensus_public_key": member.consensus_public_key.hex(),
        "node_id": member.node_id.hex(),
    }


def issuer_document(issuer: Issuer) -> dict[str, object]:
    """Return what `parse_issuers` reads an issuer from."""
    return {
        "member": issuer.member,
        "public_key": issuer.public_key.hex(),
        "schemas": list(issuer.schemas),
    }
