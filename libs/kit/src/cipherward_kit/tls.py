"""Who is at the other end: certificates, the members' authorities, and gRPC credentials.

Every member has its own certificate authority. A service's certificate names it twice: as
`spiffe://<member>/<service>` (what the boundary reads) and as
`<service>.<member>.cipherward.internal` (what a client checks, whatever address it dialled).
TLS itself only shows that *some* member's authority vouches for a peer; that it is the authority
of the member that the peer claims to be of is shown here.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

SPIFFE_ID = re.compile(
    r"spiffe://(?P<member>[a-z][a-z0-9-]{1,30})/(?P<service>[a-z][a-z0-9-]{1,30})"
)

# Connections that a server may have seen at once, members times services times replicas, with room.
VERIFIED_PEERS_MAX = 1024

# What TLS and `verify_directly_issued_by` both check signatures with.
AUTHORITY_KEYS = (ec.EllipticCurvePublicKey, rsa.RSAPublicKey, ed25519.Ed25519PublicKey)


class PeerNotTrusted(ValueError):
    """A certificate does not prove the SPIFFE id that it claims. The text names the rule broken."""


class CertificateUnreadable(ValueError):
    """A certificate, authority or key file is missing or is not PEM of the expected kind."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified peer: the member it belongs to, and which of the member's services it is."""

    member: str
    service: str


@dataclass(frozen=True, slots=True)
class Identity:
    """What a service shows of itself: certificate chain (PEM, leaf first) and private key (PEM)."""

    certificate_pem: bytes
    private_key_pem: bytes

    def __repr__(self) -> str:  # the generated one would print the private key
        return "Identity(...)"

    @classmethod
    def from_files(cls, certificate: Path, private_key: Path) -> Identity:
        """Read both files.

        Raises:
            CertificateUnreadable: one is missing or unreadable, or the first is no certificate.
        """
        try:
            identity = cls(certificate.read_bytes(), private_key.read_bytes())
            x509.load_pem_x509_certificate(identity.certificate_pem)
        except OSError as error:
            raise CertificateUnreadable(f"cannot read {error.filename}: {error.strerror}") from None
        except ValueError:
            raise CertificateUnreadable(f"{certificate} is not a PEM certificate") from None
        return identity

    def caller(self) -> Caller:
        """Return who this identity says it is (unverified: it is our own)."""
        leaf = x509.load_pem_x509_certificate(self.certificate_pem)
        return caller_of(only_uri(leaf))


def server_name(member: str, service: str) -> str:
    """Return the DNS name that the certificate of a member's service bears."""
    return f"{service}.{member}.cipherward.internal"


def caller_of(spiffe_id: str) -> Caller:
    """Split `spiffe://<member>/<service>`, or raise `PeerNotTrusted`."""
    found = SPIFFE_ID.fullmatch(spiffe_id)
    if found is None:
        raise PeerNotTrusted("the peer's name is not spiffe://<member>/<service>")
    return Caller(found["member"], found["service"])


def only_uri(leaf: x509.Certificate) -> str:
    """Return the certificate's single URI name, or raise `PeerNotTrusted`."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        uris = []
    if len(uris) != 1:  # the SPIFFE standard: exactly one URI name
        raise PeerNotTrusted("the certificate does not bear exactly one URI name")
    return uris[0]


@dataclass(frozen=True, slots=True)
class _Verified:
    caller: Caller
    not_before: datetime.datetime
    not_after: datetime.datetime


@dataclass(frozen=True, slots=True)
class _Trust:
    """The authorities of one moment, and the peers that were verified by them."""

    authorities: Mapping[str, x509.Certificate]
    roots_pem: bytes
    verified: dict[tuple[bytes, str], _Verified] = field(
        default_factory=dict[tuple[bytes, str], _Verified]
    )


class TrustRegistry:
    """The certificate authorities of the alliance's members, as the chain's registry lists them."""

    def __init__(self, ca_by_member: Mapping[str, bytes]) -> None:
        """Take the members' authorities, PEM by member id.

        Raises:
            CertificateUnreadable: one of them cannot be used.
        """
        left_out = self.replace(ca_by_member)
        if left_out:
            raise CertificateUnreadable(next(iter(left_out.values())))

    def replace(self, ca_by_member: Mapping[str, bytes]) -> dict[str, str]:
        """Take other authorities: new handshakes and every later call go by them.

        Peers that were verified are forgotten, so a removed member's open connections serve it
        no more. An authority that cannot be used is left out, and its member trusted in nothing:
        the chain checks only the form of a newcomer's certificate, and one that TLS cannot read, or
        that bears the name of another's, must not shut the others out.

        Args:
            ca_by_member: PEM by member id; where two bear one name, the first counts.

        Returns:
            Why an authority was left out, by member.
        """
        authorities: dict[str, x509.Certificate] = {}
        names: set[x509.Name] = set()
        left_out: dict[str, str] = {}
        for member, pem in ca_by_member.items():
            try:
                authority = _read_authority(pem)
            except ValueError:
                left_out[member] = f"the authority of {member} is not PEM of a usable key"
                continue
            # TLS looks an issuer up by its name: a second one would make it try the wrong key.
            if authority.subject in names:
                left_out[member] = f"the authority of {member} bears another one's name"
                continue
            names.add(authority.subject)
            authorities[member] = authority
        # Written anew: only the certificate that was read, whatever stood around it in the file.
        roots = b"".join(one.public_bytes(Encoding.PEM) for one in authorities.values())
        self._trust = _Trust(authorities, roots)  # at once: a handshake is on another thread
        return left_out

    @property
    def members(self) -> frozenset[str]:
        """The ids of the members whose authorities are known."""
        return frozenset(self._trust.authorities)

    def authority_pem(self, member: str) -> bytes:
        """Return the member's authority, or raise `PeerNotTrusted` if there is no such member."""
        authority = self._trust.authorities.get(member)
        if authority is None:
            raise PeerNotTrusted(f"no member {member} in the registry")
        return authority.public_bytes(Encoding.PEM)

    def all_authorities_pem(self) -> bytes:
        """Return every member's authority, concatenated: what TLS accepts as roots."""
        return self._trust.roots_pem

    def verify_peer(self, leaf_pem: bytes, spiffe_id: str) -> Caller:
        """Return who the peer is: the authority of the member it names must have issued it.

        Signature and names are checked once per certificate, its validity period each time.

        Args:
            leaf_pem: the peer's own certificate, PEM, as TLS verified it.
            spiffe_id: the name that it claims.

        Raises:
            PeerNotTrusted: any rule is broken.
        """
        trust = self._trust
        known = trust.verified.get((leaf_pem, spiffe_id))
        if known is None:
            known = _verify(trust, leaf_pem, spiffe_id)
            if len(trust.verified) >= VERIFIED_PEERS_MAX:
                trust.verified.clear()  # rare and cheap: each costs one signature check again
            trust.verified[leaf_pem, spiffe_id] = known
        if not known.not_before <= datetime.datetime.now(datetime.UTC) <= known.not_after:
            raise PeerNotTrusted("the certificate is outside its validity period")
        return known.caller


