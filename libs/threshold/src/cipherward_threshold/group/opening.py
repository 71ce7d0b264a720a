"""Opening of an identity key that staff encrypted to the members' opening key.

Ciphertext, 96 bytes: E1 = rho G ‖ E2 = rho Y + K, with K the holder's identity key. The pair alone
is malleable: it is opened only as it stands in a presentation that was verified, whose proof binds
it to its transaction. A holder's share is its multiple of E1, proven, for one `context` (the
warrant) and one base.

Source: threshold ElGamal (Desmedt and Frankel, 1989), with the proofs of `shares`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cipherward_threshold.group import domains
from cipherward_threshold.group.curve import IDENTITY, POINT_BYTES, octets, read_point, read_points
from cipherward_threshold.group.encoding import frame
from cipherward_threshold.group.errors import CiphertextRejected, OctetsRejected
from cipherward_threshold.group.keys import OPENING, ThresholdKey, require_purpose
from cipherward_threshold.group.shares import (
    SHARE_BYTES,
    Statement,
    check_share,
    joined,
    prove_share,
    right_parts,
)

__all__ = ["SHARE_BYTES"]

CIPHERTEXT_BYTES: Final = 96


def make_opening_share(
    key: ThresholdKey, index: int, share: bytes, base: bytes, context: bytes
) -> bytes:
    """Return a holder's share of a ciphertext, for `context` only: 118 bytes.

    Args:
        share: the holder's secret, 32 bytes.
        base: E1, the first 48 bytes of the ciphertext.
        context: the warrant that it is given for.

    Raises:
        WrongPurpose: the key is not for openings.
        CiphertextRejected: the base is no point.
        KeyShareRejected: the secret is not that of `index` in this sharing.
    """
    return prove_share(_statement(key, base, context), index, share)


def verify_opening_share(
    key: ThresholdKey, base: bytes, share: bytes, context: bytes, *, index: int
) -> None:
    """Check the share that holder `index` made of a ciphertext for `context`.

    Raises:
        WrongPurpose: the key is not for openings.
        CiphertextRejected: the base is no point.
        ShareRejected: it is not that.
    """
    check_share(_statement(key, base, context), share, index)


def combine_opening(
    key: ThresholdKey, ciphertext: bytes, shares: Mapping[int, bytes], context: bytes
) -> bytes:
    """Return the identity key (48 bytes) from the first `threshold` right shares.

    Raises:
        WrongPurpose: the key is not for openings.
        CiphertextRejected: the ciphertext is out of form, or holds no key.
        WrongShares: fewer are right; all that are wrong are named.
        NotEnoughShares: fewer came, and none is wrong.
    """
    try:
        _, second = read_points(ciphertext, 2)
    except OctetsRejected:
        raise CiphertextRejected("an encrypted identity key is out of form") from None
    parts = right_parts(_statement(key, ciphertext[:POINT_BYTES], context), shares)
    identity = second - joined(parts)
    if identity == IDENTITY:
        raise CiphertextRejected("an encrypted identity key holds none")
    return octets(identity)


def _statement(key: ThresholdKey, base: bytes, context: bytes) -> Statement:
    require_purpose(key, OPENING)
    try:
        point = read_point(base)
    except OctetsRejected:
        raise CiphertextRejected("an encrypted identity key is out of form") from None
    return Statement(domains.OPENING_PROOF, key, point, frame(base, context))
