"""The main messages of the scheme: one frozen value each, with its strict wire form.

Services hold and pass only the bytes; these values exist between `parse` and `to_bytes`. Whoever
receives a peer's message parses it before anything else: every residue is range-checked then.

Names of the fields: `circuit` is what was done to the ciphertext, `key_id` names the collective key
(digest of all its public-key shares), `c1_digest` the ciphertext under that key, `requester` the
digest of a requester's public key.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cipherward_threshold.circuits import Circuit, circuit_of
from cipherward_threshold.errors import MalformedMessage, UnknownCircuit
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
    """One dealer's Shamir shares for one point: [1, 3, n] each, NTT form. SECRET, point to point.

    `dealer` is the digest of the dealer's public-key share: it ties the deal to the key. `value` is
    of the dealer's secret, `mask` of the mask under which the deal is verified (`dealing`).
    """

    dealer: bytes
    sharing: Sharing
    point: int
    value: Residues = field(repr=False)
    mask: Residues = field(repr=False)

    def to_bytes(self, profile: Profile) -> bytes:
        body = written(np.concatenate([self.value, self.mask]), profile.data_primes)
        where = self.sharing.to_bytes() + bytes((self.point,))
        return frame(Kind.DEAL, profile, self.dealer, where, body)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> Deal:
        reader = Reader(message, Kind.DEAL, profile)
        dealer, sharing = reader.digest(), Sharing.read(reader)
        point = reader.point_of(sharing.points)
        both = reader.polynomials(2, profile.data_primes)
        reader.end()
        return cls(dealer, sharing, point, both[:1], both[1:])


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
        point = reader.point_of(sharing.points)
        share = cls(key_id, sharing, point, reader.polynomials(1, profile.data_primes))
        reader.end()
        return share


@dataclass(frozen=True, slots=True, eq=False)
class Ciphertext:
    """(c0, c1): [2, primes, n], coefficients, under the key `key_id`. Public among the members."""

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
    """lambda_i s_i c1 + flooding: [1, primes, n], coefficients. For the guardians of one set."""

    circuit: Circuit
    key_id: bytes
    c1_digest: bytes
    point: int
    online: tuple[int, ...]
    value: Residues

    def to_bytes(self, profile: Profile) -> bytes:
        names = bytes((self.circuit.number,)) + self.key_id + self.c1_digest
        where = point_set(self.online) + bytes((self.point,))
        body = written(self.value, profile.data_primes)
        return frame(Kind.DECRYPTION_SHARE, profile, names, where, body)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> DecryptionShare:
        reader = Reader(message, Kind.DECRYPTION_SHARE, profile)
        circuit = _circuit(reader, profile)
        key_id, c1_digest, online = reader.digest(), reader.digest(), reader.points()
        point = reader.point_of(online)
        value = reader.polynomials(1, profile.data_primes)
        reader.end()
        return cls(circuit, key_id, c1_digest, point, online, value)


@dataclass(frozen=True, slots=True, eq=False)
class RequesterPublicKey:
    """b = -(a s + e): [1, primes, n], NTT form; `a` follows from `polynomial_seed`. Public."""

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
    """(lambda_i s_i c1 + flooding, 0) + Enc(0) to the requester: [2, primes, n], coefficients."""

    circuit: Circuit
    key_id: bytes
    c1_digest: bytes
    requester: bytes
    point: int
    online: tuple[int, ...]
    value: Residues

    def to_bytes(self, profile: Profile) -> bytes:
        number = bytes((self.circuit.number,))
        names = number + self.key_id + self.c1_digest + self.requester
        where = point_set(self.online) + bytes((self.point,))
        body = written(self.value, profile.data_primes)
        return frame(Kind.SWITCH_SHARE, profile, names, where, body)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> SwitchShare:
        reader = Reader(message, Kind.SWITCH_SHARE, profile)
        circuit = _circuit(reader, profile)
        key_id, c1_digest, requester = reader.digest(), reader.digest(), reader.digest()
        online = reader.points()
        point = reader.point_of(online)
        value = reader.polynomials(2, profile.data_primes)
        reader.end()
        return cls(circuit, key_id, c1_digest, requester, point, online, value)


@dataclass(frozen=True, slots=True, eq=False)
class Switched:
    """The result under the requester's own key: [2, primes, n], coefficient form."""

    circuit: Circuit
    c1_digest: bytes
    requester: bytes
    polynomials: Residues

    def to_bytes(self, profile: Profile) -> bytes:
        names = bytes((self.circuit.number,)) + self.c1_digest + self.requester
        return frame(Kind.SWITCHED, profile, names, written(self.polynomials, profile.data_primes))

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> Switched:
        reader = Reader(message, Kind.SWITCHED, profile)
        circuit = _circuit(reader, profile)
        c1_digest, requester = reader.digest(), reader.digest()
        switched = cls(circuit, c1_digest, requester, reader.polynomials(2, profile.data_primes))
        reader.end()
        return switched


def _circuit(reader: Reader, profile: Profile) -> Circuit:
    try:
        return circuit_of(reader.byte(), profile)
    except UnknownCircuit as unknown:
        raise MalformedMessage("the message names no circuit of its profile") from unknown
