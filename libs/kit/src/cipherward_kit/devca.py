"""A self-signed authority per member, for development only: the production profile refuses it."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cipherward_kit.datafolder import write_atomically
from cipherward_kit.tls import CertificateUnreadable, Identity, server_name

DEVELOPMENT_ORGANIZATION = "CipherWard development authority"

AUTHORITY_DAYS = 3650
LEAF_DAYS = 90
# Certificates made here are used at once, on machines whose clocks differ by seconds.
BACKDATED = datetime.timedelta(minutes=5)


def is_development_certificate(certificate_pem: bytes) -> bool:
    """Tell whether a development authority issued this certificate (or it is one)."""
    issuer = x509.load_pem_x509_certificate(certificate_pem).issuer
    names = issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return any(name.value == DEVELOPMENT_ORGANIZATION for name in names)


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, DEVELOPMENT_ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


class DevAuthority:
    """One member's development certificate authority: ECDSA P-256, self-signed."""

    def __init__(
        self, member: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate
    ) -> None:
        self.member = member
        self._key = key
        self._certificate = certificate

    @property
    def certificate_pem(self) -> bytes:
        """The authority's own certificate, PEM: what goes into the registry."""
        return self._certificate.public_bytes(Encoding.PEM)

    @classmethod
    def create(
        cls,
        member: str,
        *,
        days: float = AUTHORITY_DAYS,
        starts: datetime.datetime | None = None,
    ) -> DevAuthority:
        """Make a new authority for `member`, valid for `days` from `starts` (five minutes ago)."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(member)
        begin = starts or datetime.datetime.now(datetime.UTC) - BACKDATED
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        return cls(member, key, certificate)

    @classmethod
    def load(cls, folder: Path, member: str) -> DevAuthority:
        """Read what `save` wrote.

        Raises:
            CertificateUnreadable: a file is missing or is not what `save` writes.
        """
        try:
            certificate = x509.load_pem_x509_certificate((folder / f"{member}.ca.pem").read_bytes())
            key = load_pem_private_key((folder / f"{member}.ca.key").read_bytes(), None)
        except OSError as error:
            raise CertificateUnreadable(f"cannot read {error.filename}: {error.strerror}") from None
        except ValueError:
            raise CertificateUnreadable(f"the authority of {member} is not PEM") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CertificateUnreadable(f"the authority's key of {member} is not an EC key")
        return cls(member, key, certificate)

    def save(self, folder: Path) -> None:
        """Write `<member>.ca.pem` and `<member>.ca.key` (mode 0600) into `folder`."""
        write_atomically(folder / f"{self.member}.ca.key", _private_pem(self._key))
        write_atomically(folder / f"{self.member}.ca.pem", self.certificate_pem)

    def issue(
        self,
        service: str,
        *,
        days: float = LEAF_DAYS,
        spiffe_id: str | None = None,
        starts: datetime.datetime | None = None,
    ) -> Identity:
        """Issue a certificate for a service of this member.

        Args:
            service: the service's name.
            days: how long it is valid from `starts`.
            spiffe_id: another name than `spiffe://<member>/<service>`: what a member gone bad
                would issue, and what a peer must refuse.
            starts: begin of its validity, default five minutes ago.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        begin = starts or datetime.datetime.now(datetime.UTC) - BACKDATED
        uri = spiffe_id or f"spiffe://{self.member}/{service}"
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(server_name(self.member, service)))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName(
                    [
                        x509.UniformResourceIdentifier(uri),
                        x509.DNSName(server_name(self.member, service)),
                        x509.DNSName("localhost"),
                    ]
                ),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return Identity(certificate.public_bytes(Encoding.PEM), _private_pem(key))


def save_identity(identity: Identity, folder: Path, name: str) -> tuple[Path, Path]:
    """Write `<name>.pem` and `<name>.key` (mode 0600); return both paths."""
    certificate, private_key = folder / f"{name}.pem", folder / f"{name}.key"
    write_atomically(private_key, identity.private_key_pem)
    write_atomically(certificate, identity.certificate_pem)
    return certificate, private_key
