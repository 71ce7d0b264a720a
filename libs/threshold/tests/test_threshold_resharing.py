"""A joint secret goes to new holders under the same public key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cipherward_threshold import decryption
from cipherward_threshold.dealing.checks import deal_check
from cipherward_threshold.dealing.messages import DealCheck, MaskShare, ReshareDeal
from cipherward_threshold.dealing.resharing import (
    Redealt,
    Resharing,
    reshare,
    reshared_key_share,
    verify_resharing,
)
from cipherward_threshold.errors import (
    BadSeed,
    BadSharing,
    DealCheckRejected,
    DealsDisputed,
    DuplicateShare,
    MalformedMessage,
    MixedShares,
    ResharingRejected,
    TooFewShares,
    WrongContext,
    WrongKey,
    WrongPoint,
    WrongProfile,
)
from cipherward_threshold.keys import combine_public_key, member_secret
from cipherward_threshold.messages import KeyShare, PublicKey, Sharing
from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import Residues
from cipherward_threshold.shamir import lagrange

if TYPE_CHECKING:
    from conftest import Alliance, BigIntegers

PROFILE = "additive-1"
OLD = (1, 2, 4)
NEW = Sharing(3, (2, 3, 4, 5, 6))  # the first member leaves, two join
CHALLENGE = b"r" * 32


@dataclass(frozen=True)
class Round:
    """What three old holders have dealt, by their points."""

    resharing: Resharing
    parts: Mapping[int, Redealt]

    def received(self, point: int) -> list[bytes]:
        return [part.deals[point] for part in self.parts.values()]

    def checks(self) -> dict[int, bytes]:
        return {
            point: deal_check(PROFILE, self.received(point), CHALLENGE)
            for point in self.resharing.new.points
        }

    def masks(self) -> dict[int, bytes]:
        return {point: part.mask_share for point, part in self.parts.items()}

    def shares(self) -> dict[int, bytes]:
        return {
            point: reshared_key_share(self.resharing, self.received(point))
            for point in self.resharing.new.points
        }

    def changed(self, ring: Ring, dealer: int, points: Sequence[int], by: Residues) -> Round:
        """Return a round in which a dealer's deals to some points are moved by `by`."""
        deals = dict(self.parts[dealer].deals)
        for point in points:
            parsed = ReshareDeal.parse(ring.profile, deals[point])
            moved = replace(parsed, value=ring.add(parsed.value, by))
            deals[point] = moved.to_bytes(ring.profile)
        parts = dict(self.parts)
        parts[dealer] = replace(parts[dealer], deals=deals)
        return replace(self, parts=parts)


@pytest.fixture(scope="module")
def resharing(alliance: Alliance) -> Resharing:
    return Resharing(PROFILE, alliance.public_key, OLD, NEW, b"a member joins, attempt 1")


@pytest.fixture(scope="module")
def dealt(alliance: Alliance, resharing: Resharing) -> Round:
    parts = {
        point: reshare(resharing, alliance.key_shares[point], seed=alliance.seed(point))
        for point in OLD
    }
    return Round(resharing, parts)


def one_place(ring: Ring) -> Residues:
    lie = np.zeros((1, len(ring.profile.data_primes), ring.profile.degree), dtype=np.uint64)
    lie[0, 2, 4711] = 1
    return lie


def test_new_holders_open_what_was_encrypted_before(alliance: Alliance, dealt: Round) -> None:
    verify_resharing(dealt.resharing, dealt.masks(), dealt.checks(), CHALLENGE)
    renewed = replace(alliance, key_shares=dealt.shares())
    ciphertext = alliance.encrypt([11, -12, 13])
    for online in ((2, 3, 4), (3, 5, 6), (2, 3, 4, 5, 6)):
        shares = [renewed.share(point, ciphertext, online) for point in online]
        assert decryption.combine(PROFILE, ciphertext, shares, 3, circuit="sum") == [11, -12, 13]


def test_the_new_shares_are_of_the_same_secret_and_independent_of_the_old(
    ring: Ring, big: BigIntegers, alliance: Alliance, dealt: Round
) -> None:
    shares = {p: KeyShare.parse(ring.profile, s) for p, s in dealt.shares().items()}
    chosen = (3, 4, 6)
    total = ring.sum(
        [
            ring.multiply(
                shares[point].value,
                ring.constant(lagrange(ring.profile.data_primes, chosen, point)),
            )
            for point in chosen
        ]
    )
    assert big.lift(ring.intt(total)[0]) == alliance.joint_secret
    before = KeyShare.parse(ring.profile, alliance.key_shares[4]).value
    assert (shares[4].value != before).mean() > 0.99


