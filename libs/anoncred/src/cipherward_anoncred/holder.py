"""The holder's side of issuance: ask, keep the state, accept the answer."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cipherward_anoncred import domains
from cipherward_anoncred.credential import Credential
from cipherward_anoncred.curve import Rng, random_scalars, read_scalar
from cipherward_anoncred.errors import AnoncredError, GrantRejected, HeaderMismatch, Malformed
from cipherward_anoncred.octets import pack, unpack_tagged
from cipherward_anoncred.request_proof import (
    FIRST,
    SAME_SECRET,
    Binding,
    prove_first,
    prove_same_secret,
)
from cipherward_anoncred.schema import SHIPPED_SCHEMAS, Schema, parse_header, schema_of
from cipherward_anoncred.scheme import SIGNATURE_OCTETS


@dataclass(frozen=True, slots=True)
class HolderSecret:
    """The wallet's part of a holder's secret: 32 octets, for one first request.

    Once that is granted, the credential holds the whole secret and later requests start from it.
    """

    octets: bytes = field(repr=False)

    def __post_init__(self) -> None:
        read_scalar(self.octets)

    @staticmethod
    def generate() -> HolderSecret:
        return HolderSecret(random_scalars(1)[0].to_be_bytes())

    def to_octets(self) -> bytes:
        return self.octets

    @staticmethod
    def from_octets(octets: bytes) -> HolderSecret:
        """
        Raises:
            Malformed: not a scalar in 1..ORDER-1.
        """
        return HolderSecret(octets)


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """What the wallet keeps between request and grant; secret.  `kind` is the request's first
    octet."""

    kind: bytes
    header: bytes
    blind: bytes = field(repr=False)
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.kind not in (FIRST, SAME_SECRET):
            raise Malformed("pending request: another kind")
        parse_header(self.header)
        read_scalar(self.blind)
        read_scalar(self.secret)

    def accept(
        self,
        grant: bytes,
        public_key: bytes,
        attributes: Sequence[bytes],
        *,
        schemas: Mapping[str, Schema] = SHIPPED_SCHEMAS,
    ) -> Credential:
        """The credential that an issuer's answer makes; about 4 ms.

        Raises:
            GrantRejected: the answer is no signature of `public_key` on the header that was asked
                for, these attributes and this holder's secret, or the attributes are not the
                schema's.
        """
        try:
            schema_of(self.header, schemas).check(attributes)
            signature, secret = grant[:SIGNATURE_OCTETS], read_scalar(self.secret)
            entropy = grant[SIGNATURE_OCTETS:]
            if self.kind == FIRST:
                secret = secret + read_scalar(entropy)
            elif entropy:
                raise Malformed("grant: entropy where none is due")
            credential = Credential(
                public_key=public_key,
                header=self.header,
                attributes=tuple(attributes),
                signature=signature,
                blind=self.blind,
                secret=secret.to_be_bytes(),
            )
            credential.check()
        except AnoncredError:
            raise GrantRejected from None
        return credential

    def to_octets(self) -> bytes:
        return pack(domains.PENDING_REQUEST, self.kind, self.header, self.blind, self.secret)

    @staticmethod
    def from_octets(octets: bytes) -> PendingRequest:
        """
        Raises:
            Malformed: not the octets of a pending request.
        """
        return PendingRequest(*unpack_tagged(domains.PENDING_REQUEST, octets, count=4))


def request_first(
    secret: HolderSecret,
    *,
    issuer: str,
    header: bytes,
    session: bytes,
    rng: Rng = secrets.token_bytes,
) -> tuple[bytes, PendingRequest]:
    """Ask for a holder's first credential: the request (193 octets) and what to keep.

    Args:
        session: the issuer's nonce of this session, 16 to 256 octets.

    Raises:
        HeaderMismatch: the header names another issuer.
        SessionInvalid, Malformed: bad arguments.
    """
    binding = Binding(issuer, header, session)
    made = prove_first(read_scalar(secret.octets), binding, rng)
    return made.octets, PendingRequest(FIRST, header, made.blind.to_be_bytes(), secret.octets)


def request_same_secret(
    credential: Credential,
    *,
    issuer: str,
    header: bytes,
    session: bytes,
    rng: Rng = secrets.token_bytes,
) -> tuple[bytes, PendingRequest]:
    """Ask another issuer for a credential on the secret of `credential`.

    The new issuer learns which issuer and header the earlier credential has, and nothing else of
    it.

    Raises:
        HeaderMismatch: the header names another issuer, or another schema than the credential's.
        SessionInvalid, Malformed: bad arguments.
    """
    binding = Binding(issuer, header, session)
    if parse_header(header).schema != parse_header(credential.header).schema:
        raise HeaderMismatch("a secret serves credentials of one schema")
    made = prove_same_secret(credential, binding, rng)
    pending = PendingRequest(SAME_SECRET, header, made.blind.to_be_bytes(), credential.secret)
    return made.octets, pending
