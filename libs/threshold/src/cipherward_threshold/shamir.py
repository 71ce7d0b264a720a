"""t-of-n sharing of the joint secret over every prime that a ciphertext uses.

Mouchet, Bertrand, Hubaux, "An Efficient Threshold Access-Structure for RLWE-Based Multiparty
Homomorphic Encryption", J. Cryptology 2023. Every member deals its additive secret; the sums of
what each received are Shamir shares of the joint secret, which nobody ever holds. Shamir's scheme
works modulo each prime on its own; points are non-zero, distinct and smaller than every prime.

The special prime is not shared: only the public key lives there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cipherward_threshold import domains
from cipherward_threshold.errors import (
    BadSharing,
    DuplicateShare,
    MixedShares,
    TooFewShares,
    TooManyShares,
    WrongKey,
    WrongPoint,
)
from cipherward_threshold.messages import Ciphertext, Deal, KeyShare, Sharing
from cipherward_threshold.parameters import Profile
from cipherward_threshold.ring import Ring
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import Residues, Stream, framed, uniform
from cipherward_threshold.wire import POINT_MAX, point_set


def sharing(points: Sequence[int], threshold: int) -> Sharing:
    """Return a checked sharing, its points ascending.

    Raises:
        BadSharing: points not distinct and in 1..255, or threshold not in 1..len(points).
    """
    ordered = tuple(point_set(points)[1:])
    if not 1 <= threshold <= len(ordered):
        raise BadSharing(
            "a threshold must be between one and the number of points",
            threshold=threshold,
            points=len(ordered),
        )
    return Sharing(threshold, ordered)


def shares_of(ring: Ring, secrets: Residues, stream: Stream, form: Sharing) -> dict[int, Residues]:
    """Return a share [k, 3, n] of `secrets` ([k, 3, n], NTT form) for every point of the sharing.

    The polynomials' other coefficients are uniform and come from `stream`.
    """
    primes, degree = ring.profile.data_primes, ring.profile.degree
    coefficients = [  # highest power first
        np.stack([uniform(stream, primes, degree) for _ in secrets])
        for _ in range(form.threshold - 1)
    ]
    coefficients.append(secrets)
    shares: dict[int, Residues] = {}
    for point in form.points:
        at_point = ring.constant([point] * len(primes))
        value = coefficients[0]
        for coefficient in coefficients[1:]:  # Horner's rule
            value = ring.add(ring.multiply(value, at_point), coefficient)
        shares[point] = value
    return shares


def deal(
    ring: Ring,
    secret: Residues,
    mask: Residues,
    stream: Stream,
    *,
    dealer: bytes,
    form: Sharing,
) -> dict[int, bytes]:
    """Return a deal of `secret` and of the `mask` that verifies it ([3, n], NTT form) a point."""
    shares = shares_of(ring, np.stack([secret, mask]), stream, form)
    return {
        point: Deal(dealer, form, point, both[:1], both[1:]).to_bytes(ring.profile)
        for point, both in shares.items()
    }


def key_id(profile: Profile, dealers: Sequence[bytes]) -> bytes:
    """Return the name of the joint key of these dealers (digests of public-key shares)."""
    parts = framed(domains.KEY_ID, profile.name.encode(), *sorted(dealers))
    return hashlib.sha256(parts).digest()


def aggregate_shares(profile: str, shares: Sequence[bytes]) -> bytes:
    """Return a member's key share: the sum of the deals that it received, one per dealer.

    The key share names the key by its dealers, as the public key does: with a deal missing, or
    made for another key, it fits no ciphertext. A deal with a false *value* is not seen here:
    `dealing.checks` shows it before.

    Args:
        shares: the deals for this member's point, in any order, its own included.

    Raises:
        TooFewShares: none.
        TooManyShares: more than there can be members.
        MixedShares: different sharings or points.
        DuplicateShare: two deals of one dealer.
        MalformedMessage, WrongProfile, ResidueOutOfRange: a deal is not one.
    """
    ring = profile_ring(profile)
    if not shares:
        raise TooFewShares("a key share needs at least one deal", have=0, need=1)
    if len(shares) > POINT_MAX:
        raise TooManyShares("more deals than there can be members", have=len(shares))
    deals = [Deal.parse(ring.profile, share) for share in shares]
    first = deals[0]
    if any((one.sharing, one.point) != (first.sharing, first.point) for one in deals):
        raise MixedShares("the deals are not of one sharing and one point")
    dealers = [one.dealer for one in deals]
    if len(set(dealers)) != len(dealers):
        raise DuplicateShare("a dealer appears twice")
    total = ring.sum([one.value for one in deals])
    name = key_id(ring.profile, dealers)
    return KeyShare(name, first.sharing, first.point, total).to_bytes(ring.profile)


@dataclass(frozen=True, slots=True, eq=False)
class OnlineShare:
    """A guardian's additive share of the joint secret for one online set. SECRET.

    Attributes:
        value: lambda_i s_i as [3, n], NTT form.
        online: the set, ascending.
        derivation: everything that noise added to a product with `value` must depend on.
    """

    value: Residues = field(repr=False)
    online: tuple[int, ...]
    derivation: tuple[bytes, ...]


def online_share(
    ring: Ring,
    key_share: bytes,
    ciphertext: Ciphertext,
    *,
    point: int,
    online: Sequence[int],
    context: bytes,
    c1_digest: bytes,
) -> OnlineShare:
    """Weigh a key share for an online set: it is then one summand of the joint secret.

    The weight comes before any flooding: flooding that was weighted afterwards would be of the
    size of Q. All refusals of a wrong set are here.

    Raises:
        BadSharing: the online set has repeated points, or points outside 1..255.
        WrongPoint: the key share is not `point`'s, or the set holds a point that has no share.
        TooFewShares: the set is smaller than the threshold.
        TooManyShares: the set is larger than the profile's noise analysis covers.
        WrongKey: the ciphertext is under another key.
        MalformedMessage, WrongProfile, ResidueOutOfRange: the key share is not one.
    """
    profile = ring.profile
    share = KeyShare.parse(profile, key_share)
    chosen = point_set(online)
    ordered = tuple(chosen[1:])
    if share.point != point or point not in ordered:
        raise WrongPoint("the key share is another point's, or the point is not online")
    if not set(ordered) <= set(share.sharing.points):
        raise WrongPoint("the online set holds a point that has no share")
    if len(ordered) < share.sharing.threshold:
        raise TooFewShares(
            "the online set is smaller than the threshold",
            have=len(ordered),
            need=share.sharing.threshold,
        )
    if len(ordered) > profile.guardians_max:
        raise TooManyShares(
            "the online set is too large", have=len(ordered), most=profile.guardians_max
        )
    if share.key_id != ciphertext.key_id:
        raise WrongKey("the ciphertext is under another key than the share")
    weight = ring.constant(lagrange(profile.data_primes, ordered, point))
    derivation = (
        profile.name.encode(),
        share.key_id,
        hashlib.sha256(key_share).digest(),  # another share of the key gets other noise
        context,
        c1_digest,
        chosen,
        bytes((point,)),
    )
    return OnlineShare(ring.multiply(share.value, weight)[0], ordered, derivation)


def lagrange(primes: Sequence[int], points: Sequence[int], point: int, *, at: int = 0) -> list[int]:
    """Return the weight of `point` for interpolation at `at` over `points`, modulo each prime."""
    weights: list[int] = []
    for prime in primes:
        above = below = 1
        for other in points:
            if other != point:
                above = above * (other - at) % prime
                below = below * (other - point) % prime
        weights.append(above * pow(below, -1, prime) % prime)
    return weights
