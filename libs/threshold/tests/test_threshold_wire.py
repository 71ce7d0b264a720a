"""The wire forms: whole, in range, of one kind, in one form; a flipped bit never passes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import pytest

from cipherward_threshold import decryption
from cipherward_threshold.errors import (
    MalformedMessage,
    ResidueOutOfRange,
    ResultIsNoise,
    ThresholdError,
    WrongProfile,
)
from cipherward_threshold.messages import (
    Ciphertext,
    Deal,
    DecryptionShare,
    KeyShare,
    PublicKey,
    PublicKeyShare,
    RequesterPublicKey,
    Switched,
    SwitchShare,
)
from cipherward_threshold.parameters import Profile
from cipherward_threshold.proofs.messages import Contribution, HalfCiphertext
from cipherward_threshold.switching import RequesterKey, combine_switched

if TYPE_CHECKING:
    from conftest import Alliance

PROFILE = "additive-1"
REQUESTER = RequesterKey.generate(PROFILE, b"r" * 32)


class Message(Protocol):
    def to_bytes(self, profile: Profile) -> bytes: ...


Parse = Callable[[Profile, bytes], Message]


@pytest.fixture(scope="module")
def messages(
    alliance: Alliance,
    contribution: Contribution,
    ciphertext: bytes,
    shares: list[bytes],
    switch_shares: list[bytes],
) -> list[tuple[Parse, bytes]]:
    """One message of every kind, with its parser."""
    return [
        (PublicKeyShare.parse, alliance.public_key_shares[0]),
        (PublicKey.parse, alliance.public_key),
        (Deal.parse, alliance.secrets[0].deal([1, 2], 2)[1]),
        (KeyShare.parse, alliance.key_shares[1]),
        (HalfCiphertext.parse, contribution.ciphertexts[0]),
        (Ciphertext.parse, ciphertext),
        (DecryptionShare.parse, shares[0]),
        (RequesterPublicKey.parse, REQUESTER.public_key()),
        (SwitchShare.parse, switch_shares[0]),
        (Switched.parse, combine_switched(PROFILE, ciphertext, switch_shares, circuit="sum")),
    ]


def test_every_message_survives_its_wire_form(
    alliance: Alliance, messages: list[tuple[Parse, bytes]]
) -> None:
    for parse, message in messages:
        assert parse(alliance.ring.profile, message).to_bytes(alliance.ring.profile) == message


def test_truncated_extended_and_empty_messages_are_refused(
    alliance: Alliance, messages: list[tuple[Parse, bytes]]
) -> None:
    for parse, message in messages:
        for wrong in (b"", message[:5], message[:80], message[:-1], message + b"\0"):
            with pytest.raises(MalformedMessage):
                parse(alliance.ring.profile, wrong)


def test_a_message_of_another_kind_form_or_profile_is_refused(
    alliance: Alliance, messages: list[tuple[Parse, bytes]]
) -> None:
    for index, (parse, message) in enumerate(messages):
        other = messages[index - 1][1]
        for wrong in (other, b"CWT2" + message[4:], message[4:]):
            with pytest.raises(MalformedMessage):
                parse(alliance.ring.profile, wrong)
        with pytest.raises(WrongProfile):
            parse(alliance.ring.profile, message[:5] + b"\xff" + message[6:])


def test_a_residue_at_its_prime_is_refused_in_every_message(
    alliance: Alliance, messages: list[tuple[Parse, bytes]]
) -> None:
    for parse, message in messages:
        with pytest.raises(ResidueOutOfRange):
            parse(alliance.ring.profile, message[:-8] + b"\xff" * 8)
    profile = alliance.ring.profile
    share = PublicKeyShare.parse(profile, alliance.public_key_shares[0])
    share.b[0, 3, 17] = profile.special_prime - 1
    accepted = share.to_bytes(profile)
    assert PublicKeyShare.parse(profile, accepted).to_bytes(profile) == accepted
    share.b[0, 3, 17] = profile.special_prime
    with pytest.raises(ResidueOutOfRange):
        PublicKeyShare.parse(profile, share.to_bytes(profile))


@pytest.mark.parametrize(
    ("place", "content"),
    [
        (71, b"\x00"),  # no point
        (72, b"\x00"),  # the secret's own point
        (73, b"\x01"),  # repeated
        (73, b"\x03"),  # repeated, out of order
        (75, b"\x04"),  # the share's own point is not in the set
    ],
)
def test_a_point_set_has_one_form(
    alliance: Alliance, shares: list[bytes], place: int, content: bytes
) -> None:
    assert shares[0][71:76] == b"\x03\x01\x02\x03\x01"
    with pytest.raises(MalformedMessage):
        DecryptionShare.parse(
            alliance.ring.profile, shares[0][:place] + content + shares[0][place + 1 :]
        )


@pytest.mark.parametrize("threshold", [0, 5])
def test_a_threshold_out_of_range_is_refused(alliance: Alliance, threshold: int) -> None:
    key_share = alliance.key_shares[1]
    assert key_share[38:44] == b"\x03\x04\x01\x02\x03\x04"
    with pytest.raises(MalformedMessage):
        KeyShare.parse(alliance.ring.profile, key_share[:38] + bytes([threshold]) + key_share[39:])


@pytest.mark.slow
def test_no_flipped_bit_of_a_share_or_ciphertext_passes(
    alliance: Alliance, ciphertext: bytes, shares: list[bytes]
) -> None:
    """Anywhere, and at every byte of the header."""
    choice = random.Random(3)  # noqa: S311  # places to flip, nothing secret
    header = len(shares[0]) - 3 * 8192 * 8
    for place in [*range(header), *(choice.randrange(len(shares[0])) for _ in range(150))]:
        flipped = bytearray(shares[0])
        flipped[place] ^= 1 << choice.randrange(8)
        with pytest.raises(ThresholdError):
            decryption.combine(PROFILE, ciphertext, [bytes(flipped), *shares[1:]], 3, circuit="sum")
    for _ in range(50):
        flipped = bytearray(ciphertext)
        flipped[choice.randrange(len(ciphertext))] ^= 1 << choice.randrange(8)
        with pytest.raises(ThresholdError):
            decryption.combine(PROFILE, bytes(flipped), shares, 3, circuit="sum")


def test_a_share_with_a_wrong_value_is_noise(
    alliance: Alliance, ciphertext: bytes, shares: list[bytes]
) -> None:
    profile = alliance.ring.profile
    share = DecryptionShare.parse(profile, shares[0])
    share.value[0, 0, 0] ^= 1
    with pytest.raises(ResultIsNoise):
        decryption.combine(
            PROFILE, ciphertext, [share.to_bytes(profile), *shares[1:]], 3, circuit="sum"
        )
