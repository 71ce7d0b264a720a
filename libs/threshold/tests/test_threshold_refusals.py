"""What is refused, and by which name: wrong sets, mixed messages, too few shares."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cipherward_threshold import decryption, encryption, keys, shamir
from cipherward_threshold.errors import (
    BadSeed,
    BadSharing,
    DuplicateShare,
    MixedShares,
    TooFewShares,
    TooManyShares,
    TooManySlots,
    TransparentCiphertext,
    UnknownProfile,
    WrongCiphertext,
    WrongKey,
    WrongPoint,
    WrongRequester,
)
from cipherward_threshold.messages import (
    Ciphertext,
)
from cipherward_threshold.switching import RequesterKey, combine_switched, switch_share

if TYPE_CHECKING:
    from conftest import Alliance

PROFILE = "additive-1"
REQUESTER = RequesterKey.generate(PROFILE, b"r" * 32)
ONLINE = (1, 2, 3)


def test_fewer_shares_than_the_set_are_refused(
    ciphertext: bytes, shares: list[bytes], switch_shares: list[bytes]
) -> None:
    with pytest.raises(TooFewShares) as refusal:
        decryption.combine(PROFILE, ciphertext, shares[:2], 3, circuit="sum")
    assert refusal.value.metadata == {"have": "2", "need": "3"}
    with pytest.raises(TooFewShares):
        decryption.combine(PROFILE, ciphertext, [], 3, circuit="sum")
    with pytest.raises(TooFewShares):
        combine_switched(PROFILE, ciphertext, switch_shares[1:], circuit="sum")


def test_a_member_gives_no_share_to_a_set_below_the_threshold(
    alliance: Alliance, ciphertext: bytes
) -> None:
    with pytest.raises(TooFewShares) as refusal:
        alliance.share(1, ciphertext, (1, 2))
    assert refusal.value.metadata == {"have": "2", "need": "3"}
    with pytest.raises(TooFewShares):
        alliance.switch(1, ciphertext, (1, 2), REQUESTER.public_key())


@pytest.mark.parametrize("online", [(2, 3, 4), (1, 2, 5)])
def test_a_set_without_the_member_or_with_a_stranger_is_refused(
    alliance: Alliance, ciphertext: bytes, online: tuple[int, ...]
) -> None:
    with pytest.raises(WrongPoint):
        alliance.share(1, ciphertext, online)


def test_a_key_share_of_another_point_is_refused(alliance: Alliance, ciphertext: bytes) -> None:
    with pytest.raises(WrongPoint):
        decryption.partial_decryption(
            PROFILE,
            alliance.key_shares[2],
            ciphertext,
            point=1,
            online=ONLINE,
            seed=bytes(32),
            context=b"",
            circuit="sum",
        )


@pytest.mark.parametrize("online", [(), (1, 1, 2), (0, 1, 2), (1, 2, 256)])
def test_an_online_set_that_is_none_is_refused(
    alliance: Alliance, ciphertext: bytes, online: tuple[int, ...]
) -> None:
    with pytest.raises(BadSharing):
        alliance.share(1, ciphertext, online)


def test_a_repeated_share_is_refused(
    ciphertext: bytes, shares: list[bytes], switch_shares: list[bytes]
) -> None:
    with pytest.raises(DuplicateShare):
        decryption.combine(PROFILE, ciphertext, [shares[0], shares[1], shares[1]], 3, circuit="sum")
    with pytest.raises(DuplicateShare):
        combine_switched(PROFILE, ciphertext, [*switch_shares, switch_shares[0]], circuit="sum")


def test_shares_of_different_sets_are_refused(
    alliance: Alliance, ciphertext: bytes, shares: list[bytes]
) -> None:
    stranger = alliance.share(4, ciphertext, (1, 2, 4))
    with pytest.raises(MixedShares):
        decryption.combine(PROFILE, ciphertext, [shares[0], shares[1], stranger], 3, circuit="sum")


def test_shares_of_another_ciphertext_are_refused(
    alliance: Alliance, shares: list[bytes], switch_shares: list[bytes]
) -> None:
    other = alliance.encrypt([4, 5, 6])
    with pytest.raises(WrongCiphertext):
        decryption.combine(PROFILE, other, shares, 3, circuit="sum")
    with pytest.raises(WrongCiphertext):
        combine_switched(PROFILE, other, switch_shares, circuit="sum")


def test_nothing_of_another_key_is_taken(alliance: Alliance, shares: list[bytes]) -> None:
    secrets = [keys.member_secret(PROFILE, bytes([50 + i]) * 32, b"else") for i in range(3)]
    parts = [secret.public_key_share() for secret in secrets]
    public_key = keys.combine_public_key(PROFILE, b"else", parts)
    other = encryption.encrypt(PROFILE, public_key, [1])
    with pytest.raises(WrongKey):
        alliance.share(1, other, ONLINE)
    with pytest.raises(WrongKey):
        decryption.combine(PROFILE, other, shares, 1, circuit="sum")
    with pytest.raises(WrongKey):
        encryption.add_ciphertexts(PROFILE, [other, alliance.encrypt([1])])
    # A key share that lacks a dealer names another key, so it decrypts nothing by mistake.
    deals = [secret.deal([1, 2], 2)[1] for secret in secrets]
    partial = shamir.aggregate_shares(PROFILE, deals[:2])
    with pytest.raises(WrongKey):
        decryption.partial_decryption(
            PROFILE,
            partial,
            other,
            point=1,
            online=(1, 2),
            seed=bytes(32),
            context=b"",
            circuit="sum",
        )


def test_results_and_shares_for_another_requester_are_refused(
    alliance: Alliance, ciphertext: bytes, switch_shares: list[bytes]
) -> None:
    other = RequesterKey.generate(PROFILE, b"o" * 32)
    with pytest.raises(WrongRequester):
        other.decrypt(combine_switched(PROFILE, ciphertext, switch_shares, circuit="sum"), 3)
    stray = alliance.switch(3, ciphertext, ONLINE, other.public_key())
    with pytest.raises(WrongRequester):
        combine_switched(PROFILE, ciphertext, [*switch_shares[:2], stray], circuit="sum")


def test_sums_of_none_or_of_too_many_are_refused(alliance: Alliance, ciphertext: bytes) -> None:
    with pytest.raises(TooFewShares):
        encryption.add_ciphertexts(PROFILE, [])
    most = alliance.ring.profile.contributors_max
    with pytest.raises(TooManyShares):
        encryption.add_ciphertexts(PROFILE, [ciphertext] * (most + 1))


def test_a_ciphertext_that_encrypts_nothing_is_refused(
    alliance: Alliance, ciphertext: bytes
) -> None:
    profile = alliance.ring.profile
    parsed = Ciphertext.parse(profile, ciphertext)
    negated = alliance.ring.negate(parsed.polynomials)
    with pytest.raises(TransparentCiphertext):  # a contributor that cancels another one's c1
        encryption.add_ciphertexts(
            PROFILE, [ciphertext, replace(parsed, polynomials=negated).to_bytes(profile)]
        )
    parsed.polynomials[1] = 0
    with pytest.raises(TransparentCiphertext):
        alliance.share(1, parsed.to_bytes(profile), ONLINE)


@pytest.mark.parametrize("count", [0, 8189])
def test_a_result_has_between_one_slot_and_all(
    ciphertext: bytes, shares: list[bytes], count: int
) -> None:
    with pytest.raises(TooManySlots):
        decryption.combine(PROFILE, ciphertext, shares, count, circuit="sum")


def test_seeds_and_profiles_are_checked_everywhere(alliance: Alliance, ciphertext: bytes) -> None:
    public_key = REQUESTER.public_key()
    with pytest.raises(BadSeed):
        decryption.partial_decryption(
            PROFILE,
            alliance.key_shares[1],
            ciphertext,
            point=1,
            online=ONLINE,
            seed=b"short",
            context=b"",
            circuit="sum",
        )
    with pytest.raises(BadSeed):
        switch_share(
            PROFILE,
            alliance.key_shares[1],
            ciphertext,
            requester_public_key=public_key,
            point=1,
            online=ONLINE,
            seed=b"",
            context=b"",
            circuit="sum",
        )
    with pytest.raises(BadSeed):
        RequesterKey.generate(PROFILE, b"")
    with pytest.raises(UnknownProfile):
        RequesterKey.generate("none", bytes(32))
    with pytest.raises(UnknownProfile):
        encryption.c1_digest("none", ciphertext)
    assert "rrrr" not in repr(REQUESTER)
