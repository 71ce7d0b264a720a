"""Slots and their shares: any threshold opens, and nothing serves where it was not made for."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cipherward_threshold.group import domains
from cipherward_threshold.group.curve import (
    IDENTITY,
    ONE,
    G,
    G1Point,
    Scalar,
    hash_to_scalar,
    octets,
    random_scalar,
    read_point,
    read_scalar,
)
from cipherward_threshold.group.encoding import digest, frame
from cipherward_threshold.group.errors import (
    GroupError,
    KeyRejected,
    KeyShareRejected,
    NotEnoughShares,
    OctetsRejected,
    ShareRejected,
    SlotRejected,
    WrongPurpose,
    WrongShares,
)
from cipherward_threshold.group.keys import OPENING, ThresholdKey, second_generator
from cipherward_threshold.group.opening import make_opening_share
from cipherward_threshold.group.shares import SHARE_BYTES, claimed_sharing
from cipherward_threshold.group.tdh2 import (
    SLOT_BYTES,
    Label,
    Slot,
    combine,
    combine_unverified,
    encapsulate,
    make_share,
    verify_share,
    verify_slot,
)
from cipherward_threshold.group.testing import dealt_key

if TYPE_CHECKING:
    from conftest import Dealt

ORDER = b"order"


def recomputed(tag: bytes, key: ThresholdKey, bound: bytes, base: G1Point, share: bytes) -> bytes:
    """The challenge of a share's proof, as the verifier's own equations give it."""
    index, part = int.from_bytes(share[:2], "big"), read_point(share[6:54])
    challenge, response = read_scalar(share[54:86]), read_scalar(share[86:])
    holder = read_point(key.points[index - 1])
    first = G * response - holder * challenge
    second = base * response - part * challenge
    shown = octets(base, holder, part, first, second)
    return octets(hash_to_scalar(tag, key.digest, bound, index, shown))


@pytest.fixture(scope="module")
def shares(dealt: Dealt) -> dict[int, bytes]:
    return dealt.shares(ORDER)


def chosen(shares: dict[int, bytes], *indexes: int) -> dict[int, bytes]:
    return {index: shares[index] for index in indexes}


def flipped(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def spoiled(share: bytes) -> bytes:
    """The share with another point for its part, in form."""
    return share[:6] + octets(read_point(share[6:54]) + G) + share[54:]


def test_any_threshold_of_shares_opens(dealt: Dealt, shares: dict[int, bytes]) -> None:
    for indexes in combinations(shares, 3):
        some = chosen(shares, *indexes)
        assert combine(dealt.key, dealt.slot, some, ORDER) == dealt.key_part
        assert combine_unverified(dealt.key, dealt.slot, some) == dealt.key_part
    assert combine(dealt.key, dealt.slot, shares, ORDER) == dealt.key_part


def test_one_share_less_than_the_threshold_opens_nothing(
    dealt: Dealt, shares: dict[int, bytes]
) -> None:
    for indexes in combinations(shares, 2):
        few = chosen(shares, *indexes)
        with pytest.raises(NotEnoughShares) as refused:
            combine(dealt.key, dealt.slot, few, ORDER)
        assert refused.value.metadata == {"have": "2", "need": "3"}
        with pytest.raises(NotEnoughShares):
            combine_unverified(dealt.key, dealt.slot, few)
        # and the same arithmetic on too few points gives another key part
        lower = replace(dealt.key, threshold=2)
        assert combine_unverified(lower, dealt.slot, few) != dealt.key_part


@pytest.mark.parametrize(("threshold", "holders"), [(1, 1), (2, 2), (3, 3), (5, 7), (22, 32)])
def test_alliances_of_other_sizes_open(threshold: int, holders: int) -> None:
    key, secrets = dealt_key(chain_id="c", threshold=threshold, holders=holders)
    label = Label("c", b"r", "m", 1)
    octets_, key_part = encapsulate(key, label)
    slot = verify_slot(key, label, octets_)
    last = range(holders - threshold + 1, holders + 1)
    some = {index: make_share(key, index, secrets[index - 1], slot, ORDER) for index in last}
    assert combine(key, slot, some, ORDER) == key_part


def test_lengths_are_as_documented(dealt: Dealt, shares: dict[int, bytes]) -> None:
    assert len(dealt.slot.octets) == SLOT_BYTES == 160
    assert {len(share) for share in shares.values()} == {SHARE_BYTES} == {118}
    assert len(dealt.key_part) == 32


def test_a_share_says_which_sharing_it_is_of(dealt: Dealt, shares: dict[int, bytes]) -> None:
    assert {claimed_sharing(share) for share in shares.values()} == {dealt.key.sharing}
    assert claimed_sharing(flipped(shares[1], 2)) == dealt.key.sharing ^ 1 << 24
    for octets_ in (b"", shares[1][:-1], shares[1] + b"\0"):
        with pytest.raises(OctetsRejected):
            claimed_sharing(octets_)


def test_slots_and_key_parts_are_new_each_time(dealt: Dealt, label: Label) -> None:
    made = [encapsulate(dealt.key, label) for _ in range(3)]
    assert len({slot for slot, _ in made}) == len({part for _, part in made}) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": "other"},
        {"record_id": b"record-2"},
        {"custodian": "hospital-b"},
        {"key_epoch": 2},
    ],
)
def test_a_relabelled_slot_is_refused(dealt: Dealt, label: Label, change: dict[str, Any]) -> None:
    with pytest.raises(SlotRejected):
        verify_slot(dealt.key, replace(label, **change), dealt.slot.octets)


def test_a_slot_moved_to_another_record_is_refused(dealt: Dealt, label: Label) -> None:
    step, raw = random_scalar(), dealt.slot.octets
    second = second_generator(dealt.key.purpose)
    u, ubar = read_point(raw[:48]) + G * step, read_point(raw[48:96]) + second * step
    for place in (label, replace(label, record_id=b"record-2")):
        with pytest.raises(SlotRejected):
            verify_slot(dealt.key, place, octets(u, ubar) + raw[96:])


def test_every_octet_of_a_slot_counts(dealt: Dealt, label: Label) -> None:
    for at in range(SLOT_BYTES):
        with pytest.raises(SlotRejected):
            verify_slot(dealt.key, label, flipped(dealt.slot.octets, at))


def test_every_octet_of_a_share_counts(dealt: Dealt, shares: dict[int, bytes]) -> None:
    for at in range(SHARE_BYTES):
        with pytest.raises(ShareRejected) as refused:
            verify_share(dealt.key, dealt.slot, flipped(shares[1], at), ORDER, index=1)
        assert refused.value.index == 1


def test_slots_and_shares_have_one_length(
    dealt: Dealt, label: Label, shares: dict[int, bytes]
) -> None:
    slot, share = dealt.slot.octets, shares[1]
    for bad in (b"", slot[:-1], slot + b"\0", slot + bytes(32), slot[:-32], share):
        with pytest.raises(SlotRejected):
            verify_slot(dealt.key, label, bad)
    for bad in (b"", share[:-1], share + b"\0", slot):
        with pytest.raises(ShareRejected):
            verify_share(dealt.key, dealt.slot, bad, ORDER, index=1)
        with pytest.raises(ShareRejected):
            combine_unverified(dealt.key, dealt.slot, {**shares, 1: bad})


@pytest.mark.parametrize(
    "change",
    [{"sharing": 2}, {"threshold": 2}, {"points": None}],
)
def test_a_share_holds_for_its_own_sharing_only(
    dealt: Dealt, shares: dict[int, bytes], change: dict[str, Any]
) -> None:
    if "points" in change:
        first, second, *rest = dealt.key.points
        change = {"points": (first, *reversed(rest), second)}
    other = replace(dealt.key, **change)
    assert (other.identity, other.digest) != (dealt.key.identity, dealt.key.digest)
    assert other.identity == dealt.key.identity
    with pytest.raises(ShareRejected):
        verify_share(other, dealt.slot, shares[1], ORDER, index=1)


@pytest.mark.parametrize(
    "change", [{"chain_id": "c"}, {"key_epoch": 2}, {"public_key": None}, {"purpose": OPENING}]
)
def test_a_slot_holds_for_its_own_key_only(
    dealt: Dealt, label: Label, shares: dict[int, bytes], change: dict[str, Any]
) -> None:
    if "public_key" in change:
        change = {"public_key": dealt.key.points[0]}
    other = replace(dealt.key, **change)
    assert other.identity != dealt.key.identity
    for attempt in (
        lambda: verify_slot(other, label, dealt.slot.octets),
        lambda: verify_share(other, dealt.slot, shares[1], ORDER, index=1),
        lambda: make_share(other, 1, dealt.secrets[0], dealt.slot, ORDER),
        lambda: combine_unverified(other, dealt.slot, shares),
        lambda: combine(other, dealt.slot, shares, ORDER),
    ):
        with pytest.raises((SlotRejected, WrongPurpose)):
            attempt()


def test_a_share_holds_for_its_own_order_and_slot_only(
    dealt: Dealt, label: Label, shares: dict[int, bytes]
) -> None:
    with pytest.raises(ShareRejected):
        verify_share(dealt.key, dealt.slot, shares[1], b"other order", index=1)
    another = verify_slot(dealt.key, label, encapsulate(dealt.key, label)[0])
    with pytest.raises(ShareRejected):
        verify_share(dealt.key, another, shares[1], ORDER, index=1)
    relabelled = Slot(dealt.slot.octets, replace(label, record_id=b"x"), dealt.key.identity, G)
    with pytest.raises(ShareRejected):
        verify_share(dealt.key, relabelled, shares[1], ORDER, index=1)


def test_a_share_holds_for_its_own_holder_only(dealt: Dealt, shares: dict[int, bytes]) -> None:
    renamed = (2).to_bytes(2, "big") + shares[1][2:]
    for index, share in ((2, shares[1]), (2, renamed), (1, renamed)):
        with pytest.raises(ShareRejected):
            verify_share(dealt.key, dealt.slot, share, ORDER, index=index)
    for nobody in (0, 5):
        named = nobody.to_bytes(2, "big") + shares[1][2:]
        with pytest.raises(ShareRejected):
            verify_share(dealt.key, dealt.slot, named, ORDER, index=nobody)


def test_a_wrong_share_is_named_and_the_others_open(dealt: Dealt, shares: dict[int, bytes]) -> None:
    mixed = {**shares, 2: spoiled(shares[2])}
    assert combine(dealt.key, dealt.slot, mixed, ORDER) == dealt.key_part
    with pytest.raises(WrongShares) as refused:
        combine(dealt.key, dealt.slot, chosen(mixed, 1, 2, 3), ORDER)
    assert refused.value.indexes == (2,)
    assert refused.value.metadata == {"wrong": "2"}
    two = {**mixed, 4: spoiled(shares[4])}
    with pytest.raises(WrongShares) as refused:
        combine(dealt.key, dealt.slot, two, ORDER)
    assert refused.value.indexes == (2, 4)


def test_unverified_shares_of_which_one_is_wrong_give_another_key_part(
    dealt: Dealt, shares: dict[int, bytes]
) -> None:
    mixed = {**shares, 2: spoiled(shares[2])}
    assert combine_unverified(dealt.key, dealt.slot, mixed) != dealt.key_part


def test_a_share_for_one_holder_does_not_stand_in_for_others(
    dealt: Dealt, shares: dict[int, bytes]
) -> None:
    copies = {index: shares[1] for index in range(1, 4)}
    with pytest.raises(ShareRejected) as refused:
        combine_unverified(dealt.key, dealt.slot, copies)
    assert refused.value.index == 2
    with pytest.raises(WrongShares):
        combine(dealt.key, dealt.slot, copies, ORDER)


def test_a_holder_with_another_secret_makes_no_share(dealt: Dealt) -> None:
    wrong = octets(random_scalar())
    for index, secret in ((1, wrong), (2, dealt.secrets[0]), (5, dealt.secrets[0]), (1, b"short")):
        with pytest.raises(KeyShareRejected):
            make_share(dealt.key, index, secret, dealt.slot, ORDER)


def test_a_share_is_proven_anew_each_time(dealt: Dealt) -> None:
    made = [make_share(dealt.key, 1, dealt.secrets[0], dealt.slot, ORDER) for _ in range(2)]
    assert made[0] != made[1]
    assert made[0][:54] == made[1][:54]  # the same part, another proof


def forged(key: ThresholdKey, label: Label, ubar: G1Point, secret: Scalar) -> bytes:
    """A slot by somebody who skips encapsulate's checks: proves u = r G beside any ubar."""
    nonce, u = random_scalar(), G * secret
    firsts = G * nonce, second_generator(key.purpose) * nonce
    shown = octets(u, ubar, *firsts)
    challenge = hash_to_scalar(domains.SLOT_PROOF, key.identity, label.octets, shown)
    return octets(u, ubar, challenge, nonce + secret * challenge)


