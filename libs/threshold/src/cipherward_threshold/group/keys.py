"""The public side of a key that the members share.

`key_epoch` names the public key and survives resharing; `sharing` names the polynomial behind it,
of which every holder has one value. A key serves one purpose: record keys are encapsulated under
one, staff's identity keys are encrypted under the other, and neither operation takes the other's
key.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cipherward_threshold.group import domains
from cipherward_threshold.group.curve import (
    POINT_BYTES,
    G1Point,
    independent_point,
    read_point,
)
from cipherward_threshold.group.encoding import digest
from cipherward_threshold.group.errors import KeyRejected, KeyShareRejected, WrongPurpose

RECORD: Final = "record"
OPENING: Final = "opening"
PURPOSES: Final = (OPENING, RECORD)
# A deal, with one sealed part of 1.2 kB a member, must fit a transaction of 64 KiB.
HOLDERS_MAX: Final = 32
NUMBER_MAX: Final = 2**32 - 1  # of an epoch or a sharing: a share carries 4 bytes
_CACHED = 64  # keys in use at once: a handful


@dataclass(frozen=True, slots=True)
class ThresholdKey:
    """A shared key: any `threshold` of the holders open, fewer learn nothing.

    Attributes:
        chain_id, purpose: whose key, and what for (of PURPOSES).
        key_epoch, sharing: from 1.
        public_key: 48 bytes.
        points: share * G of every holder, 48 bytes each, by index from 1.

    Points are parsed when they are first used; octets that are no point are refused then.

    Raises:
        KeyRejected: a length, number or purpose is out of range.
    """

    chain_id: str
    purpose: str
    key_epoch: int
    sharing: int
    threshold: int
    public_key: bytes
    points: tuple[bytes, ...]

    def __post_init__(self) -> None:
        numbers = self.key_epoch, self.sharing
        if not self.chain_id or self.purpose not in PURPOSES:
            raise KeyRejected("a shared key has a chain and a known purpose")
        if not all(1 <= number <= NUMBER_MAX for number in numbers):
            raise KeyRejected("epochs and sharings are counted from 1")
        if not 1 <= self.threshold <= len(self.points) <= HOLDERS_MAX:
            raise KeyRejected(f"a threshold is in 1..holders, and these are at most {HOLDERS_MAX}")
        if any(len(point) != POINT_BYTES for point in (self.public_key, *self.points)):
            raise KeyRejected("a point of a shared key has 48 bytes")

    @property
    def identity(self) -> bytes:
        """What slots are made under, 32 bytes: not of the sharing, which changes beneath them."""
        return _identity(self)

    @property
    def digest(self) -> bytes:
        """Of the key and this sharing of it, 32 bytes."""
        return _digest(self)


def require_purpose(key: ThresholdKey, purpose: str) -> None:
    """Raise `WrongPurpose` unless the key serves `purpose`."""
    if key.purpose != purpose:
        raise WrongPurpose(key.purpose, purpose)


def public_point(key: ThresholdKey) -> G1Point:
    """Return the public key as a point, or raise `OctetsRejected`."""
    return _parsed(key.public_key)


def holder_point(key: ThresholdKey, index: int) -> G1Point:
    """Return a holder's point.

    Raises:
        KeyShareRejected: the key has no such holder.
        OctetsRejected: the key's octets there are no point.
    """
    if not 1 <= index <= len(key.points):
        raise KeyShareRejected("the key has no holder of that index", index=index)
    return _parsed(key.points[index - 1])


@lru_cache(maxsize=8)
def second_generator(purpose: str) -> G1Point:
    """Return TDH2's other generator of a purpose: a slot of one is malformed for any other."""
    return independent_point("tdh2/" + purpose)


@lru_cache(maxsize=_CACHED * HOLDERS_MAX)
def _parsed(octets: bytes) -> G1Point:
    return read_point(octets)


@lru_cache(maxsize=_CACHED)
def _identity(key: ThresholdKey) -> bytes:
    return digest(domains.KEY_IDENTITY, key.chain_id, key.purpose, key.key_epoch, key.public_key)


@lru_cache(maxsize=_CACHED)
def _digest(key: ThresholdKey) -> bytes:
    return digest(
        domains.SHARING_DIGEST, key.identity, key.sharing, key.threshold, b"".join(key.points)
    )
