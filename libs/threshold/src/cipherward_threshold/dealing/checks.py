"""Are the deals what their dealers have proven? Receivers answer, everybody checks.

Every dealer i has published b_i = -(a s_i + e_i) with a proof that s_i and e_i are small, and
b_r = -(a r_i + e_r) of its mask. When everything is committed to, deals and masks included, the
challenge rho is drawn. Receiver j publishes v_ij = rho * deal_ij + mask_ij for each dealer. Then
everybody sees for each dealer whether

* the v_ij lie on one polynomial of degree below the threshold, V_i its value at zero;
* V_i, which should be rho s_i + r_i, is small;
* rho b_i + b_r + a V_i, which should be -rho e_i - e_r, is small.

Why that is enough, with at least a threshold of honest receivers: what they hold fixes a dealt
polynomial, a dealt mask and their distance from such polynomials before rho is known. Values that
are on no polynomial, or a dealt secret s' that is not s_i, pass for one value of rho in a place of
the NTT; a place takes one value with a probability of about 2^-60 a try. For s': after two
challenges that both pass, 2 (rho - rho')(s' - s_i) and its product with `a` are below 2^77 (a proof
bounds twice a share). There are 2^(2 * 78 n) pairs of such polynomials, and Q^n >= 2^(180 n) values
of a product with the public `a`, so no pair but zero exists, except with probability 2^(-24 n).

Why it tells nothing: the mask polynomial's higher coefficients are uniform, V_i is a secret moved
by far more than its size, and so is the error (`masks`). The mask serves one challenge: a second
one would give rho s_i - rho' s_i away, so a receiver answers once for its deals.

Source: the check is the opening of a random combination of a sharing and a masking sharing, as in
Cramer, Damgard, Nielsen, "Secure Multiparty Computation and Secret Sharing", 2015, section 5; the
link to the ring-LWE share is a Schnorr-like proof in the sense of Lyubashevsky, EUROCRYPT 2012.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cipherward_threshold.dealing.challenge import challenge_polynomial
from cipherward_threshold.dealing.messages import DealCheck, MaskShare, ReshareDeal
from cipherward_threshold.dealing.polynomials import large, misfits, value_at
from cipherward_threshold.errors import (
    DealCheckRejected,
    DealsDisputed,
    DuplicateShare,
    MixedShares,
    ThresholdError,
    TooFewShares,
    WrongContext,
)
from cipherward_threshold.keys import common_polynomial, public_key_share_digest
from cipherward_threshold.messages import Deal, PublicKeyShare, Sharing
from cipherward_threshold.parameters import Profile
from cipherward_threshold.ring import Ring
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import Residues

# Of |rho s + r| <= 2^72 + 64 and |rho e + e_r| <= 2^72 + 1344, in units of a prime just above 2^60;
# twice that, so that an honest dealer passes always.
QUOTIENT_MAX = 1 << 13


@dataclass(frozen=True, slots=True)
class Dealt:
    """What a dealer publishes: its public-key share, whose proof is checked elsewhere, and its
    mask's share."""

    public_key_share: bytes
    mask_share: bytes


def deal_check(profile: str, deals: Sequence[bytes], challenge: bytes) -> bytes:
    """Return what a receiver publishes about its deals: public, and once only.

    The caller must refuse a second challenge for the same deals, for ever.

    Args:
        deals: for this receiver's point, one of every dealer, in any order; `messages.Deal`, or
            `ReshareDeal` in a resharing.
        challenge: 32 bytes; everybody's commitments are in it.

    Raises:
        TooFewShares, DuplicateShare, MixedShares: they are not one deal of each of several dealers
            for one point.
        MalformedMessage, WrongProfile, ResidueOutOfRange: a deal is none.

    Cost: 1 product of as many polynomials as there are dealers.
    """
    ring = profile_ring(profile)
    parsed = [_parsed(ring.profile, deal) for deal in deals]
    if not parsed:
        raise TooFewShares("there is no deal to check", have=0, need=1)
    by_dealer = {deal.dealer: deal for deal in parsed}
    if len(by_dealer) != len(parsed):
        raise DuplicateShare("a dealer appears twice")
    first = parsed[0]
    if any((one.sharing, one.point) != (first.sharing, first.point) for one in parsed):
        raise MixedShares("the deals are not of one sharing and one point")
    dealers = tuple(sorted(by_dealer))
    values = np.concatenate([by_dealer[name].value for name in dealers])
    masks = np.concatenate([by_dealer[name].mask for name in dealers])
    answers = ring.add(ring.multiply(values, challenge_polynomial(ring, challenge)), masks)
    check = DealCheck(challenge, first.sharing, first.point, dealers, answers)
    return check.to_bytes(ring.profile)