def test_a_new_sharing_can_be_shared_on_with_another_threshold(
    alliance: Alliance, dealt: Round
) -> None:
    further = Resharing(PROFILE, alliance.public_key, (3, 5, 6), Sharing(2, (3, 5, 6)), b"again")
    shares = dealt.shares()
    parts = {p: reshare(further, shares[p], seed=alliance.seed(p)) for p in further.old}
    again = Round(further, parts)
    verify_resharing(further, again.masks(), again.checks(), CHALLENGE)
    renewed = replace(alliance, key_shares=again.shares())
    ciphertext = alliance.encrypt([5])
    given = [renewed.share(point, ciphertext, (3, 6)) for point in (3, 6)]
    assert decryption.combine(PROFILE, ciphertext, given, 1, circuit="sum") == [5]


def test_an_old_holder_gives_the_same_part_every_time_and_another_for_another_attempt(
    ring: Ring, alliance: Alliance, dealt: Round
) -> None:
    again = reshare(dealt.resharing, alliance.key_shares[1], seed=alliance.seed(1))
    assert again == dealt.parts[1]
    other = reshare(
        replace(dealt.resharing, context=b"attempt 2"),
        alliance.key_shares[1],
        seed=alliance.seed(1),
    )
    ours = ReshareDeal.parse(ring.profile, again.deals[2])
    theirs = ReshareDeal.parse(ring.profile, other.deals[2])
    assert (ours.value != theirs.value).mean() > 0.99
    assert (ours.mask != theirs.mask).mean() > 0.99
    assert "value" not in repr(ours)
    assert "deals" not in repr(again)


def test_a_deal_on_no_polynomial_names_its_dealer(ring: Ring, dealt: Round) -> None:
    wrong = dealt.changed(ring, 4, (6,), one_place(ring))
    with pytest.raises(DealsDisputed) as caught:
        verify_resharing(wrong.resharing, wrong.masks(), wrong.checks(), CHALLENGE)
    assert caught.value.dealers == (dealt.resharing.dealer(4),)


def test_what_is_not_the_secret_of_the_public_key_is_refused(ring: Ring, dealt: Round) -> None:
    wrong = dealt.changed(ring, 2, NEW.points, one_place(ring))
    with pytest.raises(ResharingRejected):
        verify_resharing(wrong.resharing, wrong.masks(), wrong.checks(), CHALLENGE)


def test_a_holder_that_deals_another_share_than_its_own_is_caught(
    alliance: Alliance, dealt: Round
) -> None:
    # Its deals name it as the second holder; the value is the fourth one's.
    stolen = KeyShare.parse(alliance.ring.profile, alliance.key_shares[4])
    claimed = replace(stolen, point=2).to_bytes(alliance.ring.profile)
    parts = dict(dealt.parts)
    parts[2] = reshare(dealt.resharing, claimed, seed=alliance.seed(2))
    wrong = replace(dealt, parts=parts)
    with pytest.raises(ResharingRejected):
        verify_resharing(wrong.resharing, wrong.masks(), wrong.checks(), CHALLENGE)


def test_a_new_holder_whose_check_is_none_is_named(dealt: Round) -> None:
    checks = dealt.checks()
    checks[5] = checks[6]
    with pytest.raises(DealCheckRejected) as caught:
        verify_resharing(dealt.resharing, dealt.masks(), checks, CHALLENGE)
    assert caught.value.metadata["point"] == "5"


def test_a_new_holder_that_lies_spoils_the_check_and_not_the_key(ring: Ring, dealt: Round) -> None:
    checks = dealt.checks()
    check = DealCheck.parse(ring.profile, checks[6])
    values = ring.add(check.values, np.broadcast_to(one_place(ring), check.values.shape))
    checks[6] = replace(check, values=values).to_bytes(ring.profile)
    with pytest.raises(DealsDisputed):
        verify_resharing(dealt.resharing, dealt.masks(), checks, CHALLENGE)


