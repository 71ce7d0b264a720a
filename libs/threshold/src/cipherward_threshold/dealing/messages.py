"""The messages by which deals are verified: one frozen value each, with its strict wire form."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cipherward_threshold.errors import MalformedMessage
from cipherward_threshold.messages import Sharing
from cipherward_threshold.parameters import Profile
from cipherward_threshold.sampling import Residues
from cipherward_threshold.wire import DIGEST_BYTES, Kind, Reader, frame, written


@dataclass(frozen=True, slots=True, eq=False)
class MaskShare:
    """b = -(a r + e) of a dealer's mask r: [1, 3, n], NTT form. Public.

    `dealer` and `sharing` name the deals that the mask verifies.
    """

    dealer: bytes
    sharing: Sharing
    b: Residues

    def to_bytes(self, profile: Profile) -> bytes:
        body = written(self.b, profile.data_primes)
        return frame(Kind.MASK_SHARE, profile, self.dealer, self.sharing.to_bytes(), body)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> MaskShare:
        reader = Reader(message, Kind.MASK_SHARE, profile)
        dealer, sharing = reader.digest(), Sharing.read(reader)
        share = cls(dealer, sharing, reader.polynomials(1, profile.data_primes))
        reader.end()
        return share


@dataclass(frozen=True, slots=True, eq=False)
class DealCheck:
    """What a receiver says of its deals: rho value + mask of each, [dealers, 3, n], NTT form.

    Public: the mask hides the deal. `dealers` are names of deals, in ascending order; `challenge`
    is the digest from which rho follows.
    """

    challenge: bytes
    sharing: Sharing
    point: int
    dealers: tuple[bytes, ...]
    values: Residues

    def to_bytes(self, profile: Profile) -> bytes:
        where = self.sharing.to_bytes() + bytes((self.point, len(self.dealers)))
        body = written(self.values, profile.data_primes)
        parts = (self.challenge, where, *self.dealers, body)
        return frame(Kind.DEAL_CHECK, profile, *parts)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> DealCheck:
        reader = Reader(message, Kind.DEAL_CHECK, profile)
        challenge, sharing = reader.digest(), Sharing.read(reader)
        point, count = reader.point_of(sharing.points), reader.byte()
        dealers = tuple(reader.take(DIGEST_BYTES) for _ in range(count))
        if not dealers or list(dealers) != sorted(set(dealers)):
            raise MalformedMessage("dealers must be named once, in ascending order")
        values = reader.polynomials(count, profile.data_primes)
        reader.end()
        return cls(challenge, sharing, point, dealers, values)


@dataclass(frozen=True, slots=True, eq=False)
class ReshareDeal:
    """An old holder's shares of its part of a joint secret, for one new point. SECRET.

    As `messages.Deal`, of which it differs in what is dealt: `key_id` names the key.
    """

    key_id: bytes
    dealer: bytes
    sharing: Sharing
    point: int
    value: Residues = field(repr=False)
    mask: Residues = field(repr=False)

    def to_bytes(self, profile: Profile) -> bytes:
        body = written(np.concatenate([self.value, self.mask]), profile.data_primes)
        where = self.sharing.to_bytes() + bytes((self.point,))
        return frame(Kind.RESHARE_DEAL, profile, self.key_id, self.dealer, where, body)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> ReshareDeal:
        reader = Reader(message, Kind.RESHARE_DEAL, profile)
        key_id, dealer, sharing = reader.digest(), reader.digest(), Sharing.read(reader)
        point = reader.point_of(sharing.points)
        both = reader.polynomials(2, profile.data_primes)
        reader.end()
        return cls(key_id, dealer, sharing, point, both[:1], both[1:])