def test_a_slot_needs_its_second_point(dealt: Dealt, label: Label) -> None:
    secret, second = random_scalar(), second_generator(dealt.key.purpose)
    verify_slot(dealt.key, label, forged(dealt.key, label, second * secret, secret))
    wrong = forged(dealt.key, label, second * random_scalar(), secret)
    with pytest.raises(SlotRejected):
        verify_slot(dealt.key, label, wrong)


def test_a_slot_for_a_label_of_another_chain_or_epoch_is_not_made_nor_taken(
    dealt: Dealt, label: Label
) -> None:
    secret, second = random_scalar(), second_generator(dealt.key.purpose)
    for other in (replace(label, key_epoch=2), replace(label, chain_id="c")):
        with pytest.raises(SlotRejected):
            encapsulate(dealt.key, other)
        with pytest.raises(SlotRejected):
            verify_slot(dealt.key, other, forged(dealt.key, other, second * secret, secret))


def test_an_opening_key_serves_no_slot_even_with_the_same_secret(
    dealt: Dealt, label: Label
) -> None:
    opening = replace(dealt.key, purpose=OPENING)
    with pytest.raises(WrongPurpose):
        encapsulate(opening, label)
    with pytest.raises(WrongPurpose):
        verify_slot(opening, label, dealt.slot.octets)
    with pytest.raises(WrongPurpose):
        make_share(opening, 1, dealt.secrets[0], dealt.slot, ORDER)
    secret = random_scalar()  # a slot that is well made, but with the openings' generator
    stranger = forged(dealt.key, label, second_generator(OPENING) * secret, secret)
    with pytest.raises(SlotRejected):
        verify_slot(dealt.key, label, stranger)


