"""The key ceremony: public-key shares, commitments, deals, key shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cipherward_threshold import keys, shamir
from cipherward_threshold.errors import (
    BadSeed,
    BadSharing,
    DuplicateShare,
    MixedShares,
    TooFewShares,
    TooManyShares,
    UnknownProfile,
    WrongContext,
)
from cipherward_threshold.messages import Deal, KeyShare, PublicKey, PublicKeyShare
from cipherward_threshold.parameters import CBD_BOUND, profile
from cipherward_threshold.ring import Ring

if TYPE_CHECKING:
    from conftest import Alliance, BigIntegers

PROFILE = "additive-1"
CONTEXT = b"chain test, study 1, attempt 1"
SEED = bytes([101]) * 32  # the alliance's first member


@pytest.mark.slow
@pytest.mark.usefixtures("either_transport")
def test_the_collective_key_is_minus_a_s_plus_a_small_error(
    ring: Ring, big: BigIntegers, alliance: Alliance
) -> None:
    shares = [secret.public_key_share() for secret in alliance.secrets]
    key = PublicKey.parse(ring.profile, keys.combine_public_key(PROFILE, CONTEXT, shares))
    b, a = ring.intt(keys.public_key_polynomials(ring, key))
    modulus = ring.profile.data_modulus * ring.profile.special_prime
    masked = big.product(big.lift(a), alliance.joint_secret)
    errors = [-big.centred(x + y, modulus) for x, y in zip(big.lift(b), masked, strict=True)]
    assert max(map(abs, errors)) <= CBD_BOUND * len(shares)
    variance = sum(error * error for error in errors) / len(errors)
    assert 0.8 < variance / (10.5 * len(shares)) < 1.2


def test_a_member_gives_the_same_key_share_every_time(alliance: Alliance) -> None:
    again = keys.member_secret(PROFILE, SEED, CONTEXT)
    assert again.public_key_share() == alliance.public_key_shares[0]
    assert again.deal([1, 2, 3, 4], 3) == alliance.secrets[0].deal([4, 3, 2, 1], 3)


@pytest.mark.parametrize(
    ("seed", "context"), [(SEED, CONTEXT + b"."), (bytes([9]) * 32, CONTEXT), (SEED, b"")]
)
def test_another_seed_or_ceremony_gives_another_share_and_deal(
    alliance: Alliance, seed: bytes, context: bytes
) -> None:
    other = keys.member_secret(PROFILE, seed, context)
    mine = alliance.secrets[0]
    row = alliance.ring.profile
    theirs = PublicKeyShare.parse(row, other.public_key_share()).b
    ours = PublicKeyShare.parse(row, mine.public_key_share()).b
    assert (theirs != ours).mean() > 0.99
    theirs = Deal.parse(row, other.deal([1, 2], 2)[1]).value
    ours = Deal.parse(row, mine.deal([1, 2], 2)[1]).value
    assert (theirs != ours).mean() > 0.99


def test_deals_of_another_sharing_use_another_polynomial(ring: Ring, alliance: Alliance) -> None:
    secret = alliance.secrets[0]
    deals = [
        Deal.parse(ring.profile, secret.deal(points, threshold)[1]).value
        for points, threshold in (([1, 2, 3, 4], 2), ([1, 2, 3], 2), ([1, 2, 4], 2))
    ]
    # With one polynomial for all sharings these would be three times the same value.
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert (deals[first] != deals[second]).mean() > 0.99


def test_a_threshold_of_one_deals_the_secret_itself_to_all(ring: Ring, alliance: Alliance) -> None:
    deals = alliance.secrets[0].deal([7, 9], 1)
    first, second = (Deal.parse(ring.profile, deals[point]) for point in (7, 9))
    assert (first.value == second.value).all()


@pytest.mark.parametrize("chosen", [(1, 2, 3), (1, 2, 4), (1, 3, 4), (2, 3, 4), (1, 2, 3, 4)])
def test_any_three_key_shares_interpolate_to_the_joint_secret(
    ring: Ring, big: BigIntegers, alliance: Alliance, chosen: tuple[int, ...]
) -> None:
    values = {
        point: KeyShare.parse(ring.profile, alliance.key_shares[point]).value for point in chosen
    }
    weights = {
        point: ring.constant(shamir.lagrange(ring.profile.data_primes, chosen, point))
        for point in chosen
    }
    total = ring.sum([ring.multiply(values[point], weights[point]) for point in chosen])
    assert big.lift(ring.intt(total)[0]) == alliance.joint_secret


def test_lagrange_weights_equal_rational_arithmetic() -> None:
    # Over the points 1, 2, 4: 8/3, -2, 1/3 at zero.
    for point, (above, below) in {1: (8, 3), 2: (-2, 1), 4: (1, 3)}.items():
        prime = 1073692673
        assert shamir.lagrange([prime], [1, 2, 4], point) == [above * pow(below, -1, prime) % prime]


def test_public_key_and_key_shares_name_the_same_key_whatever_the_order(
    ring: Ring, alliance: Alliance
) -> None:
    shuffled = keys.combine_public_key(PROFILE, CONTEXT, alliance.public_key_shares[::-1])
    assert shuffled == alliance.public_key
    key_id = PublicKey.parse(ring.profile, shuffled).key_id
    for share in alliance.key_shares.values():
        assert KeyShare.parse(ring.profile, share).key_id == key_id
    assert len(keys.public_key_digest(shuffled)) == 32


def test_a_commitment_binds_share_and_sender(alliance: Alliance) -> None:
    first, second = alliance.public_key_shares[:2]
    commitment = keys.share_commitment(PROFILE, first, sender=b"north")
    assert commitment == keys.share_commitment(PROFILE, first, sender=b"north")
    assert commitment != keys.share_commitment(PROFILE, first, sender=b"south")
    assert commitment != keys.share_commitment(PROFILE, second, sender=b"north")


def test_a_key_of_no_share_or_of_a_repeated_one_is_refused(alliance: Alliance) -> None:
    first = alliance.public_key_shares[0]
    with pytest.raises(TooFewShares):
        keys.combine_public_key(PROFILE, CONTEXT, [])
    with pytest.raises(DuplicateShare):
        keys.combine_public_key(PROFILE, CONTEXT, [first, first])
    with pytest.raises(TooManyShares):
        keys.combine_public_key(PROFILE, CONTEXT, [first] * 256)


def test_a_share_of_another_ceremony_is_refused(alliance: Alliance) -> None:
    other = keys.member_secret(PROFILE, SEED, b"another").public_key_share()
    with pytest.raises(WrongContext):
        keys.combine_public_key(PROFILE, CONTEXT, [alliance.public_key_shares[1], other])


@pytest.mark.parametrize(
    ("points", "threshold"),
    [([], 1), ([0, 1], 1), ([1, 1], 1), ([1, 256], 2), ([1, 2], 3), ([1, 2], 0), ([-1, 2], 1)],
)
def test_a_sharing_that_is_none_is_refused(
    alliance: Alliance, points: list[int], threshold: int
) -> None:
    with pytest.raises(BadSharing):
        alliance.secrets[0].deal(points, threshold)


def test_deals_that_do_not_belong_together_are_refused(alliance: Alliance) -> None:
    first, second = alliance.secrets[:2]
    ours, theirs = first.deal([1, 2, 3], 2), second.deal([1, 2, 3], 2)
    with pytest.raises(TooFewShares):
        shamir.aggregate_shares(PROFILE, [])
    with pytest.raises(DuplicateShare):
        shamir.aggregate_shares(PROFILE, [ours[1], ours[1]])
    with pytest.raises(MixedShares):
        shamir.aggregate_shares(PROFILE, [ours[1], theirs[2]])
    with pytest.raises(MixedShares):
        shamir.aggregate_shares(PROFILE, [ours[1], second.deal([1, 2, 3], 3)[1]])
    with pytest.raises(TooManyShares):
        shamir.aggregate_shares(PROFILE, [ours[1]] * 256)


def test_secrets_start_from_a_real_profile_and_seed_and_stay_out_of_texts() -> None:
    with pytest.raises(BadSeed):
        keys.member_secret(PROFILE, b"short", CONTEXT)
    with pytest.raises(UnknownProfile):
        keys.member_secret("none", SEED, CONTEXT)
    secret = keys.member_secret(PROFILE, b"e" * 32, CONTEXT)
    assert "eeee" not in repr(secret)
    deal = Deal.parse(profile(PROFILE), secret.deal([1], 1)[1])
    assert "value" not in repr(deal)
