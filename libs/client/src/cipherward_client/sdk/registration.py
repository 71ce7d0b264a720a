"""What an alliance is told of a newcomer, as terms of a contract and as a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cipherward_chain.canonical import Value, encode
from cipherward_chain.endpoints import (
    Endpoint,
    EndpointsMalformed,
    parse_services,
    services_document,
)
from cipherward_chain.genesis import ISSUER_KEY_BYTES, SCHEMAS, Issuer, Member
from cipherward_chain.json_fields import JsonFields, JsonMalformed
from cipherward_client.sdk.errors import CheckFailed

ENDPOINTS: Final = "endpoints"
REGISTRATION_BYTES_MAX: Final = 64 * 1024  # a certificate, a few keys and five services' addresses
UNNUMBERED = 0  # the chain gives a member its number with the admission


class RegistrationMalformed(CheckFailed):
    """A file is no registration."""

    reason = "REGISTRATION_MALFORMED"


@dataclass(frozen=True, slots=True)
class Registration:
    """A newcomer's public keys, its node and its issuing key. It holds no secret.

    `endpoints` says where others will reach its services, by service. It goes into no registry and
    proves nothing; empty where it is not known.
    """

    member: Member
    issuer: Issuer
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict[str, Endpoint])

    def fields(self) -> Mapping[str, str | bytes]:
        """Return what the alliance enters into its registry."""
        member = self.member
        return {
            "member": member.id,
            "name": member.name,
            "public_key": member.public_key,
            "custodian_public_key": member.custodian_public_key,
            "ca_certificate": member.ca_certificate,
            "consensus_public_key": member.consensus_public_key,
            "node_id": member.node_id,
            "issuer_public_key": self.issuer.public_key,
        }

    @property
    def digest(self) -> bytes:
        """The SHA-256 of what the alliance enters: what two people compare before a vote."""
        return hashlib.sha256(encode(dict(self.fields()))).digest()

    def terms(self, join_seconds: int) -> dict[str, Value]:
        """Return the terms of a membership; the newcomer joins within `join_seconds`."""
        return {**self.fields(), "join_seconds": join_seconds}

    def to_bytes(self) -> bytes:
        """Return the JSON document that a newcomer hands to a member."""
        plain = {k: v.hex() if isinstance(v, bytes) else v for k, v in self.fields().items()}
        places = {ENDPOINTS: services_document(self.endpoints)} if self.endpoints else {}
        return json.dumps({**plain, **places}, indent=1).encode() + b"\n"

    @classmethod
    def from_bytes(cls, raw: bytes) -> Registration:
        """Return what a JSON document says, or raise `RegistrationMalformed`."""
        try:
            fields = JsonFields.parse(raw, "registration")
            member = Member(
                id=fields.text("member"),
                name=fields.text("name"),
                index=UNNUMBERED,
                public_key=fields.hexadecimal("public_key", length=32),
                custodian_public_key=fields.hexadecimal("custodian_public_key"),
                ca_certificate=fields.text("ca_certificate"),
                consensus_public_key=fields.hexadecimal("consensus_public_key"),
                node_id=fields.hexadecimal("node_id"),
            )
            issuer = fields.hexadecimal("issuer_public_key", length=ISSUER_KEY_BYTES)
            has_places = fields.has(ENDPOINTS)
            places = parse_services(fields.object(ENDPOINTS)) if has_places else {}
            fields.end()
        except (JsonMalformed, EndpointsMalformed) as error:
            raise RegistrationMalformed(str(error)) from error
        return cls(member, Issuer(member.id, issuer, SCHEMAS), places)