def _read_authority(pem: bytes) -> x509.Certificate:
    """Return the certificate, or raise ValueError: also if nobody can check signatures with it."""
    authority = x509.load_pem_x509_certificate(pem)
    try:
        usable = isinstance(authority.public_key(), AUTHORITY_KEYS)
    except UnsupportedAlgorithm:
        usable = False
    if not usable:
        raise ValueError("not a key that issues certificates")
    return authority


def _verify(trust: _Trust, leaf_pem: bytes, spiffe_id: str) -> _Verified:
    caller = caller_of(spiffe_id)
    authority = trust.authorities.get(caller.member)
    if authority is None:
        raise PeerNotTrusted(f"no member {caller.member} in the registry")
    try:
        leaf = x509.load_pem_x509_certificate(leaf_pem)
        leaf.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        raise PeerNotTrusted(
            f"the certificate was not issued by the authority of {caller.member}"
        ) from None
    if only_uri(leaf) != spiffe_id:
        raise PeerNotTrusted("the certificate bears another name")
    if _is_authority(leaf):
        raise PeerNotTrusted("an authority's certificate is not a service's")
    return _Verified(caller, leaf.not_valid_before_utc, leaf.not_valid_after_utc)


def _is_authority(leaf: x509.Certificate) -> bool:
    try:
        return leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def server_credentials(identity: Identity, registry: TrustRegistry) -> grpc.ServerCredentials:
    """Return TLS that requires a client certificate of any member's authority.

    Each handshake goes by the registry as it then is; connections that are open stay open, and the
    boundary asks the registry about each of their calls.
    """
    served = registry.all_authorities_pem()

    def configuration() -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(identity.private_key_pem, identity.certificate_pem)], root_certificates=served
        )

    def configuration_if_changed() -> grpc.ServerCertificateConfiguration | None:
        """Run on a thread of gRPC's before every handshake; None leaves all as it is."""
        nonlocal served
        current = registry.all_authorities_pem()
        if current is served:
            return None
        served = current
        return configuration()

    return grpc.dynamic_ssl_server_credentials(
        configuration(),
        configuration_if_changed,  # pyright: ignore[reportArgumentType] - typed without its None
        require_client_authentication=True,
    )


def holder_credentials(identity: Identity) -> grpc.ServerCredentials:
    """Return TLS that asks for no client certificate: a wallet that has one is not anonymous."""
    return grpc.ssl_server_credentials([(identity.private_key_pem, identity.certificate_pem)])


def channel_credentials(
    identity: Identity | None, registry: TrustRegistry, peer_member: str
) -> grpc.ChannelCredentials:
    """Return TLS that trusts only the authority of `peer_member`; None shows no certificate.

    Raises:
        PeerNotTrusted: the registry has no such member.
    """
    roots = registry.authority_pem(peer_member)
    if identity is None:
        return grpc.ssl_channel_credentials(root_certificates=roots)
    return grpc.ssl_channel_credentials(
        root_certificates=roots,
        private_key=identity.private_key_pem,
        certificate_chain=identity.certificate_pem,
    )
