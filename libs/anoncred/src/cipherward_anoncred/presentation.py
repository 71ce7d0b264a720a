"""Presentations: the holder shows some attributes and a scope's pseudonym, bound to given octets.

One Fiat-Shamir proof of: a signature of the issuer under the header; the disclosed attributes; the
pseudonym is of the signed secret; all of it made for `context` (a transaction's body).

Octets, version 1: `01`, then compressed Abar, Bbar, D and the pseudonym, then uncompressed T1, T2
and the pseudonym's first message, then one response per witness (e, r1, r3, hidden messages).
First messages are sent, not the challenge, so that a verifier can check many presentations in one
sum (cipherward_anoncred.verification).  No other form exists: a presentation has one encoding.

There is no step to take before the context is known: nonces are hedged with the context, which must
therefore come first.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from cipherward_anoncred import domains
from cipherward_anoncred.credential import Credential, scope_base
from cipherward_anoncred.curve import (
    POINT_OCTETS,
    SCALAR_OCTETS,
    XY_OCTETS,
    Rng,
    Scalar,
    hash_to_scalar,
    hedged_scalars,
    read_point,
    read_scalar,
    serialize,
    xy_octets,
)
from cipherward_anoncred.errors import DisclosureInvalid, Malformed, PresentationRejected
from cipherward_anoncred.octets import pack
from cipherward_anoncred.relation import ProofCommitment, Statement, challenge_octets, respond
from cipherward_anoncred.scheme import read_signature

VERSION = b"\x01"
POINTS = 4  # Abar, Bbar, D, pseudonym
FIRSTS = 3  # T1, T2, the pseudonym's
_OTHER_RESPONSES = 3  # e, r1, r3
POINTS_END = len(VERSION) + POINTS * POINT_OCTETS
FIRSTS_END = POINTS_END + FIRSTS * XY_OCTETS
_NYM_START = POINTS_END - POINT_OCTETS


def octets_expected(hidden: int) -> int:
    """How long a presentation with that many hidden messages is."""
    return FIRSTS_END + (_OTHER_RESPONSES + hidden) * SCALAR_OCTETS


def check_disclosed(indexes: Sequence[int], attributes: int) -> None:
    """
    Raises:
        DisclosureInvalid: not ascending, or beyond the attributes (so the blind and the secret).
    """
    if list(indexes) != sorted(set(indexes)) or any(not 0 <= i < attributes for i in indexes):
        raise DisclosureInvalid("disclosed indexes are ascending and name attributes")


def statement_octets(statement: Statement, scope: bytes) -> bytes:
    """All that a presentation is about but its context; the domain stands for issuer and header."""
    return pack(challenge_octets(statement), statement.domain.to_be_bytes(), scope)


def challenge(public: bytes, points: bytes, firsts: bytes, context: bytes) -> Scalar:
    """`public` as `statement_octets`, `points` and `firsts` as they stand in the presentation."""
    return hash_to_scalar(pack(public, points, firsts, context), domains.PRESENTATION)


def present(
    credential: Credential,
    *,
    disclosed: Sequence[int],
    scope: bytes,
    context: bytes,
    rng: Rng = secrets.token_bytes,
) -> bytes:
    """A presentation; about 3 ms.

    Args:
        disclosed: indexes of the attributes to show, ascending.
        scope: 1 to 256 octets; the contract fixes it, never the holder.
        context: what the presentation is good for, and for nothing else.

    Returns:
        673 octets with one hidden attribute; 32 more for each further one.

    Raises:
        DisclosureInvalid: indexes not ascending, or not an attribute's.
        ScopeInvalid: empty, or longer than 256 octets.
    """
    check_disclosed(disclosed, len(credential.attributes))
    base = scope_base(scope)
    scalars = credential.scalars()
    statement = Statement.make(
        credential.layout, credential.domain(), disclosed, [scalars[i] for i in disclosed]
    )
    public = statement_octets(statement, scope)
    nonces = hedged_scalars(
        ProofCommitment.nonces_needed(statement),
        tag=domains.NONCES_PRESENTATION,
        rng=rng,
        secret=credential.secret + credential.blind + credential.signature,
        context=pack(public, context),
    )
    a, e = read_signature(credential.signature)
    proof = ProofCommitment.make(statement, a, e, scalars, nonces)
    # the secret is the last hidden message, so its nonce is the last one
    points = serialize([*proof.points, base * scalars[-1]])
    firsts = xy_octets([*proof.firsts, base * nonces[-1]])
    c = challenge(public, points, firsts, context)
    return VERSION + points + firsts + serialize(respond(proof.pairs, c))


def pseudonym_of(octets: bytes) -> bytes:
    """The pseudonym that a presentation carries, 48 octets: nobody's before it is verified.

    Raises:
        PresentationRejected: not the octets of a presentation.
    """
    responses_octets = len(octets) - octets_expected(hidden=0)
    if octets[:1] != VERSION or responses_octets < 0 or responses_octets % SCALAR_OCTETS:
        raise PresentationRejected
    pseudonym = octets[_NYM_START:POINTS_END]
    try:
        read_point(pseudonym)
    except Malformed:
        raise PresentationRejected from None
    return pseudonym


def read_responses(octets: bytes) -> list[Scalar]:
    """
    Raises:
        Malformed: a response that is not a scalar.
    """
    return [
        read_scalar(octets[at : at + SCALAR_OCTETS]) for at in range(0, len(octets), SCALAR_OCTETS)
    ]
