"""Verified deals: what passes, what does not, and who is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cipherward_threshold import keys, shamir
from cipherward_threshold.dealing.checks import Dealt, deal_check, verify_deals
from cipherward_threshold.dealing.disputes import deal_digest, settle
from cipherward_threshold.dealing.messages import DealCheck
from cipherward_threshold.errors import (
    DealCheckRejected,
    DealsDisputed,
    OpeningRejected,
    ResidueOutOfRange,
)
from cipherward_threshold.messages import Deal, PublicKeyShare
from cipherward_threshold.ring import Ring
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import Residues

if TYPE_CHECKING:
    from conftest import Alliance, DealRound

PROFILE = "additive-1"
POINTS = (1, 2, 3, 4)
THRESHOLD = 3
CHALLENGE = b"c" * 32


def changed_by(ring: Ring, deal: bytes, by: Residues) -> bytes:
    """Return a deal whose value is moved by a polynomial [1, 3, n]."""
    parsed = Deal.parse(ring.profile, deal)
    return replace(parsed, value=ring.add(parsed.value, by)).to_bytes(ring.profile)


def some_polynomial(ring: Ring) -> Residues:
    """Return [1, 3, n], zero but for one place of one prime: the smallest lie there is."""
    lie = np.zeros((1, len(ring.profile.data_primes), ring.profile.degree), dtype=np.uint64)
    lie[0, 1, 77] = 1
    return lie


def opening(deals: Mapping[int, bytes]) -> tuple[dict[int, bytes], dict[int, bytes]]:
    return dict(deals), {point: deal_digest(deal) for point, deal in deals.items()}


def test_honest_deals_pass_and_the_key_shares_follow(
    ring: Ring, alliance: Alliance, dealing: DealRound
) -> None:
    verify_deals(PROFILE, dealing.dealt, dealing.checks(), CHALLENGE)
    verify_deals(PROFILE, dealing.dealt[::-1], dealing.checks(), CHALLENGE)
    for point in POINTS:
        share = shamir.aggregate_shares(PROFILE, dealing.received(point))
        assert share == alliance.key_shares[point]


def test_deals_of_every_threshold_pass(alliance: Alliance) -> None:
    for threshold in (1, 2, 4):
        deals = [secret.deal(POINTS, threshold) for secret in alliance.secrets]
        dealt = [
            Dealt(share, secret.mask_share(POINTS, threshold))
            for secret, share in zip(alliance.secrets, alliance.public_key_shares, strict=True)
        ]
        checks = {
            point: deal_check(PROFILE, [deal[point] for deal in deals], CHALLENGE)
            for point in POINTS
        }
        verify_deals(PROFILE, dealt, checks, CHALLENGE)


def test_a_deal_that_fits_no_polynomial_is_disputed_and_names_its_dealer(
    ring: Ring, dealing: DealRound
) -> None:
    lie = changed_by(ring, dealing.deals[2][4], some_polynomial(ring))
    wrong = dealing.with_deal(2, 4, lie)
    checks = wrong.checks()
    with pytest.raises(DealsDisputed) as caught:
        verify_deals(PROFILE, wrong.dealt, checks, CHALLENGE)
    assert caught.value.dealers == (dealing.name(ring, 2),)
    fault = settle(PROFILE, dealing.name(ring, 2), *opening(wrong.deals[2]), checks, CHALLENGE)
    assert fault.dealer


def test_a_deal_of_another_secret_on_a_fine_polynomial_is_disputed(
    ring: Ring, dealing: DealRound
) -> None:
    # The same change at every point is a sharing of another secret: only the link shows it.
    wrong = dealing
    for point in POINTS:
        lie = changed_by(ring, dealing.deals[0][point], some_polynomial(ring))
        wrong = wrong.with_deal(0, point, lie)
    checks = wrong.checks()
    with pytest.raises(DealsDisputed) as caught:
        verify_deals(PROFILE, wrong.dealt, checks, CHALLENGE)
    assert caught.value.dealers == (dealing.name(ring, 0),)
    fault = settle(PROFILE, caught.value.dealers[0], *opening(wrong.deals[0]), checks, CHALLENGE)
    assert fault.dealer


def test_a_small_change_of_the_secret_does_not_pass_either(ring: Ring, dealing: DealRound) -> None:
    # One more in one coefficient: the value at zero stays small, the link to the share does not.
    one = np.zeros((1, ring.profile.degree), dtype=np.int64)
    one[0, 5] = 1
    moved = ring.ntt(ring.from_signed(one, len(ring.profile.data_primes)))
    wrong = dealing
    for point in POINTS:
        wrong = wrong.with_deal(1, point, changed_by(ring, dealing.deals[1][point], moved))
    with pytest.raises(DealsDisputed):
        verify_deals(PROFILE, wrong.dealt, wrong.checks(), CHALLENGE)


def test_a_secret_that_hides_in_a_large_error_does_not_pass(ring: Ring, dealing: DealRound) -> None:
    # s' = s + d with a d small: the link alone would take it for an error; that s' is not small
    # gives it away.
    digest = PublicKeyShare.parse(ring.profile, dealing.dealt[0].public_key_share).context_digest
    level = len(ring.profile.data_primes)
    common = keys.common_polynomial(ring, digest)[0, :level]
    inverse = np.array(
        [
            [pow(int(value), -1, prime) for value in row]
            for prime, row in zip(ring.profile.data_primes, common, strict=True)
        ],
        dtype=np.uint64,
    )
    one = np.zeros((1, ring.profile.degree), dtype=np.int64)
    one[0, 5] = 1 << 40
    moved = ring.multiply(ring.ntt(ring.from_signed(one, level)), inverse)
    wrong = dealing
    for point in POINTS:
        wrong = wrong.with_deal(1, point, changed_by(ring, dealing.deals[1][point], moved))
    with pytest.raises(DealsDisputed):
        verify_deals(PROFILE, wrong.dealt, wrong.checks(), CHALLENGE)


def test_a_receiver_that_accuses_falsely_is_named(ring: Ring, dealing: DealRound) -> None:
    checks = dealing.checks()
    check = DealCheck.parse(ring.profile, checks[3])
    values = check.values.copy()
    row = check.dealers.index(dealing.name(ring, 1))
    values[row] = ring.add(values[row], some_polynomial(ring)[0])
    checks[3] = replace(check, values=values).to_bytes(ring.profile)
    with pytest.raises(DealsDisputed) as caught:
        verify_deals(PROFILE, dealing.dealt, checks, CHALLENGE)
    assert caught.value.dealers == (dealing.name(ring, 1),)
    fault = settle(PROFILE, caught.value.dealers[0], *opening(dealing.deals[1]), checks, CHALLENGE)
    assert fault.receivers == (3,)
    assert not fault.dealer


def test_a_dealer_that_opens_other_deals_than_it_committed_to_is_refused(
    ring: Ring, dealing: DealRound
) -> None:
    lie = changed_by(ring, dealing.deals[2][4], some_polynomial(ring))
    wrong = dealing.with_deal(2, 4, lie)
    checks, name = wrong.checks(), dealing.name(ring, 2)
    _, committed = opening(wrong.deals[2])
    honest, _ = opening(dealing.deals[2])
    with pytest.raises(OpeningRejected):
        settle(PROFILE, name, honest, committed, checks, CHALLENGE)
    del honest[4]
    with pytest.raises(OpeningRejected):
        settle(PROFILE, name, honest, committed, checks, CHALLENGE)
    others, digests = opening(dealing.deals[0])
    with pytest.raises(OpeningRejected):
        settle(PROFILE, name, others, digests, checks, CHALLENGE)


@pytest.mark.parametrize("what", ["missing", "garbage", "challenge", "point", "dealers", "residue"])
def test_a_receiver_whose_message_is_no_check_is_named(
    ring: Ring, dealing: DealRound, what: str
) -> None:
    checks = dealing.checks()
    check = DealCheck.parse(ring.profile, checks[2])
    outside = check.values.copy()
    outside[0, 0, 0] = ring.profile.data_primes[0]
    checks[2] = {
        "missing": b"",
        "garbage": checks[2][:-1],
        "challenge": deal_check(PROFILE, dealing.received(2), b"d" * 32),
        "point": checks[3],
        "dealers": deal_check(PROFILE, dealing.received(2)[1:], CHALLENGE),
        "residue": replace(check, values=outside).to_bytes(ring.profile),
    }[what]
    with pytest.raises(DealCheckRejected) as caught:
        verify_deals(PROFILE, dealing.dealt, checks, CHALLENGE)
    assert caught.value.metadata["point"] == "2"


def test_a_residue_out_of_range_in_a_check_is_refused(ring: Ring, dealing: DealRound) -> None:
    check = DealCheck.parse(ring.profile, dealing.checks()[1])
    values = check.values.copy()
    values[0, 0, 0] = ring.profile.data_primes[0]
    with pytest.raises(ResidueOutOfRange):
        DealCheck.parse(ring.profile, replace(check, values=values).to_bytes(ring.profile))


@pytest.mark.slow
def test_deals_of_a_key_that_multiplies_are_verified_likewise() -> None:
    name, points, threshold = "product-1", (1, 2, 3), 2
    wide = profile_ring(name)
    secrets = [keys.member_secret(name, bytes([point]) * 32, b"data key") for point in points]
    deals = [secret.deal(points, threshold) for secret in secrets]
    dealt = [
        Dealt(secret.public_key_share(), secret.mask_share(points, threshold)) for secret in secrets
    ]

    def checks() -> dict[int, bytes]:
        return {p: deal_check(name, [deal[p] for deal in deals], CHALLENGE) for p in points}

    verify_deals(name, dealt, checks(), CHALLENGE)
    deals[1] = {**deals[1], 3: changed_by(wide, deals[1][3], some_polynomial(wide))}
    with pytest.raises(DealsDisputed) as caught:
        verify_deals(name, dealt, checks(), CHALLENGE)
    named = keys.public_key_share_digest(wide.profile, dealt[1].public_key_share)
    assert caught.value.dealers == (named,)
