"""The issuer's side of issuance: check a request, sign blindly, sign again each epoch."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cipherward_anoncred import domains
from cipherward_anoncred.blind import finalize_signature, signer_part
from cipherward_anoncred.credential import credential_layout, identity_base, signed_header
from cipherward_anoncred.curve import POINT_OCTETS, G1Point, Rng, hedged_scalars, read_point
from cipherward_anoncred.errors import (
    AnoncredError,
    HeaderMismatch,
    Malformed,
    RequestRejected,
    SchemaMismatch,
)
from cipherward_anoncred.octets import i2osp, pack, unpack_tagged
from cipherward_anoncred.request_proof import Binding, check_first, check_same_secret
from cipherward_anoncred.schema import (
    ATTRIBUTES_MAX,
    SHIPPED_SCHEMAS,
    Schema,
    parse_header,
    schema_of,
)
from cipherward_anoncred.scheme import IssuerKey

_COUNT_OCTETS = 2


@dataclass(frozen=True, slots=True)
class IssuerRecord:
    """What an issuer keeps for a holder: enough to sign the next epoch without the holder.

    `identity` (48 octets) is unique per holder's secret at this issuer.  `base` (48 octets) is the
    signed point without the header's part.
    """

    issuer: str
    schema: str
    attribute_count: int
    identity: bytes
    base: bytes

    def __post_init__(self) -> None:
        if len(self.identity) != POINT_OCTETS or len(self.base) != POINT_OCTETS:
            raise Malformed("issuer record: another length")
        if not 0 <= self.attribute_count <= ATTRIBUTES_MAX:
            raise Malformed("issuer record: too many attributes")

    def to_octets(self) -> bytes:
        return pack(
            domains.ISSUER_RECORD,
            self.issuer.encode(),
            self.schema.encode(),
            i2osp(self.attribute_count, _COUNT_OCTETS),
            self.identity,
            self.base,
        )

    @staticmethod
    def from_octets(octets: bytes) -> IssuerRecord:
        """
        Raises:
            Malformed: not the octets of a record.
        """
        fields = unpack_tagged(domains.ISSUER_RECORD, octets, count=5)
        issuer, schema, count, identity, base = fields
        if len(count) != _COUNT_OCTETS:
            raise Malformed("issuer record: another length")
        try:
            names = issuer.decode(), schema.decode()
        except UnicodeDecodeError:
            raise Malformed("issuer record: not UTF-8") from None
        return IssuerRecord(*names, int.from_bytes(count, "big"), identity, base)


@dataclass(frozen=True, slots=True)
class Grant:
    """An issuer's answer: `octets` for the holder (80, or 112 with entropy), `record` to keep."""

    octets: bytes
    record: IssuerRecord


def grant_first(
    key: IssuerKey,
    request: bytes,
    *,
    issuer: str,
    header: bytes,
    session: bytes,
    attributes: Sequence[bytes],
    schemas: Mapping[str, Schema] = SHIPPED_SCHEMAS,
    rng: Rng = secrets.token_bytes,
) -> Grant:
    """Sign a first request; its session must be the caller's own, used for no other request.

    Raises:
        RequestRejected: it does not prove what it must.
        HeaderMismatch, SchemaUnknown, SchemaMismatch, SessionInvalid, Malformed: the caller's own
            arguments do not fit together.
    """
    schema_of(header, schemas).check(attributes)
    proven = check_first(request, Binding(issuer, header, session))
    (entropy,) = hedged_scalars(
        1, tag=domains.NONCES_ISSUER_ENTROPY, rng=rng, secret=key.secret, context=request
    )
    # k = k0 + entropy, in the commitment (on the secret's generator) and in the identity alike
    commitment = proven.commitment + credential_layout(len(attributes)).messages[-1] * entropy
    identity = proven.identity + identity_base(parse_header(header)) * entropy
    signature, record = _sign(key, header, attributes, commitment, identity)
    return Grant(signature + entropy.to_be_bytes(), record)


def grant_same_secret(
    key: IssuerKey,
    request: bytes,
    *,
    issuer: str,
    header: bytes,
    session: bytes,
    attributes: Sequence[bytes],
    earlier_issuer: tuple[bytes, bytes],
    schemas: Mapping[str, Schema] = SHIPPED_SCHEMAS,
) -> Grant:
    """Sign a request on the secret of an earlier credential.

    Args:
        earlier_issuer: public key and header of that credential.  Whether that issuer is one to
            trust and its epoch current is the caller's to know, from the chain.

    Raises:
        RequestRejected: it does not prove what it must, or the earlier header is of another schema.
        HeaderMismatch, SchemaUnknown, SchemaMismatch, SessionInvalid, Malformed: the caller's own
            arguments do not fit together.
    """
    schema = schema_of(header, schemas)
    schema.check(attributes)
    binding = Binding(issuer, header, session)
    try:
        if schema_of(earlier_issuer[1], schemas) != schema:
            raise SchemaMismatch("a secret serves credentials of one schema")
    except AnoncredError:
        raise RequestRejected from None
    proven = check_same_secret(request, binding, earlier_issuer, len(schema.attributes))
    return Grant(*_sign(key, header, attributes, proven.commitment, proven.identity))


def renew(key: IssuerKey, record: IssuerRecord, header: bytes) -> bytes:
    """The signature under another epoch's header: 80 octets, of no use to anybody but the holder.

    Raises:
        HeaderMismatch: the header is another issuer's or another schema's.
        Malformed: a bad header or record.
    """
    fields = parse_header(header)
    if (fields.issuer, fields.schema) != (record.issuer, record.schema):
        raise HeaderMismatch("a renewal keeps issuer and schema")
    shape = credential_layout(record.attribute_count)
    return finalize_signature(key, read_point(record.base), shape, signed_header(header))


def _sign(
    key: IssuerKey,
    header: bytes,
    attributes: Sequence[bytes],
    commitment: G1Point,
    identity: G1Point,
) -> tuple[bytes, IssuerRecord]:
    shape = credential_layout(len(attributes))
    base = signer_part(shape, attributes) + commitment
    fields = parse_header(header)
    record = IssuerRecord(
        issuer=fields.issuer,
        schema=fields.schema,
        attribute_count=len(attributes),
        identity=identity.to_compressed_bytes(),
        base=base.to_compressed_bytes(),
    )
    return finalize_signature(key, base, shape, signed_header(header)), record
