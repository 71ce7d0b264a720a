"""TDH2 as a labelled threshold KEM: how a record's key part is shared among the members.

`encapsulate` makes a slot (public, bound to its label) and the key part that `threshold` holders
can derive from it. Slot, 160 bytes: u = rG ‖ ubar = r gbar ‖ challenge ‖ response. The label is
rebuilt from the record's anchor and never sent.

Source: Shoup and Gennaro, "Securing threshold cryptosystems against chosen ciphertext attack",
J. Cryptology 15 (2002), scheme TDH2: secure against chosen ciphertexts with static corruption, in
the random oracle model, under decisional Diffie-Hellman for this form. Differences: the symmetric
part is dropped (the key part is HKDF of Y^r, bound to key, label and slot); the hashes take the
key's identity; a share's proof also takes the label, the sharing and a `context` (the order), so
that a share made for one order proves nothing for another; gbar is a constant of the key's purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cipherward_threshold.group import domains
from cipherward_threshold.group.curve import (
    POINT_BYTES,
    G,
    G1Point,
    Scalar,
    hash_to_scalar,
    hedged_nonce,
    msm,
    octets,
    random_scalar,
    read_points,
    read_scalars,
)
from cipherward_threshold.group.encoding import frame
from cipherward_threshold.group.errors import OctetsRejected, SlotRejected
from cipherward_threshold.group.keys import (
    RECORD,
    ThresholdKey,
    public_point,
    require_purpose,
    second_generator,
)
from cipherward_threshold.group.shares import (
    SHARE_BYTES,
    Statement,
    check_share,
    claimed_parts,
    joined,
    prove_share,
    right_parts,
)

__all__ = ["SHARE_BYTES"]

SLOT_BYTES: Final = 160
KEY_PART_BYTES: Final = 32
_CUT = 2 * POINT_BYTES


@dataclass(frozen=True, slots=True)
class Label:
    """What a slot belongs to; all of it stands in the record's anchor."""

    chain_id: str
    record_id: bytes
    custodian: str
    key_epoch: int

    @property
    def octets(self) -> bytes:
        """The label as hashes take it."""
        return frame(
            domains.RECORD_LABEL, self.chain_id, self.record_id, self.custodian, self.key_epoch
        )


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot whose proof has been checked under a key and a label.

    `verify_slot` makes it, and nothing else does: multiplying by an unchecked point would answer
    whatever a stranger asks.
    """

    octets: bytes
    label: Label
    key_identity: bytes
    point: G1Point = field(repr=False)  # u, parsed


def encapsulate(key: ThresholdKey, label: Label) -> tuple[bytes, bytes]:
    """Return a slot (160 bytes) and its key part (32 bytes, secret), new each time.

    Raises:
        WrongPurpose: the key is not for records.
        SlotRejected: the label names another chain or key epoch.
    """
    _check_label(key, label)
    secret, second = random_scalar(), second_generator(key.purpose)
    nonce = hedged_nonce(secret, "slot", key.identity, label.octets)
    u, ubar = G * secret, second * secret
    challenge = _slot_challenge(key, label, (u, ubar), (G * nonce, second * nonce))
    slot = octets(u, ubar, challenge, nonce + secret * challenge)
    return slot, _key_part(key.identity, label, slot, public_point(key) * secret)


def verify_slot(key: ThresholdKey, label: Label, slot: bytes) -> Slot:
    """Return the slot, if it was made for this key and label by somebody who knows its secret.

    Raises:
        WrongPurpose: the key is not for records.
        SlotRejected: it was not.
    """
    _check_label(key, label)
    try:
        u, ubar = read_points(slot[:_CUT], 2)
        challenge, response = read_scalars(slot[_CUT:], 2)
    except OctetsRejected:
        raise SlotRejected("a slot is out of form") from None
    pair = [response, -challenge]
    firsts = msm([G, u], pair), msm([second_generator(key.purpose), ubar], pair)
    if _slot_challenge(key, label, (u, ubar), firsts) != challenge:
        raise SlotRejected("a slot was not made for this key and label")
    return Slot(bytes(slot), label, key.identity, u)


def make_share(key: ThresholdKey, index: int, share: bytes, slot: Slot, context: bytes) -> bytes:
    """Return a holder's share of a slot, for `context` only: 118 bytes, a new proof each time.

    Args:
        share: the holder's secret, 32 bytes.
        context: what the share is given for, as an order's digest.

    Raises:
        WrongPurpose, SlotRejected: the slot is another key's.
        KeyShareRejected: the secret is not that of `index` in this sharing.
    """
    return prove_share(_statement(key, slot, context), index, share)


def verify_share(
    key: ThresholdKey, slot: Slot, share: bytes, context: bytes, *, index: int
) -> None:
    """Check the share that holder `index` made of a slot for `context`.

    Raises:
        WrongPurpose, SlotRejected: the slot is another key's.
        ShareRejected: it is not that.
    """
    check_share(_statement(key, slot, context), share, index)


def combine_unverified(key: ThresholdKey, slot: Slot, shares: Mapping[int, bytes]) -> bytes:
    """Return the key part (32 bytes) that `threshold` shares give, whose proofs nobody checked.

    With a wrong share among them it is another one: the caller must compare what it opens with the
    anchor's commitment, and falls back to `combine`.

    Raises:
        WrongPurpose, SlotRejected: the slot is another key's.
        ShareRejected: a share is out of form or of another holder or sharing.
        NotEnoughShares: fewer came.
    """
    _check_slot(key, slot)
    return _opened(slot, joined(claimed_parts(key, shares)))


def combine(key: ThresholdKey, slot: Slot, shares: Mapping[int, bytes], context: bytes) -> bytes:
    """Return the key part (32 bytes) from the first `threshold` right shares.

    Raises:
        WrongPurpose, SlotRejected: the slot is another key's.
        WrongShares: fewer are right; all that are wrong are named.
        NotEnoughShares: fewer came, and none is wrong.
    """
    return _opened(slot, joined(right_parts(_statement(key, slot, context), shares)))


def _check_label(key: ThresholdKey, label: Label) -> None:
    require_purpose(key, RECORD)
    if (label.chain_id, label.key_epoch) != (key.chain_id, key.key_epoch):
        raise SlotRejected("a label names another chain or key epoch")


def _check_slot(key: ThresholdKey, slot: Slot) -> None:
    require_purpose(key, RECORD)
    if slot.key_identity != key.identity:
        raise SlotRejected("a slot was made for another key")


def _statement(key: ThresholdKey, slot: Slot, context: bytes) -> Statement:
    _check_slot(key, slot)
    bound = frame(slot.label.octets, slot.octets, context)
    return Statement(domains.SHARE_PROOF, key, slot.point, bound)


def _slot_challenge(
    key: ThresholdKey,
    label: Label,
    pair: tuple[G1Point, G1Point],
    firsts: tuple[G1Point, G1Point],
) -> Scalar:
    shown = octets(*pair, *firsts)
    return hash_to_scalar(domains.SLOT_PROOF, key.identity, label.octets, shown)


def _opened(slot: Slot, secret: G1Point) -> bytes:
    return _key_part(slot.key_identity, slot.label, slot.octets, secret)


def _key_part(key_identity: bytes, label: Label, slot: bytes, secret: G1Point) -> bytes:
    info = frame(key_identity, label.octets, slot)
    derivation = HKDF(hashes.SHA256(), KEY_PART_BYTES, domains.ALLIANCE_PART, info)
    return derivation.derive(octets(secret))
