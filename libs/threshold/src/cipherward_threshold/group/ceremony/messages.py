"""The bodies of a ceremony's messages, each with one form; a message's sender is its act's.

| kind | body |
|---|---|
| enrol | the member's sealing key for this ceremony, 1,216 bytes |
| deal | commitments (48 bytes each, threshold of them), then a member's sealed part each (*) |
| complain | the dealers complained about, a byte each, ascending; empty: about nobody |
| answer | for each complaint, ascending by receiver: index (1) ‖ its share (32 a polynomial) |
| extract | the key's polynomial as points (48 each), challenge and two responses (32 each) |
| rebuild | for each dealer to be rebuilt, ascending: index (1) ‖ its share to the sender (64) |
| ready | challenge ‖ response (32 each) |

(*) length (2) ‖ octets; none, of length 0, for a member that has not enrolled.

What the chain keeps of a deal is its commitments: the sealed parts are their receivers' affair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from cipherward_threshold.group.ceremony.plan import Plan
from cipherward_threshold.group.curve import (
    POINT_BYTES,
    SCALAR_BYTES,
    G1Point,
    Scalar,
    octets,
    read_points,
    read_scalars,
    recall_points,
)
from cipherward_threshold.group.errors import OctetsRejected

SEALING_KEY_BYTES: Final = 1_216  # hybrid HPKE: ML-KEM-768 1,184 and X25519 32
SEALED_BYTES_MAX: Final = 1_280  # HPKE's 1,136 over two scalars is 1,200
_LENGTH_BYTES = 2

Shares = tuple[Scalar, ...]
"""A dealer's values for one receiver: of its polynomial, and for a new key of the hiding one."""


@dataclass(frozen=True, slots=True)
class Deal:
    """A deal in form: its commitments, and the sealed part of every member, by place."""

    commitments: tuple[G1Point, ...]
    kept: bytes
    sealed: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Extraction:
    """A dealer's polynomial as points, and the proof that its deal committed to it."""

    points: tuple[G1Point, ...]
    challenge: Scalar
    responses: tuple[Scalar, Scalar]


def deal_body(commitments: Sequence[G1Point], sealed: Sequence[bytes]) -> bytes:
    """Return a deal's body; `sealed` has a part for every member, empty where there is none."""
    parts = (len(part).to_bytes(_LENGTH_BYTES, "big") + part for part in sealed)
    return octets(*commitments) + b"".join(parts)


def read_deal(plan: Plan, body: bytes) -> Deal:
    """Return the deal in a message's body, or raise `OctetsRejected`."""
    cut = plan.threshold * POINT_BYTES
    kept, rest = body[:cut], body[cut:]
    return Deal(read_points(kept, plan.threshold), kept, _read_sealed(plan, rest))


def sealed_part(plan: Plan, body: bytes, receiver: str) -> bytes:
    """Return the sealed part of a deal's body for one member, empty if it has none.

    Raises:
        OctetsRejected: the body is no deal's, or the plan has no such member.
    """
    index = plan.receiver(receiver)
    if index is None:
        raise OctetsRejected("a deal has no part for this member")
    return _read_sealed(plan, body[plan.threshold * POINT_BYTES :])[index - 1]


def complaint_body(dealers: Sequence[int]) -> bytes:
    """Return a complaint's body."""
    return bytes(sorted(dealers))


def read_complaint(body: bytes) -> tuple[int, ...]:
    """Return the dealers in a complaint's body, or raise `OctetsRejected`."""
    _need_ascending(body)
    return tuple(body)


def shares_body(shares: Mapping[int, Shares]) -> bytes:
    """Return the body of an answer or a rebuilding."""
    return b"".join(bytes((index,)) + octets(*shares[index]) for index in sorted(shares))


def read_shares(plan: Plan, body: bytes) -> dict[int, Shares]:
    """Return the shares in an answer's or a rebuilding's body, or raise `OctetsRejected`."""
    size = 1 + plan.bases * SCALAR_BYTES
    if len(body) % size:
        raise OctetsRejected("shares are out of form")
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    _need_ascending([part[0] for part in parts])
    return {part[0]: read_scalars(part[1:], plan.bases) for part in parts}


def extraction_body(extraction: Extraction) -> bytes:
    """Return an extraction's body."""
    return octets(*extraction.points, extraction.challenge, *extraction.responses)


def read_extraction(plan: Plan, body: bytes) -> Extraction:
    """Return the extraction in a message's body, or raise `OctetsRejected`."""
    cut = plan.threshold * POINT_BYTES
    challenge, first, second = read_scalars(body[cut:], 3)
    return Extraction(read_points(body[:cut], plan.threshold), challenge, (first, second))


def recall_extraction(plan: Plan, body: bytes) -> tuple[G1Point, ...]:
    """Return the points of an extraction that was accepted before."""
    return recall_points(body[: plan.threshold * POINT_BYTES])


def _read_sealed(plan: Plan, rest: bytes) -> tuple[bytes, ...]:
    found, at = list[bytes](), 0
    for _ in plan.members:
        start = at + _LENGTH_BYTES
        size = int.from_bytes(rest[at:start], "big")
        at = start + size
        if size > SEALED_BYTES_MAX or at > len(rest):
            raise OctetsRejected("a deal's sealed parts are out of form")
        found.append(rest[start:at])
    if at != len(rest):
        raise OctetsRejected("a deal's sealed parts are out of form")
    return tuple(found)


def _need_ascending(indexes: Sequence[int]) -> None:
    if any(a >= b for a, b in pairwise(indexes)):
        raise OctetsRejected("indexes are not ascending")
