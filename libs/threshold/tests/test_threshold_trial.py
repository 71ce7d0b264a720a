"""A new sharing is tried on a ciphertext that everybody makes alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from cipherward_threshold.circuits import circuit
from cipherward_threshold.dealing.resharing import Resharing, reshare, reshared_key_share
from cipherward_threshold.dealing.trial import TRIAL_CIRCUIT, check_trial, trial_ciphertext
from cipherward_threshold.decryption import combine, partial_decryption
from cipherward_threshold.encryption import c1_digest
from cipherward_threshold.errors import (
    BadSeed,
    MixedShares,
    ResharingRejected,
    TooFewShares,
    WrongCiphertext,
)
from cipherward_threshold.keys import combine_public_key, member_secret
from cipherward_threshold.messages import KeyShare, Sharing
from cipherward_threshold.parameters import profile
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.shamir import aggregate_shares

PROFILE = "product-1"
OLD, NEW = (1, 2, 3), Sharing(2, (2, 3, 5))
SEED = b"t" * 32


@dataclass(frozen=True)
class Reshared:
    """A key whose first holder has left and to which another has come: shares by point."""

    public_key: bytes
    old: Mapping[int, bytes]
    new: Mapping[int, bytes]

    @property
    def ciphertext(self) -> bytes:
        return trial_ciphertext(PROFILE, self.public_key, SEED)

    def opened_by(self, shares: Mapping[int, bytes], ciphertext: bytes) -> list[bytes]:
        return [
            partial_decryption(
                PROFILE,
                share,
                ciphertext,
                point=point,
                online=tuple(shares),
                seed=bytes((point,)) * 32,
                context=b"trial",
                circuit=TRIAL_CIRCUIT,
            )
            for point, share in shares.items()
        ]


@pytest.fixture(scope="module")
def key() -> Reshared:
    members = [member_secret(PROFILE, bytes((point,)) * 32, b"a data key") for point in OLD]
    deals = [one.deal(OLD, 2) for one in members]
    old = {p: aggregate_shares(PROFILE, [deal[p] for deal in deals]) for p in OLD}
    public = combine_public_key(PROFILE, b"a data key", [one.public_key_share() for one in members])
    form = Resharing(PROFILE, public, (1, 3), NEW, b"one leaves, one joins")
    dealt = [reshare(form, old[point], seed=bytes((point,)) * 32) for point in form.old]
    new = {p: reshared_key_share(form, [one.deals[p] for one in dealt]) for p in NEW.points}
    return Reshared(public, old, new)


def test_new_holders_open_the_trial_to_what_everybody_knows(key: Reshared) -> None:
    ciphertext = key.ciphertext
    check_trial(PROFILE, ciphertext, key.opened_by(key.new, ciphertext), SEED)


def test_the_trial_is_the_same_everywhere_and_another_for_every_seed(key: Reshared) -> None:
    assert key.ciphertext == key.ciphertext
    other = trial_ciphertext(PROFILE, key.public_key, b"u" * 32)
    assert c1_digest(PROFILE, other) != c1_digest(PROFILE, key.ciphertext)
    with pytest.raises(BadSeed):
        trial_ciphertext(PROFILE, key.public_key, b"short")


def test_the_trial_floods_as_for_a_sum_of_columns() -> None:
    parameters = profile(PROFILE)
    row = circuit(TRIAL_CIRCUIT, parameters)
    # What a share must hide is e1 s - e u, doubled: |e1|, |e| <= 21 and s of all dealers.
    noise = 2 * 2 * 21 * parameters.degree * parameters.members_max
    assert noise.bit_length() == 25
    assert row.flooded_security_bits(math.log2(noise)) > 120


def test_a_share_that_is_off_in_one_place_is_found_out(key: Reshared) -> None:
    ring, ciphertext = profile_ring(PROFILE), key.ciphertext
    share = KeyShare.parse(ring.profile, key.new[3])
    value = share.value.copy()
    value[0, 1, 77] ^= 1
    wrong = {**key.new, 3: replace(share, value=value).to_bytes(ring.profile)}
    with pytest.raises(ResharingRejected):
        check_trial(PROFILE, ciphertext, key.opened_by(wrong, ciphertext), SEED)


def test_a_trial_of_another_seed_or_of_a_part_of_the_holders_is_refused(key: Reshared) -> None:
    ciphertext = key.ciphertext
    shares = key.opened_by(key.new, ciphertext)
    with pytest.raises(ResharingRejected):
        check_trial(PROFILE, ciphertext, shares, b"u" * 32)
    with pytest.raises(WrongCiphertext):
        check_trial(PROFILE, trial_ciphertext(PROFILE, key.public_key, b"u" * 32), shares, SEED)
    with pytest.raises(TooFewShares):
        check_trial(PROFILE, ciphertext, shares[:2], SEED)
    part = key.opened_by({2: key.new[2], 3: key.new[3]}, ciphertext)
    with pytest.raises(MixedShares):
        check_trial(PROFILE, ciphertext, [shares[0], *part], SEED)


def test_an_old_share_does_not_open_with_new_ones(key: Reshared) -> None:
    ciphertext, row = key.ciphertext, profile(PROFILE)
    stale = KeyShare.parse(row, key.old[2])
    renamed = replace(stale, sharing=NEW).to_bytes(row)  # as if it were of the new sharing
    mixed = {**key.new, 2: renamed}
    with pytest.raises(ResharingRejected):
        check_trial(PROFILE, ciphertext, key.opened_by(mixed, ciphertext), SEED)


def test_the_new_threshold_opens_alone(key: Reshared) -> None:
    ciphertext = key.ciphertext
    two = {point: key.new[point] for point in (3, 5)}
    opened = combine(PROFILE, ciphertext, key.opened_by(two, ciphertext), 64, circuit=TRIAL_CIRCUIT)
    whole = combine(
        PROFILE,
        ciphertext,
        key.opened_by(key.new, ciphertext),
        64,
        circuit=TRIAL_CIRCUIT,
    )
    assert opened == whole
    assert any(opened)
