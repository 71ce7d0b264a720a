"""A holder's credential: an issuer's signature on header, attributes and the holder's secret."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from cipherward_anoncred import domains
from cipherward_anoncred.blind import blind_generators
from cipherward_anoncred.curve import (
    GENERATOR,
    PUBLIC_KEY_OCTETS,
    G1Point,
    Scalar,
    hash_to_point,
    read_public_key,
    read_scalar,
)
from cipherward_anoncred.errors import (
    CredentialInvalid,
    HeaderMismatch,
    Malformed,
    ScopeInvalid,
    SignatureRejected,
)
from cipherward_anoncred.layout import Layout, layout
from cipherward_anoncred.nym import combined_header, nym_base
from cipherward_anoncred.octets import pack, unpack, unpack_tagged
from cipherward_anoncred.schema import ATTRIBUTES_MAX, HeaderFields, parse_header
from cipherward_anoncred.scheme import SIGNATURE_OCTETS, read_signature, verify_scalars

SCOPE_OCTETS_MAX = 256  # `record:<id>` is the longest kind in use, far below
NYM_SECRETS = 1


def credential_layout(attributes: int) -> Layout:
    """Attributes, the holder's blind, the holder's secret."""
    return layout(attributes, domains.NYM_API, NYM_SECRETS)


def secret_generators() -> tuple[G1Point, ...]:
    """Those of the holder's blind and of the holder's secret."""
    return blind_generators(NYM_SECRETS, domains.NYM_API)


def signed_header(header: bytes) -> bytes:
    """What is signed for a header."""
    return combined_header(header, NYM_SECRETS)


def identity_base(fields: HeaderFields) -> G1Point:
    """The point whose multiple by the holder's secret is the holder's identity at an issuer.

    For patients every issuer has its own, so the registries of two issuers cannot be joined.  For
    staff it is the generator: their identity key is what an opening gives.
    """
    if fields.accountable:
        return GENERATOR
    return hash_to_point(fields.issuer.encode(), domains.IDENTITY_BASE)


def scope_base(scope: bytes) -> G1Point:
    """The point whose multiples are the pseudonyms of a scope.

    Raises:
        ScopeInvalid: empty, or longer than 256 octets.
    """
    if not 0 < len(scope) <= SCOPE_OCTETS_MAX:
        raise ScopeInvalid(f"a scope has 1 to {SCOPE_OCTETS_MAX} octets")
    return nym_base(scope)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a wallet keeps for one issuer.

    `public_key` (96 octets) and `header` are the issuer's, `attributes` as `schema.attribute` makes
    them, `signature` 80 octets.  `blind` and `secret` (32 octets each) never leave the wallet; the
    same `secret` stands in all of a patient's credentials.
    """

    public_key: bytes
    header: bytes
    attributes: tuple[bytes, ...]
    signature: bytes = field(repr=False)
    blind: bytes = field(repr=False)
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.public_key) != PUBLIC_KEY_OCTETS or len(self.signature) != SIGNATURE_OCTETS:
            raise Malformed("credential: another length of key or signature")
        if len(self.attributes) > ATTRIBUTES_MAX:
            raise Malformed("credential: too many attributes")
        parse_header(self.header)
        read_scalar(self.blind)
        read_scalar(self.secret)

    @property
    def layout(self) -> Layout:
        return credential_layout(len(self.attributes))

    def scalars(self) -> list[Scalar]:
        """All signed messages as scalars; the last two are secret."""
        hidden = [read_scalar(self.blind), read_scalar(self.secret)]
        return [*self.layout.message_scalars(self.attributes), *hidden]

    def domain(self) -> Scalar:
        return self.layout.domain(self.public_key, signed_header(self.header))

    def pseudonym(self, scope: bytes) -> bytes:
        """The holder's name inside `scope`, 48 octets.

        Raises:
            ScopeInvalid: empty, or longer than 256 octets.
        """
        return (scope_base(scope) * read_scalar(self.secret)).to_compressed_bytes()

    def identity(self) -> bytes:
        """The holder's name in the issuer's registry, 48 octets."""
        base = identity_base(parse_header(self.header))
        return (base * read_scalar(self.secret)).to_compressed_bytes()

    def check(self) -> None:
        """
        Raises:
            CredentialInvalid: the signature does not cover the rest.
        """
        header = signed_header(self.header)
        try:
            verify_scalars(self.public_key, self.signature, self.layout, header, self.scalars())
        except SignatureRejected:
            raise CredentialInvalid("the signature does not cover the credential") from None

    def renewed(self, signature: bytes, header: bytes) -> Credential:
        """The same credential under the issuer's header of another epoch; pseudonyms stay.

        Raises:
            HeaderMismatch: the header is another issuer's or another schema's.
            Malformed: bad octets.
            CredentialInvalid: the signature is not this holder's under that header.
        """
        old, new = parse_header(self.header), parse_header(header)
        if (old.schema, old.issuer) != (new.schema, new.issuer):
            raise HeaderMismatch("a renewal keeps issuer and schema")
        fresh = replace(self, signature=signature, header=header)
        fresh.check()
        return fresh

    def to_octets(self) -> bytes:
        """For the wallet's store; secret."""
        return pack(
            domains.CREDENTIAL,
            self.public_key,
            self.header,
            pack(*self.attributes),
            self.signature,
            self.blind,
            self.secret,
        )

    @staticmethod
    def from_octets(octets: bytes) -> Credential:
        """
        Raises:
            Malformed: not the octets of a credential.  The signature is not verified: see `check`.
        """
        fields = unpack_tagged(domains.CREDENTIAL, octets, count=6)
        public_key, header, attributes, signature, blind, secret = fields
        read_public_key(public_key)
        read_signature(signature)
        return Credential(public_key, header, tuple(unpack(attributes)), signature, blind, secret)
