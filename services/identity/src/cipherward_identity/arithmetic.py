"""The arithmetic that runs beside the event loop: octets in, octets out, no service, no grpc.

`verify_all` runs in worker processes and knows no secret. The issuer's own steps take its key and
run in a thread of this process, which the key never leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cipherward_anoncred.errors import AnoncredError, PresentationRejected, SchemaMismatch
from cipherward_anoncred.issuance import (
    Grant,
    IssuerRecord,
    grant_first,
    grant_same_secret,
    renew,
)
from cipherward_anoncred.presentation import pseudonym_of
from cipherward_anoncred.schema import parse_attribute, schema_of
from cipherward_anoncred.scheme import IssuerKey
from cipherward_anoncred.verification import Claim, verify_batch


@dataclass(frozen=True, slots=True)
class Shown:
    """A presentation as it came, and what it is bound to."""

    issuer_public_key: bytes
    header: bytes
    disclosed: tuple[tuple[int, bytes], ...]
    scope: bytes
    context: bytes
    proof: bytes
    pseudonym: bytes
    opening_key: bytes = b""
    opening: bytes = b""


@dataclass(frozen=True, slots=True)
class Ask:
    """A holder's request with what this issuer has bound it to.

    `earlier` is public key and header of the credential whose secret it proves; None for a first
    credential.
    """

    request: bytes
    issuer: str
    header: bytes
    session: bytes
    attributes: tuple[bytes, ...]
    earlier: tuple[bytes, bytes] | None


def claim_of(shown: Shown) -> Claim:
    """Return what a presentation claims; how many attributes there are is the schema's word.

    Raises:
        AnoncredError: an unknown schema, a disclosed value that is not the attribute which the
            schema has in that place, or another pseudonym than the proof is about.
    """
    schema = schema_of(shown.header)
    if len(shown.disclosed) > len(schema.attributes):  # before the work that each one costs
        raise SchemaMismatch("more disclosed values than the schema has attributes")
    for index, octets in shown.disclosed:
        if parse_attribute(octets).name not in schema.attributes[index : index + 1]:
            raise SchemaMismatch("a disclosed value stands in another attribute's place")
    if pseudonym_of(shown.proof) != shown.pseudonym:
        raise PresentationRejected
    return Claim(
        issuer_public_key=shown.issuer_public_key,
        header=shown.header,
        attribute_count=len(schema.attributes),
        disclosed=shown.disclosed,
        scope=shown.scope,
        context=shown.context,
        opening_key=shown.opening_key,
        opening=shown.opening,
    )


def verify_all(batch: Sequence[Shown]) -> list[bool]:
    """Return for each presentation whether it proves what it claims; about 1 ms each of 100."""
    verdicts = [False] * len(batch)
    places: list[int] = []
    jobs: list[tuple[Claim, bytes]] = []
    for place, shown in enumerate(batch):
        try:
            claim = claim_of(shown)
        except AnoncredError:
            continue  # its verdict stands at False
        places.append(place)
        jobs.append((claim, shown.proof))
    for place, valid in zip(places, verify_batch(jobs), strict=True):
        verdicts[place] = valid
    return verdicts


def grant(key: IssuerKey, ask: Ask) -> Grant:
    """Sign blindly what a request proves; 3 to 8 ms.

    Raises:
        RequestRejected: it does not prove what it must.
    """
    if ask.earlier is None:
        return grant_first(
            key,
            ask.request,
            issuer=ask.issuer,
            header=ask.header,
            session=ask.session,
            attributes=ask.attributes,
        )
    return grant_same_secret(
        key,
        ask.request,
        issuer=ask.issuer,
        header=ask.header,
        session=ask.session,
        attributes=ask.attributes,
        earlier_issuer=ask.earlier,
    )


def signature_of(key: IssuerKey, record: bytes, header: bytes) -> bytes:
    """Return the signature of a kept holder under another header, 80 octets; about 0.3 ms."""
    return renew(key, IssuerRecord.from_octets(record), header)
