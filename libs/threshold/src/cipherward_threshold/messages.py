"""The nine messages of the scheme: one frozen value each, with its strict wire form.

Services hold and pass only the bytes; these values exist between `parse` and `to_bytes`. Whoever
receives a peer's message parses it before anything else: every residue is range-checked then.

Names of the fields: `key_id` names the collective key (digest of all its public-key shares),
`c1_digest` the ciphertext under that key, `requester` the digest of a requester's public key.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cipherward_threshold.errors import MalformedMessage
from cipherward_threshold.parameters import Profile
from cipherward_threshold.sampling import Residues
from cipherward_threshold.wire import Kind, Reader, frame, point_set, written


@dataclass(frozen=True, slots=True, eq=False)
class PublicKeyShare:
    """b_i = -(a s_i + e_i): [1, 4, n], NTT form, of the ceremony `context_digest`. Public."""

    context_digest: bytes
    b: Residues

    def to_bytes(self, profile: Profile) -> bytes:
        body = written(self.b, profile.key_primes)
        return frame(Kind.PUBLIC_KEY_SHARE, profile, self.context_digest, body)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> PublicKeyShare:
        reader = Reader(message, Kind.PUBLIC_KEY_SHARE, profile)
        share = cls(reader.digest(), reader.polynomials(1, profile.key_primes))
        reader.end()
        return share


@dataclass(frozen=True, slots=True, eq=False)
class PublicKey:
    """b = sum of b_i: [1, 4, n], NTT form; `a` follows from `context_digest`. Public."""

    context_digest: bytes
    key_id: bytes
    b: Residues

    def to_bytes(self, profile: Profile) -> bytes:
        body = written(self.b, profile.key_primes)
        return frame(Kind.PUBLIC_KEY, profile, self.context_digest, self.key_id, body)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> PublicKey:
        reader = Reader(message, Kind.PUBLIC_KEY, profile)
        key = cls(reader.digest(), reader.digest(), reader.polynomials(1, profile.key_primes))
        reader.end()
        return key


@dataclass(frozen=True, slots=True)
class Sharing:
    """Who holds a share of what: threshold and all points dealt to, ascending."""

    threshold: int
    points: tuple[int, ...]

    def to_bytes(self) -> bytes:
        return bytes((self.threshold,)) + point_set(self.points)

    @classmethod
    def read(cls, reader: Reader) -> Sharing:
        sharing = cls(reader.byte(), reader.points())
        if not 1 <= sharing.threshold <= len(sharing.points):
            raise MalformedMessage("a threshold must be between one and the number of points")
        return sharing


@dataclass(frozen=True, slots=True, eq=False)
class Deal:
    """One dealer's Shamir share for one point: [1, 3, n], NTT form. SECRET, point to point.

    `dealer` is the digest of the dealer's public-key share: it ties the deal to the key.
    """

    dealer: bytes
    sharing: Sharing
    point: int
    value: Residues = field(repr=False)

    def to_bytes(self, profile: Profile) -> bytes:
        body = written(self.value, profile.data_primes)
        where = self.sharing.to_bytes() + bytes((self.point,))
        return frame(Kind.DEAL, profile, self.dealer, where, body)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> Deal:
        reader = Reader(message, Kind.DEAL, profile)
        dealer, sharing = reader.digest(), Sharing.read(reader)
        point = _point_of(sharing.points, reader)
        deal = cls(dealer, sharing, point, reader.polynomials(1, profile.data_primes))
        reader.end()
        return deal


@dataclass(frozen=True, slots=True, eq=False)
class KeyShare:
    """A member's share of the joint secret: [1, 3, n], NTT form. SECRET, never leaves it."""

    key_id: bytes
    sharing: Sharing
    point: int
    value: Residues = field(repr=False)

    def to_bytes(self, profile: Profile) -> bytes:
        body = written(self.value, profile.data_primes)
        where = self.sharing.to_bytes() + bytes((self.point,))
        return frame(Kind.KEY_SHARE, profile, self.key_id, where, body)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> KeyShare:
        reader = Reader(message, Kind.KEY_SHARE, profile)
        key_id, sharing = reader.digest(), Sharing.read(reader)
        point = _point_of(sharing.points, reader)
        share = cls(key_id, sharing, point, reader.polynomials(1, profile.data_primes))
        reader.end()
        return share


