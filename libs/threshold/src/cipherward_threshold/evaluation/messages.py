"""Messages of the ceremonies for evaluation keys, in strict wire form.

Names of the fields: `context_digest` names the ceremony, `dealer` the member by the digest of its
public-key share, `key_id` the collective key. Polynomials are at key level, in NTT form.
"""

from __future__ import annotations

from dataclasses import dataclass

from cipherward_threshold.errors import MalformedMessage
from cipherward_threshold.parameters import Profile
from cipherward_threshold.sampling import Residues
from cipherward_threshold.wire import Kind, Reader, frame, written


@dataclass(frozen=True, slots=True, eq=False)
class RelinFirst:
    """Round one of a member: (h0_j), (h1_j) one after the other, [2 L, primes, n]. Public."""

    context_digest: bytes
    dealer: bytes
    value: Residues

    def to_bytes(self, profile: Profile) -> bytes:
        body = written(self.value, profile.key_primes)
        return frame(Kind.RELIN_FIRST, profile, self.context_digest, self.dealer, body)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> RelinFirst:
        reader = Reader(message, Kind.RELIN_FIRST, profile)
        count = 2 * len(profile.data_primes)
        digest, dealer = reader.digest(), reader.digest()
        first = cls(digest, dealer, reader.polynomials(count, profile.key_primes))
        reader.end()
        return first


@dataclass(frozen=True, slots=True, eq=False)
class RelinSecond:
    """Round two of a member: [L, primes, n], made for one sum of first rounds. Public.

    `firsts_digest` names that sum.
    """

    context_digest: bytes
    dealer: bytes
    firsts_digest: bytes
    value: Residues

    def to_bytes(self, profile: Profile) -> bytes:
        names = self.context_digest + self.dealer + self.firsts_digest
        body = written(self.value, profile.key_primes)
        return frame(Kind.RELIN_SECOND, profile, names, body)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> RelinSecond:
        reader = Reader(message, Kind.RELIN_SECOND, profile)
        digest, dealer, firsts = reader.digest(), reader.digest(), reader.digest()
        value = reader.polynomials(len(profile.data_primes), profile.key_primes)
        reader.end()
        return cls(digest, dealer, firsts, value)


@dataclass(frozen=True, slots=True, eq=False)
class RelinKey:
    """The collective relinearisation key: (b_j), (a_j) one after the other, [2 L, primes, n]."""

    key_id: bytes
    value: Residues

    def to_bytes(self, profile: Profile) -> bytes:
        return frame(Kind.RELIN_KEY, profile, self.key_id, written(self.value, profile.key_primes))

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> RelinKey:
        reader = Reader(message, Kind.RELIN_KEY, profile)
        count = 2 * len(profile.data_primes)
        key = cls(reader.digest(), reader.polynomials(count, profile.key_primes))
        reader.end()
        return key


@dataclass(frozen=True, slots=True, eq=False)
class RotationShare:
    """A member's share of the key for X -> X^element: [L, primes, n]. Public."""

    context_digest: bytes
    dealer: bytes
    element: int
    value: Residues

    def to_bytes(self, profile: Profile) -> bytes:
        names = self.context_digest + self.dealer + _element_bytes(self.element)
        body = written(self.value, profile.key_primes)
        return frame(Kind.ROTATION_SHARE, profile, names, body)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> RotationShare:
        reader = Reader(message, Kind.ROTATION_SHARE, profile)
        digest, dealer, element = reader.digest(), reader.digest(), _read_element(reader, profile)
        value = reader.polynomials(len(profile.data_primes), profile.key_primes)
        reader.end()
        return cls(digest, dealer, element, value)


@dataclass(frozen=True, slots=True, eq=False)
class RotationKey:
    """The collective key for X -> X^element: (b_j) as [L, primes, n]; (a_j) follow. Public."""

    context_digest: bytes
    key_id: bytes
    element: int
    value: Residues

    def to_bytes(self, profile: Profile) -> bytes:
        names = self.context_digest + self.key_id + _element_bytes(self.element)
        body = written(self.value, profile.key_primes)
        return frame(Kind.ROTATION_KEY, profile, names, body)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> RotationKey:
        reader = Reader(message, Kind.ROTATION_KEY, profile)
        digest, key_id, element = reader.digest(), reader.digest(), _read_element(reader, profile)
        value = reader.polynomials(len(profile.data_primes), profile.key_primes)
        reader.end()
        return cls(digest, key_id, element, value)


def _element_bytes(element: int) -> bytes:
    return element.to_bytes(4, "little")


def _read_element(reader: Reader, profile: Profile) -> int:
    """Return a Galois element: odd, above one, below 2n."""
    element = int.from_bytes(reader.take(4), "little")
    if element % 2 == 0 or not 1 < element < 2 * profile.degree:
        raise MalformedMessage("a Galois element is odd and in 3..2n - 1")
    return element