def verify_deals(
    profile: str, dealt: Sequence[Dealt], checks: Mapping[int, bytes], challenge: bytes
) -> None:
    """Accept deals that are one sharing of the secrets behind their public-key shares.

    Args:
        dealt: of every dealer of one ceremony; the caller has verified the shares' proofs.
        checks: of every receiver, by its point: each is what its sender committed to.
        challenge: as `deal_check`.

    Raises:
        DealCheckRejected: a receiver's message is no check of these deals; it is at fault.
        DealsDisputed: some do not fit; `disputes.settle` finds out who is at fault.
        TooFewShares, DuplicateShare: no dealer, or one twice.
        WrongContext: the shares are of several ceremonies, or a mask belongs to another share.
        MalformedMessage, WrongProfile, ResidueOutOfRange: a share is none.

    Cost: threshold products for each further receiver and 2 more, of as many polynomials as there
    are dealers; about 40 ms for four at n = 8192.
    """
    ring = profile_ring(profile)
    named = _named(ring.profile, dealt)
    names = tuple(sorted(named))
    form = named[names[0]][1].sharing
    if any(mask.sharing != form for _, mask in named.values()):
        raise WrongContext("the masks are of several sharings")
    answers = receivers_answers(ring, names, form, checks, challenge)
    wrong = misfits(ring, answers, form.threshold)
    shared = value_at(ring, dict(list(answers.items())[: form.threshold]), 0)
    wrong |= large(ring, shared, QUOTIENT_MAX)
    shares = np.concatenate([named[name][0].b for name in names])
    masks = np.concatenate([named[name][1].b for name in names])
    residue = residual(ring, named[names[0]][0].context_digest, (shares, masks), shared, challenge)
    wrong |= large(ring, residue, QUOTIENT_MAX)
    if wrong:
        raise DealsDisputed(tuple(names[row] for row in sorted(wrong)))


def receivers_answers(
    ring: Ring,
    names: tuple[bytes, ...],
    form: Sharing,
    checks: Mapping[int, bytes],
    challenge: bytes,
) -> dict[int, Residues]:
    """Return each receiver's answers, [dealers, 3, n] by point, ascending.

    Raises:
        DealCheckRejected: one is out of form, or about other deals.
    """
    answers: dict[int, Residues] = {}
    for point in form.points:
        try:
            check = DealCheck.parse(ring.profile, checks.get(point, b""))
        except ThresholdError as error:
            raise DealCheckRejected(str(error), point=point) from None
        if (check.challenge, check.sharing, check.dealers) != (challenge, form, names):
            raise DealCheckRejected("the check is of other deals", point=point)
        if check.point != point:
            raise DealCheckRejected("the check is another receiver's", point=point)
        answers[point] = check.values
    return answers


def residual(
    ring: Ring,
    context_digest: bytes,
    published: tuple[Residues, Residues],
    shared: Residues,
    challenge: bytes,
) -> Residues:
    """Return rho b + b_r + a V, [rows, 3, n] in NTT form: minus the errors if the deals are right.

    Args:
        published: b at key level, and b_r.
        shared: V.
    """
    shares, masks = published
    level = len(ring.profile.data_primes)
    common = common_polynomial(ring, context_digest)[0, :level]
    challenged = ring.multiply(shares[:, :level], challenge_polynomial(ring, challenge))
    return ring.sum([challenged, masks, ring.multiply(shared, common)])


def _named(
    profile: Profile, dealt: Sequence[Dealt]
) -> dict[bytes, tuple[PublicKeyShare, MaskShare]]:
    if not dealt:
        raise TooFewShares("there is no dealer", have=0, need=1)
    named: dict[bytes, tuple[PublicKeyShare, MaskShare]] = {}
    for one in dealt:
        share = PublicKeyShare.parse(profile, one.public_key_share)
        mask = MaskShare.parse(profile, one.mask_share)
        name = public_key_share_digest(profile, one.public_key_share)
        if mask.dealer != name:
            raise WrongContext("a mask belongs to another public-key share")
        if name in named:
            raise DuplicateShare("a dealer appears twice")
        named[name] = share, mask
    if len({share.context_digest for share, _ in named.values()}) > 1:
        raise WrongContext("the public-key shares are of several ceremonies")
    return named


def _parsed(profile: Profile, deal: bytes) -> Deal | ReshareDeal:
    try:
        return Deal.parse(profile, deal)
    except ThresholdError:
        return ReshareDeal.parse(profile, deal)
