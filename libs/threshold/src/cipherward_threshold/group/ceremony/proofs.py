"""What a ceremony's messages must show: that shares fit commitments, that a dealer's points are
what it committed to, that a member has its share.

Sources: Pedersen, "Non-interactive and information-theoretic secure verifiable secret sharing"
(1991), and Feldman (1987), for commitments; Gennaro, Leigh, Sundaram and Yerazunis, "Batching
Schnorr identification scheme" (2004), for one proof of all of a dealer's points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cipherward_threshold.group import domains
from cipherward_threshold.group.ceremony.messages import Extraction, Shares
from cipherward_threshold.group.ceremony.plan import Plan
from cipherward_threshold.group.curve import (
    IDENTITY,
    G,
    G1Point,
    Scalar,
    blinded_product,
    hash_to_scalar,
    independent_point,
    msm,
    octets,
)
from cipherward_threshold.group.keys import ThresholdKey, holder_point
from cipherward_threshold.group.polynomials import powers

H: Final = independent_point("pedersen")  # hides what G shows


def bases(plan: Plan) -> tuple[G1Point, ...]:
    """Return the points that a deal commits with: Pedersen's two, or Feldman's one."""
    return (G, H)[: plan.bases]


def commit(plan: Plan, polynomials: Sequence[Sequence[Scalar]]) -> tuple[G1Point, ...]:
    """Return the commitments to a dealer's polynomials, one a coefficient."""
    return tuple(msm(bases(plan), column) for column in zip(*polynomials, strict=True))


def shares_fit(plan: Plan, commitments: Sequence[G1Point], receiver: int, shares: Shares) -> bool:
    """Return whether `shares` are what a deal with these commitments owes to the receiver."""
    weights = [-power for power in powers(receiver, len(commitments))]
    return msm([*bases(plan), *commitments], [*shares, *weights]) == IDENTITY


def prove_extraction(
    plan: Plan, dealer: int, polynomials: Sequence[Sequence[Scalar]], nonces: Sequence[Scalar]
) -> Extraction:
    """Return a dealer's points with their proof; `nonces` are two secret scalars, used once."""
    shown, hidden = polynomials
    points = tuple(G * coefficient for coefficient in shown)
    first, second = nonces
    challenge = _extraction_challenge(
        plan, dealer, commit(plan, polynomials), points, (G * first, H * second)
    )
    for weight, a, b in zip(_weights(challenge, len(shown)), shown, hidden, strict=True):
        first, second = first + weight * a, second + weight * b
    return Extraction(points, challenge, (first, second))


def extraction_holds(
    plan: Plan, dealer: int, commitments: Sequence[G1Point], extraction: Extraction
) -> bool:
    """Return whether the points are those that the dealer's commitments hide."""
    weights = [-weight for weight in _weights(extraction.challenge, plan.threshold)]
    hidden = [c - a for a, c in zip(extraction.points, commitments, strict=True)]
    one, two = extraction.responses
    firsts = msm([G, *extraction.points], [one, *weights]), msm([H, *hidden], [two, *weights])
    challenge = _extraction_challenge(plan, dealer, commitments, extraction.points, firsts)
    return challenge == extraction.challenge


def prove_ready(plan: Plan, key: ThresholdKey, index: int, share: Scalar, nonce: Scalar) -> bytes:
    """Return a member's proof that it has its share, 64 bytes; `nonce` is secret, used once."""
    challenge = _ready_challenge(plan, key, index, blinded_product(G, nonce))
    return octets(challenge, nonce + challenge * share)


def ready_holds(plan: Plan, key: ThresholdKey, index: int, proof: Sequence[Scalar]) -> bool:
    """Return whether a proof (challenge, response) shows that a member has its share."""
    challenge, response = proof
    first = msm([G, holder_point(key, index)], [response, -challenge])
    return _ready_challenge(plan, key, index, first) == challenge


def _weights(challenge: Scalar, count: int) -> list[Scalar]:
    found = [challenge]
    for _ in range(count - 1):
        found.append(found[-1] * challenge)
    return found


def _extraction_challenge(
    plan: Plan,
    dealer: int,
    commitments: Sequence[G1Point],
    points: Sequence[G1Point],
    firsts: Sequence[G1Point],
) -> Scalar:
    shown = octets(*commitments), octets(*points), octets(*firsts)
    return hash_to_scalar(domains.EXTRACTION_PROOF, plan.session, dealer, *shown)


def _ready_challenge(plan: Plan, key: ThresholdKey, index: int, first: G1Point) -> Scalar:
    shown = octets(holder_point(key, index), first)
    return hash_to_scalar(domains.READY_PROOF, plan.session, key.digest, index, shown)