def test_a_record_key_opens_no_identity(dealt: Dealt) -> None:
    """A slot's point under the same key would be answered for, without its label and proof."""
    with pytest.raises(WrongPurpose):
        make_opening_share(dealt.key, 1, dealt.secrets[0], dealt.slot.octets[:48], ORDER)


def test_an_encrypted_identity_is_no_slot(dealt: Dealt, label: Label) -> None:
    secret = random_scalar()
    mask = read_point(dealt.key.public_key) * secret
    pair = octets(G * secret, mask + G * random_scalar(), ONE, ONE)
    with pytest.raises(SlotRejected):
        verify_slot(dealt.key, label, pair)


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": ""},
        {"purpose": "study"},
        {"key_epoch": 0},
        {"sharing": 0},
        {"sharing": 2**32},
        {"threshold": 0},
        {"threshold": 5},
        {"public_key": bytes(47)},
        {"points": ()},
        {"points": (bytes(48), bytes(47), bytes(48))},
        {"points": (octets(G),) * 33},
    ],
)
def test_a_key_out_of_range_is_refused(dealt: Dealt, change: dict[str, Any]) -> None:
    with pytest.raises(KeyRejected):
        replace(dealt.key, **change)


def test_a_key_whose_octets_are_no_points_is_refused_when_used(
    dealt: Dealt, label: Label, shares: dict[int, bytes]
) -> None:
    with pytest.raises(OctetsRejected):
        encapsulate(replace(dealt.key, public_key=octets(IDENTITY)), label)
    broken = replace(dealt.key, points=(bytes(48), *dealt.key.points[1:]))
    with pytest.raises(OctetsRejected):
        verify_share(broken, dealt.slot, shares[1], ORDER, index=1)


