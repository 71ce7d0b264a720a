"""Who is at the other end: certificates, and the members' authorities.

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
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

SPIFFE_ID = re.compile(
    r"spiffe://(?P<member>[a-z][a-z0-9-]{1,30})/(?P<service>[a-z][a-z0-9-]{1,30})"
)

# A server's connections: members times services times replicas, with room.
VERIFIED_PEERS_MAX = 1024

# A member that changes its authority has the old and the new one for a while; twice that is room.
AUTHORITIES_MAX = 4  # of one member

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
            CertificateUnreadable: one is missing or unreadable, or the two do not belong together.
        """
        try:
            identity = cls(certificate.read_bytes(), private_key.read_bytes())
            certified = identity.leaf().public_key()
        except OSError as error:
            raise CertificateUnreadable(f"cannot read {error.filename}: {error.strerror}") from None
        except (ValueError, UnsupportedAlgorithm):
            raise CertificateUnreadable(f"{certificate} is not a PEM certificate") from None
        try:
            public = load_pem_private_key(identity.private_key_pem, None).public_key()
        except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it has a password
            raise CertificateUnreadable(f"{private_key} is not a plain PEM private key") from None
        if public != certified:
            raise CertificateUnreadable(f"{private_key} is not the key of {certificate}")
        return identity

    @property
    def current(self) -> Identity:
        """This one: it never is another (`FollowedIdentity` is the one that may be)."""
        return self

    def leaf(self) -> x509.Certificate:
        """Return the certificate itself, without its chain."""
        return x509.load_pem_x509_certificate(self.certificate_pem)

    def caller(self) -> Caller:
        """Return who this identity says it is (unverified: it is our own)."""
        return caller_of(only_uri(self.leaf()))


class Presented(Protocol):
    """What a process shows of itself: an `Identity`, or `FollowedIdentity` as files change."""

    @property
    def current(self) -> Identity: ...


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

    authorities: Mapping[str, tuple[x509.Certificate, ...]]
    pem: Mapping[str, bytes]  # of each member's authorities
    roots_pem: bytes
    verified: dict[tuple[bytes, str], _Verified]


class TrustRegistry:
    """The certificate authorities of the alliance's members, as the chain's registry lists them.

    A member has one, or for as long as it changes it several: what any of them issued counts.
    """

    def __init__(self, ca_by_member: Mapping[str, bytes]) -> None:
        """Take the members' authorities, PEM by member id.

        Raises:
            CertificateUnreadable: one of them cannot be used.
        """
        if left_out := self.replace(ca_by_member):
            raise CertificateUnreadable(next(iter(left_out.values())))

    def replace(self, ca_by_member: Mapping[str, bytes]) -> dict[str, str]:
        """Take other authorities: new handshakes and every later call go by them.

        Peers that were verified are forgotten, so a removed member's open connections serve it
        no more. An authority that cannot be used is left out, and its member trusted in nothing:
        the chain checks only the form of a newcomer's certificate, and one that TLS cannot read, or
        that bears the name of another's, must not shut the others out.

        Args:
            ca_by_member: PEM by member id, of at most AUTHORITIES_MAX certificates each; where two
                members' bear one name, the first member's counts.

        Returns:
            Why a member's authorities were left out, by member.
        """
        authorities: dict[str, tuple[x509.Certificate, ...]] = {}
        names: set[x509.Name] = set()
        left_out: dict[str, str] = {}
        for member, document in ca_by_member.items():
            try:
                bundle = _read_authorities(document)
            except ValueError:
                left_out[member] = f"the authority of {member} is not PEM of a usable key"
                continue
            # TLS looks an issuer up by its name: another member's would make it try the wrong key.
            own_names = {authority.subject for authority in bundle}
            if own_names & names:
                left_out[member] = f"the authority of {member} bears another one's name"
                continue
            names |= own_names
            authorities[member] = bundle
        # Written anew: only the certificates that were read, whatever stood around them.
        pem = {
            member: b"".join(one.public_bytes(Encoding.PEM) for one in bundle)
            for member, bundle in authorities.items()
        }
        # At once: a handshake is on another thread.
        self._trust = _Trust(authorities, pem, b"".join(pem.values()), {})
        return left_out

    @property
    def members(self) -> frozenset[str]:
        """The ids of the members whose authorities are known."""
        return frozenset(self._trust.authorities)

    def authority_pem(self, member: str) -> bytes:
        """Return the member's authorities, or raise `PeerNotTrusted` if there is no such member."""
        pem = self._trust.pem.get(member)
        if pem is None:
            raise PeerNotTrusted(f"no member {member} in the registry")
        return pem

    def authorities_until(self) -> Mapping[str, datetime.datetime]:
        """Return when the last of each member's authorities runs out, UTC."""
        return {
            member: max(one.not_valid_after_utc for one in bundle)
            for member, bundle in self._trust.authorities.items()
        }

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


def _read_authorities(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Return the certificates, or raise ValueError, also if one cannot check signatures."""
    bundle = tuple(x509.load_pem_x509_certificates(pem))
    try:
        usable = all(isinstance(one.public_key(), AUTHORITY_KEYS) for one in bundle)
    except UnsupportedAlgorithm:
        usable = False
    if not usable or len(bundle) > AUTHORITIES_MAX:
        raise ValueError("too many, or not keys that issue certificates")
    return bundle


def _verify(trust: _Trust, leaf_pem: bytes, spiffe_id: str) -> _Verified:
    caller = caller_of(spiffe_id)
    bundle = trust.authorities.get(caller.member)
    if bundle is None:
        raise PeerNotTrusted(f"no member {caller.member} in the registry")
    try:
        leaf = x509.load_pem_x509_certificate(leaf_pem)
    except ValueError:
        leaf = None
    issuers = [one for one in bundle if leaf is not None and _issued(leaf, one)]
    if leaf is None or not issuers:
        raise PeerNotTrusted(f"the certificate was not issued by the authority of {caller.member}")
    if only_uri(leaf) != spiffe_id:
        raise PeerNotTrusted("the certificate bears another name")
    if _is_authority(leaf):
        raise PeerNotTrusted("an authority's certificate is not a service's")
    # As TLS has it: no longer than the authority itself. One that was renewed has several.
    issuer = max(issuers, key=lambda one: one.not_valid_after_utc)
    return _Verified(
        caller,
        max(leaf.not_valid_before_utc, issuer.not_valid_before_utc),
        min(leaf.not_valid_after_utc, issuer.not_valid_after_utc),
    )


def _issued(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_authority(leaf: x509.Certificate) -> bool:
    try:
        return leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
