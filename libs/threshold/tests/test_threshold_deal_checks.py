"""What deals are checked against: masks and dealers of one sharing, and what the check opens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from cipherward_threshold import keys, shamir
from cipherward_threshold.dealing.checks import Dealt, deal_check, verify_deals
from cipherward_threshold.dealing.messages import DealCheck, MaskShare
from cipherward_threshold.errors import DuplicateShare, MixedShares, TooFewShares, WrongContext
from cipherward_threshold.ring import Ring

if TYPE_CHECKING:
    from conftest import Alliance, BigIntegers, DealRound

PROFILE = "additive-1"
POINTS = (1, 2, 3, 4)
THRESHOLD = 3
CHALLENGE = b"c" * 32


def test_a_mask_of_another_dealer_sharing_or_ceremony_is_refused(
    alliance: Alliance, dealing: DealRound
) -> None:
    first, second, *others = dealing.dealt
    swapped = [
        Dealt(first.public_key_share, second.mask_share),
        Dealt(second.public_key_share, first.mask_share),
        *others,
    ]
    with pytest.raises(WrongContext):
        verify_deals(PROFILE, swapped, dealing.checks(), CHALLENGE)
    other_sharing = alliance.secrets[0].mask_share(POINTS, 2)
    with pytest.raises(WrongContext):
        verify_deals(
            PROFILE,
            [Dealt(first.public_key_share, other_sharing), second, *others],
            dealing.checks(),
            CHALLENGE,
        )
    elsewhere = keys.member_secret(PROFILE, b"e" * 32, b"another ceremony")
    mixed = Dealt(elsewhere.public_key_share(), elsewhere.mask_share(POINTS, THRESHOLD))
    with pytest.raises(WrongContext):
        verify_deals(PROFILE, [mixed, second, *others], dealing.checks(), CHALLENGE)


def test_a_repeated_dealer_is_refused(dealing: DealRound) -> None:
    first = dealing.dealt[0]
    with pytest.raises(DuplicateShare):
        verify_deals(PROFILE, [first, *dealing.dealt], dealing.checks(), CHALLENGE)
    with pytest.raises(TooFewShares):
        verify_deals(PROFILE, [], dealing.checks(), CHALLENGE)


def test_deals_that_do_not_belong_together_are_not_checked(
    alliance: Alliance, dealing: DealRound
) -> None:
    mine = dealing.received(1)
    with pytest.raises(TooFewShares):
        deal_check(PROFILE, [], CHALLENGE)
    with pytest.raises(DuplicateShare):
        deal_check(PROFILE, [*mine, mine[0]], CHALLENGE)
    with pytest.raises(MixedShares):
        deal_check(PROFILE, [*mine[1:], dealing.deals[0][2]], CHALLENGE)
    with pytest.raises(MixedShares):
        deal_check(PROFILE, [*mine[1:], alliance.secrets[0].deal(POINTS, 2)[1]], CHALLENGE)


def test_the_same_deal_has_the_same_mask_and_another_sharing_another_one(
    ring: Ring, alliance: Alliance
) -> None:
    secret = alliance.secrets[0]
    assert secret.mask_share(POINTS, 3) == secret.mask_share(POINTS[::-1], 3)
    ours = MaskShare.parse(ring.profile, secret.mask_share(POINTS, 3))
    theirs = MaskShare.parse(ring.profile, secret.mask_share(POINTS, 2))
    assert (ours.b != theirs.b).mean() > 0.99


@pytest.mark.slow
def test_the_opened_combination_is_a_wide_mask_and_not_the_secret(
    ring: Ring, big: BigIntegers, dealing: DealRound
) -> None:
    answers = {
        point: DealCheck.parse(ring.profile, octets).values
        for point, octets in dealing.checks().items()
    }
    chosen = {point: answers[point] for point in POINTS[:THRESHOLD]}
    weights = {
        point: ring.constant(shamir.lagrange(ring.profile.data_primes, list(chosen), point))
        for point in chosen
    }
    total = ring.sum([ring.multiply(chosen[point], weights[point]) for point in chosen])
    numbers = big.lift(ring.intt(total[:1])[0])
    assert max(map(abs, numbers)) < (1 << 72) + 64
    # Uniform on [-2^72, 2^72): an eighth in each part of the range (4 sigma is 120 of 8,192).
    parts = np.bincount([(number + (1 << 72)) >> 70 for number in numbers], minlength=8)
    assert abs(parts - len(numbers) // 8).max() < 150
