"""Certificates for the tests' servers, as PEM files.

They are no member's: a service reaches Kafka and MongoDB with certificates of whoever runs those.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID: Final = datetime.timedelta(days=1)
BACKDATED: Final = datetime.timedelta(minutes=5)
# By address too: a replica set names itself to its drivers by address.
LOOPBACK: Final = ipaddress.ip_address("127.0.0.1")


@dataclass(frozen=True, slots=True)
class ServerTls:
    """One authority, a server's certificate for 127.0.0.1 and localhost, and a client's.

    All are PEM files; a chain file holds a private key and then its certificate.
    """

    ca_file: Path
    server_certificate_file: Path
    server_private_key_file: Path
    server_chain_file: Path
    client_certificate_file: Path
    client_private_key_file: Path
    client_chain_file: Path

    @classmethod
    def make(cls, folder: Path) -> ServerTls:
        """Make an authority and both certificates in `folder`; each call makes new ones."""
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("tests' authority")
        authority = _certificate(name, name, key.public_key(), authority=True).sign(
            key, hashes.SHA256()
        )
        ca_file = _write(folder / "ca.pem", authority.public_bytes(Encoding.PEM))
        server = _issue(folder, "server", name, key)
        return cls(ca_file, *server, *_issue(folder, "client", name, key))


def _issue(
    folder: Path, name: str, issuer: x509.Name, issuer_key: ec.EllipticCurvePrivateKey
) -> tuple[Path, Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _certificate(_name(name), issuer, key.public_key(), authority=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(LOOPBACK)]),
            critical=False,
        )
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (
        _write(folder / f"{name}.pem", certificate),
        _write(folder / f"{name}.key", private),
        _write(folder / f"{name}.chain.pem", private + certificate),
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, authority: bool
) -> x509.CertificateBuilder:
    begin = datetime.datetime.now(datetime.UTC) - BACKDATED
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + VALID)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )


def _write(path: Path, content: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path