@dataclass(frozen=True, slots=True, eq=False)
class Ciphertext:
    """(c0, c1): [2, 3, n], coefficient form, under the key `key_id`. Public among the members."""

    key_id: bytes
    polynomials: Residues

    def to_bytes(self, profile: Profile) -> bytes:
        body = written(self.polynomials, profile.data_primes)
        return frame(Kind.CIPHERTEXT, profile, self.key_id, body)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> Ciphertext:
        reader = Reader(message, Kind.CIPHERTEXT, profile)
        ciphertext = cls(reader.digest(), reader.polynomials(2, profile.data_primes))
        reader.end()
        return ciphertext


@dataclass(frozen=True, slots=True, eq=False)
class DecryptionShare:
    """lambda_i s_i c1 + flooding: [1, 3, n], coefficient form. For the guardians of one set."""

    key_id: bytes
    c1_digest: bytes
    point: int
    online: tuple[int, ...]
    value: Residues

    def to_bytes(self, profile: Profile) -> bytes:
        where = point_set(self.online) + bytes((self.point,))
        body = written(self.value, profile.data_primes)
        return frame(Kind.DECRYPTION_SHARE, profile, self.key_id, self.c1_digest, where, body)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> DecryptionShare:
        reader = Reader(message, Kind.DECRYPTION_SHARE, profile)
        key_id, c1_digest, online = reader.digest(), reader.digest(), reader.points()
        point = _point_of(online, reader)
        value = reader.polynomials(1, profile.data_primes)
        reader.end()
        return cls(key_id, c1_digest, point, online, value)


@dataclass(frozen=True, slots=True, eq=False)
class RequesterPublicKey:
    """b = -(a s + e): [1, 3, n], NTT form; `a` follows from `polynomial_seed`. Public."""

    polynomial_seed: bytes
    b: Residues

    def to_bytes(self, profile: Profile) -> bytes:
        body = written(self.b, profile.data_primes)
        return frame(Kind.REQUESTER_KEY, profile, self.polynomial_seed, body)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> RequesterPublicKey:
        reader = Reader(message, Kind.REQUESTER_KEY, profile)
        key = cls(reader.digest(), reader.polynomials(1, profile.data_primes))
        reader.end()
        return key


@dataclass(frozen=True, slots=True, eq=False)
class SwitchShare:
    """(lambda_i s_i c1 + flooding, 0) + Enc(0) to the requester: [2, 3, n], coefficients."""

    key_id: bytes
    c1_digest: bytes
    requester: bytes
    point: int
    online: tuple[int, ...]
    value: Residues

    def to_bytes(self, profile: Profile) -> bytes:
        names = self.key_id + self.c1_digest + self.requester
        where = point_set(self.online) + bytes((self.point,))
        body = written(self.value, profile.data_primes)
        return frame(Kind.SWITCH_SHARE, profile, names, where, body)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> SwitchShare:
        reader = Reader(message, Kind.SWITCH_SHARE, profile)
        key_id, c1_digest, requester = reader.digest(), reader.digest(), reader.digest()
        online = reader.points()
        point = _point_of(online, reader)
        value = reader.polynomials(2, profile.data_primes)
        reader.end()
        return cls(key_id, c1_digest, requester, point, online, value)


@dataclass(frozen=True, slots=True, eq=False)
class Switched:
    """The result under the requester's own key: [2, 3, n], coefficient form."""

    c1_digest: bytes
    requester: bytes
    polynomials: Residues

    def to_bytes(self, profile: Profile) -> bytes:
        body = written(self.polynomials, profile.data_primes)
        return frame(Kind.SWITCHED, profile, self.c1_digest, self.requester, body)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> Switched:
        reader = Reader(message, Kind.SWITCHED, profile)
        c1_digest, requester = reader.digest(), reader.digest()
        switched = cls(c1_digest, requester, reader.polynomials(2, profile.data_primes))
        reader.end()
        return switched


def _point_of(points: tuple[int, ...], reader: Reader) -> int:
    """Return the message's own point, which must be one of `points`."""
    point = reader.byte()
    if point not in points:
        raise MalformedMessage("a message's point must be one of its point set")
    return point
