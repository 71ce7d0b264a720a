"""A holder's share of something under a shared key: its multiple of a base point, with the proof
that it is that (Chaum and Pedersen's equality of logarithms, made non-interactive).

Wire, 118 bytes: index (2) ‖ sharing (4) ‖ part (48) ‖ challenge (32) ‖ response (32). What the
proof is of, besides base and part, is the caller's `bound` octets: a share proves nothing
elsewhere.

Source: Shoup and Gennaro, "Securing threshold cryptosystems against chosen ciphertext attack",
J. Cryptology 15 (2002), decryption shares of TDH2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cipherward_threshold.group.curve import (
    POINT_BYTES,
    G,
    G1Point,
    Scalar,
    blinded_product,
    hash_to_scalar,
    hedged_nonce,
    msm,
    octets,
    read_point,
    read_scalar,
    read_scalars,
)
from cipherward_threshold.group.errors import (
    KeyShareRejected,
    NotEnoughShares,
    OctetsRejected,
    ShareRejected,
    WrongShares,
)
from cipherward_threshold.group.keys import ThresholdKey, holder_point
from cipherward_threshold.group.polynomials import lagrange_at_zero

SHARE_BYTES: Final = 118
_INDEX_BYTES, _SHARING_BYTES = 2, 4
_HEAD_BYTES = _INDEX_BYTES + _SHARING_BYTES


@dataclass(frozen=True, slots=True)
class Statement:
    """What a share is of: `tag` names the operation, `bound` everything that it holds for."""

    tag: bytes
    key: ThresholdKey
    base: G1Point
    bound: bytes

    def challenge(self, index: int, part: G1Point, first: G1Point, second: G1Point) -> Scalar:
        """Return the proof's challenge, over the sharing and everything that the proof shows."""
        shown = octets(self.base, holder_point(self.key, index), part, first, second)
        return hash_to_scalar(self.tag, self.key.digest, self.bound, index, shown)


@dataclass(frozen=True, slots=True)
class _Share:
    index: int
    sharing: int
    part: G1Point
    challenge: Scalar
    response: Scalar


def prove_share(statement: Statement, index: int, share: bytes) -> bytes:
    """Return the holder's share of a statement, 118 bytes.

    Args:
        share: the holder's secret, 32 bytes.

    Raises:
        KeyShareRejected: the secret is not that of `index` in this sharing.
    """
    secret = holder_secret(statement.key, index, share)
    part = blinded_product(statement.base, secret)
    shown = octets(statement.base, part)
    nonce = hedged_nonce(secret, statement.tag, statement.key.digest, statement.bound, shown)
    first, second = blinded_product(G, nonce), blinded_product(statement.base, nonce)
    challenge = statement.challenge(index, part, first, second)
    head = index.to_bytes(_INDEX_BYTES, "big")
    head += statement.key.sharing.to_bytes(_SHARING_BYTES, "big")
    return head + octets(part, challenge, nonce + secret * challenge)


def check_share(statement: Statement, share: bytes, index: int) -> G1Point:
    """Return the part of a share that is right.

    Raises:
        ShareRejected: it is out of form, of another holder, sharing or statement, or not proven.
    """
    try:
        claimed = _parse(statement.key, share, index)
    except OctetsRejected:
        raise ShareRejected(index) from None
    pair = [claimed.response, -claimed.challenge]
    first = msm([G, holder_point(statement.key, index)], pair)
    second = msm([statement.base, claimed.part], pair)
    if statement.challenge(index, claimed.part, first, second) != claimed.challenge:
        raise ShareRejected(index)
    return claimed.part


def right_parts(statement: Statement, shares: Mapping[int, bytes]) -> dict[int, G1Point]:
    """Return the parts of the first `threshold` right shares, by index.

    Raises:
        WrongShares: fewer are right; all that are wrong are named.
        NotEnoughShares: fewer came, and none is wrong.
    """
    right, wrong = dict[int, G1Point](), list[int]()
    for index in sorted(shares):
        try:
            right[index] = check_share(statement, shares[index], index)
        except ShareRejected:
            wrong.append(index)
        if len(right) == statement.key.threshold:
            return right
    if wrong:
        raise WrongShares(wrong)
    raise NotEnoughShares(len(right), statement.key.threshold)


def claimed_parts(key: ThresholdKey, shares: Mapping[int, bytes]) -> dict[int, G1Point]:
    """Return the parts of `threshold` shares whose proofs nobody checked.

    Raises:
        ShareRejected: one of them is out of form.
        NotEnoughShares: fewer came.
    """
    if len(shares) < key.threshold:
        raise NotEnoughShares(len(shares), key.threshold)
    found = dict[int, G1Point]()
    for index in sorted(shares)[: key.threshold]:
        try:
            found[index] = _parse(key, shares[index], index).part
        except OctetsRejected:
            raise ShareRejected(index) from None
    return found


def joined(parts: Mapping[int, G1Point]) -> G1Point:
    """Return the shared secret's multiple of the base, from the holders' multiples."""
    return msm(list(parts.values()), lagrange_at_zero(list(parts)))


def claimed_sharing(share: bytes) -> int:
    """Return the number of the sharing that a share says it is of; nothing of it is checked.

    Raises:
        OctetsRejected: it has not a share's length.
    """
    if len(share) != SHARE_BYTES:
        raise OctetsRejected(f"a share has {SHARE_BYTES} bytes")
    return int.from_bytes(share[_INDEX_BYTES:_HEAD_BYTES], "big")


def holder_secret(key: ThresholdKey, index: int, share: bytes) -> Scalar:
    """Return a holder's secret as a scalar, or raise `KeyShareRejected` if it is not its own."""
    try:
        secret = read_scalar(share)
        fits = blinded_product(G, secret) == holder_point(key, index)
    except OctetsRejected:
        raise KeyShareRejected("a secret share is out of form", index=index) from None
    if not fits:
        raise KeyShareRejected("a secret share is not of this index and sharing", index=index)
    return secret


def _parse(key: ThresholdKey, share: bytes, index: int) -> _Share:
    """Return a share in form, of the holder `index` and of this sharing; proofs are not checked."""
    cut = _HEAD_BYTES + POINT_BYTES
    challenge, response = read_scalars(share[cut:], 2)  # holds for the whole share's length too
    found = _Share(
        int.from_bytes(share[:_INDEX_BYTES], "big"),
        int.from_bytes(share[_INDEX_BYTES:_HEAD_BYTES], "big"),
        read_point(share[_HEAD_BYTES:cut]),
        challenge,
        response,
    )
    if not 1 <= index <= len(key.points) or (found.index, found.sharing) != (index, key.sharing):
        raise OctetsRejected("a share is of another holder or sharing")
    return found
