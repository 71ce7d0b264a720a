"""A joint secret goes to new holders, and the key stays: a member joins or leaves.

A set T of old holders, as many as the threshold, weigh their shares: x_i = lambda_i s_i, so that
their sum is the joint secret. Each deals x_i to the new holders with a mask r_i, here uniform,
since x_i is not small. A new holder's share is the sum of what it received; the old holders destroy
theirs, or the old threshold stays a way to the key.

Receivers answer the challenge as in `checks`. Everybody sees for each dealer that its deals lie on
one polynomial; and of the sum of all that rho b + sum b_r,i + a sum V_i is small: then what was
dealt together is the secret of the public key, up to what would spoil every decryption and tell
nothing (an x that is off by d changes a decryption by c1 d, which whoever knows d can compute). The
new holders open a ciphertext before the old shares are destroyed (`trial`).

Nothing is opened in a dispute: these are parts of a living key. When a dealer's deals lie on no
polynomial, it or a new holder is at fault; when the sum is wrong, one of the dealers. The resharing
is repeated from another set of old holders: who is at fault is in every set that fails.

What is published tells nothing: V_i is uniform, and b_r,i = -a V_i + rho a x_i - e_r,i, of which
the first two terms follow from what t - 1 old holders know and from the public key, up to an error
that e_r,i hides (`masks`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cipherward_threshold import domains, shamir
from cipherward_threshold.dealing.checks import QUOTIENT_MAX, receivers_answers, residual
from cipherward_threshold.dealing.masks import mask_share, small_polynomial
from cipherward_threshold.dealing.messages import MaskShare, ReshareDeal
from cipherward_threshold.dealing.polynomials import large, misfits, value_at
from cipherward_threshold.errors import (
    DealsDisputed,
    DuplicateShare,
    MixedShares,
    ResharingRejected,
    TooFewShares,
    WrongContext,
    WrongKey,
    WrongPoint,
)
from cipherward_threshold.keys import common_polynomial
from cipherward_threshold.messages import KeyShare, PublicKey, Sharing
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import Stream, checked_seed, framed, uniform


@dataclass(frozen=True, slots=True)
class Resharing:
    """What a resharing is about, public and the same for all.

    Attributes:
        profile: of the key.
        public_key: which stays.
        old: points of the old holders that deal, as many as the old threshold or more.
        new: points and threshold of the new sharing.
        context: public bytes that name the attempt (chain, order, attempt); never the same twice.
    """

    profile: str
    public_key: bytes
    old: tuple[int, ...]
    new: Sharing
    context: bytes

    def dealer(self, point: int) -> bytes:
        """Return the name of the deals of the old holder at `point`."""
        parts = (self.profile.encode(), self.public_key, bytes(self.old), self.new.to_bytes())
        named = framed(domains.RESHARE_DEALER, *parts, self.context, bytes((point,)))
        return hashlib.sha256(named).digest()


@dataclass(frozen=True, slots=True)
class Redealt:
    """What an old holder gives: a deal to each new point, SECRET, and the mask's share, public."""

    deals: Mapping[int, bytes] = field(repr=False)
    mask_share: bytes


def reshare(resharing: Resharing, key_share: bytes, *, seed: bytes) -> Redealt:
    """Return this old holder's part, the same bytes every time.

    Args:
        key_share: its own, from `shamir.aggregate_shares` or an earlier resharing.
        seed: 32 secret bytes of this member.

    Raises:
        BadSeed: the seed has not 32 bytes.
        WrongKey: the share is of another key.
        WrongPoint, TooFewShares: the old holders named do not hold this sharing, or not its owner.
        BadSharing: `old` or `new` is no sharing.
        MalformedMessage, WrongProfile, ResidueOutOfRange: key or share is none.

    Cost: threshold products of 2 polynomials for each new holder.
    """
    ring = profile_ring(resharing.profile)
    parameters = ring.profile
    key = PublicKey.parse(parameters, resharing.public_key)
    share = KeyShare.parse(parameters, key_share)
    form = shamir.sharing(resharing.new.points, resharing.new.threshold)
    if share.key_id != key.key_id:
        raise WrongKey("the share is of another key")
    old = resharing.old
    if share.point not in old or not set(old) <= set(share.sharing.points):
        raise WrongPoint("the dealers named do not hold this sharing")
    if len(set(old)) != len(old) or len(old) < share.sharing.threshold:
        raise TooFewShares(
            "fewer dealers than the threshold", have=len(set(old)), need=share.sharing.threshold
        )
    dealer = resharing.dealer(share.point)
    weight = ring.constant(shamir.lagrange(parameters.data_primes, old, share.point))
    part = ring.multiply(share.value, weight)[0]
    root = (checked_seed(seed), dealer, hashlib.sha256(key_share).digest())
    stream = Stream(domains.RESHARE_POLYNOMIAL, *root)
    mask = uniform(stream, parameters.data_primes, parameters.degree)
    noise = small_polynomial(ring, Stream(domains.RESHARE_MASK_ERROR, *root))
    shares = shamir.shares_of(ring, np.stack([part, mask]), stream, form)
    deals = {
        point: ReshareDeal(key.key_id, dealer, form, point, both[:1], both[1:]).to_bytes(parameters)
        for point, both in shares.items()
    }
    common = common_polynomial(ring, key.context_digest)
    return Redealt(deals, mask_share(ring, common, mask, noise, dealer=dealer, form=form))