def test_masks_of_another_attempt_or_missing_ones_are_refused(
    alliance: Alliance, dealt: Round
) -> None:
    other = replace(dealt.resharing, context=b"attempt 2")
    foreign = reshare(other, alliance.key_shares[1], seed=alliance.seed(1)).mask_share
    with pytest.raises(WrongContext):
        verify_resharing(dealt.resharing, {**dealt.masks(), 1: foreign}, dealt.checks(), CHALLENGE)
    masks = dealt.masks()
    del masks[1]
    with pytest.raises(TooFewShares):
        verify_resharing(dealt.resharing, masks, dealt.checks(), CHALLENGE)


def test_deals_that_do_not_belong_together_make_no_share(
    ring: Ring, alliance: Alliance, dealt: Round
) -> None:
    mine = dealt.received(2)
    with pytest.raises(TooFewShares):
        reshared_key_share(dealt.resharing, mine[1:])
    with pytest.raises(DuplicateShare):
        reshared_key_share(dealt.resharing, [*mine, mine[0]])
    with pytest.raises(MixedShares):
        reshared_key_share(dealt.resharing, [*mine[1:], dealt.received(3)[0]])
    with pytest.raises(WrongContext):
        reshared_key_share(replace(dealt.resharing, context=b"attempt 2"), mine)
    key = PublicKey.parse(ring.profile, alliance.public_key)
    other = replace(key, key_id=b"k" * 32).to_bytes(ring.profile)
    with pytest.raises(WrongKey):
        reshared_key_share(replace(dealt.resharing, public_key=other), mine)


def test_only_holders_of_this_key_and_sharing_deal(alliance: Alliance, dealt: Round) -> None:
    key_share, seed = alliance.key_shares[3], alliance.seed(3)
    with pytest.raises(WrongPoint):  # the third holder is not among the dealers
        reshare(dealt.resharing, key_share, seed=seed)
    with pytest.raises(WrongPoint):
        reshare(replace(dealt.resharing, old=(1, 3, 9)), key_share, seed=seed)
    with pytest.raises(TooFewShares):
        reshare(replace(dealt.resharing, old=(1, 3)), key_share, seed=seed)
    with pytest.raises(TooFewShares):
        reshare(replace(dealt.resharing, old=(1, 3, 3)), key_share, seed=seed)
    with pytest.raises(BadSeed):
        reshare(replace(dealt.resharing, old=(1, 2, 3)), key_share, seed=b"short")
    with pytest.raises(BadSharing):
        reshare(
            replace(dealt.resharing, old=(1, 2, 3), new=Sharing(3, (1, 2))), key_share, seed=seed
        )
    elsewhere = member_secret(PROFILE, seed, b"another").public_key_share()
    other = combine_public_key(PROFILE, b"another", [elsewhere])
    with pytest.raises(WrongKey):
        reshare(replace(dealt.resharing, old=(1, 2, 3), public_key=other), key_share, seed=seed)


@pytest.mark.parametrize("kind", [MaskShare, DealCheck, ReshareDeal])
def test_a_message_has_one_form_and_no_other(
    ring: Ring, dealt: Round, kind: type[MaskShare | DealCheck | ReshareDeal]
) -> None:
    octets = {
        MaskShare: dealt.masks()[1],
        DealCheck: dealt.checks()[2],
        ReshareDeal: dealt.parts[1].deals[2],
    }[kind]
    assert kind.parse(ring.profile, octets).to_bytes(ring.profile) == octets
    for wrong in (b"", octets[:-1], octets + b"\0", b"X" + octets[1:], octets[:4] + b"\1"):
        with pytest.raises(MalformedMessage):
            kind.parse(ring.profile, wrong)
    with pytest.raises(WrongProfile):
        kind.parse(ring.profile, octets[:5] + b"\x63" + octets[6:])


def test_a_check_names_each_dealer_once_in_order(ring: Ring, dealt: Round) -> None:
    check = DealCheck.parse(ring.profile, dealt.checks()[2])
    for dealers in (check.dealers[::-1], (check.dealers[0],) * 3, ()):
        other = replace(check, dealers=dealers, values=check.values[: len(dealers)])
        with pytest.raises(MalformedMessage):
            DealCheck.parse(ring.profile, other.to_bytes(ring.profile))
