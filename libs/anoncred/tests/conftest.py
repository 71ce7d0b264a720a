"""Keys, issuers and holders for the tests of this folder."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from cipherward_anoncred.credential import Credential
from cipherward_anoncred.curve import IDENTITY, ORDER, G1Point
from cipherward_anoncred.issuance import (
    Grant,
    HolderSecret,
    IssuerRecord,
    grant_first,
    grant_same_secret,
    request_first,
    request_same_secret,
)
from cipherward_anoncred.octets import i2osp
from cipherward_anoncred.schema import attribute, header_of
from cipherward_anoncred.scheme import IssuerKey, generate_issuer_key


@dataclass(frozen=True, slots=True)
class Hospital:
    """An issuer as a test sees it."""

    name: str
    key: IssuerKey
    schema: str
    attributes: tuple[bytes, ...]

    def header(self, epoch: int = 7) -> bytes:
        return header_of(self.schema, self.name, epoch)

    def enrol(self, secret: HolderSecret | None = None) -> tuple[Credential, IssuerRecord]:
        session = secrets.token_bytes(16)
        request, pending = request_first(
            secret or HolderSecret.generate(),
            issuer=self.name,
            header=self.header(),
            session=session,
        )
        grant = self.grant(request, session)
        return pending.accept(grant.octets, self.key.public, self.attributes), grant.record

    def grant(self, request: bytes, session: bytes) -> Grant:
        return grant_first(
            self.key,
            request,
            issuer=self.name,
            header=self.header(),
            session=session,
            attributes=self.attributes,
        )

    def enrol_same(self, earlier: Credential) -> tuple[Credential, IssuerRecord]:
        session = secrets.token_bytes(16)
        request, pending = request_same_secret(
            earlier, issuer=self.name, header=self.header(), session=session
        )
        grant = self.grant_same(request, session, (earlier.public_key, earlier.header))
        return pending.accept(grant.octets, self.key.public, self.attributes), grant.record

    def grant_same(self, request: bytes, session: bytes, earlier: tuple[bytes, bytes]) -> Grant:
        return grant_same_secret(
            self.key,
            request,
            issuer=self.name,
            header=self.header(),
            session=session,
            attributes=self.attributes,
            earlier_issuer=earlier,
        )


def _hospital(name: str, schema: str, values: Sequence[tuple[str, str]]) -> Hospital:
    attributes = tuple(attribute(key, "text", value) for key, value in values)
    return Hospital(name, generate_issuer_key(secrets.token_bytes(32)), schema, attributes)


@pytest.fixture(scope="session")
def north() -> Hospital:
    return _hospital("north", "patient", [("role", "patient")])


@pytest.fixture(scope="session")
def south() -> Hospital:
    return _hospital("south", "patient", [("role", "patient")])


@pytest.fixture(scope="session")
def clinic() -> Hospital:
    return _hospital("north", "staff", [("member", "north"), ("role", "physician")])


@pytest.fixture(scope="session")
def patient(north: Hospital) -> Credential:
    return north.enrol()[0]


@pytest.fixture(scope="session")
def clinician(clinic: Hospital) -> Credential:
    return clinic.enrol()[0]


@pytest.fixture(scope="session")
def torsion() -> G1Point:
    """A point of the curve whose order divides the cofactor."""
    for x in range(200):
        try:
            point = G1Point.from_compressed_bytes_unchecked(i2osp(x | 0b100 << 381, 48))
        except ValueError:
            continue
        total = IDENTITY
        for bit in f"{ORDER:b}":
            total = total + total
            if bit == "1":
                total = total + point
        if total != IDENTITY:
            return total
    raise AssertionError("no such point below x = 200")