def verify_resharing(
    resharing: Resharing,
    mask_shares: Mapping[int, bytes],
    checks: Mapping[int, bytes],
    challenge: bytes,
) -> None:
    """Accept deals that share the secret of the public key anew.

    Args:
        mask_shares: of every dealer, by its old point.
        checks: of every new holder (`checks.deal_check`), by its new point.
        challenge: 32 bytes, a digest of all commitments.

    Raises:
        DealCheckRejected: a new holder's message is no check of these deals; it is at fault.
        DealsDisputed: a dealer's deals lie on no polynomial.
        ResharingRejected: what was dealt is not the secret of the public key; see the module.
        TooFewShares, WrongContext: a mask's share is missing, or another's.
        MalformedMessage, WrongProfile, ResidueOutOfRange: key or share is none.
    """
    ring = profile_ring(resharing.profile)
    key = PublicKey.parse(ring.profile, resharing.public_key)
    if set(mask_shares) != set(resharing.old):
        raise TooFewShares(
            "not every dealer's mask is there", have=len(mask_shares), need=len(resharing.old)
        )
    masks = {p: MaskShare.parse(ring.profile, octets) for p, octets in mask_shares.items()}
    for point, mask in masks.items():
        if (mask.dealer, mask.sharing) != (resharing.dealer(point), resharing.new):
            raise WrongContext("a mask is of another resharing", point=point)
    names = tuple(sorted(mask.dealer for mask in masks.values()))
    answers = receivers_answers(ring, names, resharing.new, checks, challenge)
    threshold = resharing.new.threshold
    wrong = misfits(ring, answers, threshold)
    if wrong:
        raise DealsDisputed(tuple(names[row] for row in sorted(wrong)))
    shared = value_at(ring, dict(list(answers.items())[:threshold]), 0)
    total = ring.sum([row[None] for row in shared])
    published = key.b, ring.sum([mask.b for mask in masks.values()])
    residue = residual(ring, key.context_digest, published, total, challenge)
    if large(ring, residue, QUOTIENT_MAX * len(names)):
        raise ResharingRejected("what was dealt is not the secret of the public key")


def reshared_key_share(resharing: Resharing, deals: Sequence[bytes]) -> bytes:
    """Return a new holder's key share: the sum of its deals, one of every old holder named.

    Raises:
        TooFewShares, DuplicateShare: not one deal of each dealer.
        WrongContext, WrongKey: a deal of another resharing or key.
        MixedShares: deals for different points.
        MalformedMessage, WrongProfile, ResidueOutOfRange: key or deal is none.
    """
    ring = profile_ring(resharing.profile)
    key = PublicKey.parse(ring.profile, resharing.public_key)
    parsed = [ReshareDeal.parse(ring.profile, deal) for deal in deals]
    expected = {resharing.dealer(point) for point in resharing.old}
    dealers = {one.dealer for one in parsed}
    if any(one.key_id != key.key_id for one in parsed):
        raise WrongKey("a deal is of another key")
    if not dealers <= expected or any(one.sharing != resharing.new for one in parsed):
        raise WrongContext("a deal is of another resharing")
    if len(dealers) != len(parsed):
        raise DuplicateShare("a dealer appears twice")
    if dealers != expected:
        raise TooFewShares("a deal is missing", have=len(parsed), need=len(expected))
    if len({one.point for one in parsed}) > 1:
        raise MixedShares("the deals are for different points")
    total = ring.sum([one.value for one in parsed])
    share = KeyShare(key.key_id, resharing.new, parsed[0].point, total)
    return share.to_bytes(ring.profile)