def test_keys_are_plain_values_that_go_to_a_worker(dealt: Dealt, label: Label) -> None:
    key = pickle.loads(pickle.dumps(dealt.key))  # noqa: S301 - our own bytes
    assert (key, key.digest) == (dealt.key, dealt.key.digest)
    assert verify_slot(key, label, dealt.slot.octets) == dealt.slot


def test_digests_take_their_fields_in_this_order(dealt: Dealt, label: Label) -> None:
    key = dealt.key
    assert key.identity == digest(domains.KEY_IDENTITY, key.chain_id, "record", 1, key.public_key)
    points = b"".join(key.points)
    assert key.digest == digest(domains.SHARING_DIGEST, key.identity, 1, 3, points)
    assert label.octets == frame(domains.RECORD_LABEL, label.chain_id, b"record-1", "hospital-a", 1)


def test_a_shares_proof_takes_its_fields_in_this_order(
    dealt: Dealt, label: Label, shares: dict[int, bytes]
) -> None:
    bound = frame(label.octets, dealt.slot.octets, ORDER)
    u = read_point(dealt.slot.octets[:48])
    assert recomputed(domains.SHARE_PROOF, dealt.key, bound, u, shares[2]) == shares[2][54:86]


def test_a_key_part_is_derived_from_its_fields_in_this_order(dealt: Dealt, label: Label) -> None:
    """The key part is Y^r, from a slot whose r is known here."""
    secret, second = random_scalar(), second_generator(dealt.key.purpose)
    octets_ = forged(dealt.key, label, second * secret, secret)
    slot = verify_slot(dealt.key, label, octets_)
    shares = {
        index: make_share(dealt.key, index, held, slot, ORDER)
        for index, held in enumerate(dealt.secrets, start=1)
    }
    derivation = HKDF(
        hashes.SHA256(), 32, domains.ALLIANCE_PART, frame(dealt.key.identity, label.octets, octets_)
    )
    joined = octets(read_point(dealt.key.public_key) * secret)
    assert combine(dealt.key, slot, shares, ORDER) == derivation.derive(joined)


def test_no_error_shows_a_secret(dealt: Dealt) -> None:
    with pytest.raises(GroupError) as refused:
        make_share(dealt.key, 2, dealt.secrets[0], dealt.slot, ORDER)
    shown = f"{refused.value!r} {refused.value.metadata} {dealt.slot!r}"
    assert dealt.secrets[0].hex() not in shown
    assert repr(dealt.secrets[0]) not in shown
