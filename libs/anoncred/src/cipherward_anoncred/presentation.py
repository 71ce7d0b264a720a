"""Presentations: the holder shows some attributes and a scope's pseudonym, bound to given octets.

One Fiat-Shamir proof of: a signature of the issuer under the header; the disclosed attributes; the
pseudonym is of the signed secret; of staff also that the opening encrypts the identity key of that
secret (cipherward_anoncred.opening); all of it made for `context` (a transaction's body).

Octets without an opening: `01`, then compressed Abar, Bbar, D and the pseudonym, then uncompressed
T1, T2 and the pseudonym's first message, then one response per witness (e, r1, r3, hidden
messages).  With one: `02`, the same points, the same first messages and the opening's two, the same
responses and rho's; the opening itself travels beside.  First messages are sent, not the challenge,
so that a verifier can check many presentations in one sum (cipherward_anoncred.verification).  No
other form exists: a presentation has one encoding.

There is no step to take before the context is known: nonces are hedged with the context, which must
therefore come first.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

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
from cipherward_anoncred.errors import (
    DisclosureInvalid,
    Malformed,
    OpeningInvalid,
    PresentationRejected,
)
from cipherward_anoncred.octets import pack
from cipherward_anoncred.opening import EQUATIONS, Encryption, read_opening_key
from cipherward_anoncred.relation import ProofCommitment, Statement, challenge_octets, respond
from cipherward_anoncred.schema import parse_header
from cipherward_anoncred.scheme import read_signature

VERSION = b"\x01"
VERSION_WITH_OPENING = b"\x02"
POINTS = 4  # Abar, Bbar, D, pseudonym
FIRSTS = 3  # T1, T2, the pseudonym's
_OTHER_RESPONSES = 3  # e, r1, r3
POINTS_END = len(VERSION) + POINTS * POINT_OCTETS
FIRSTS_END = POINTS_END + FIRSTS * XY_OCTETS
_NYM_START = POINTS_END - POINT_OCTETS


@dataclass(frozen=True, slots=True)
class Form:
    """One of the two forms of a presentation's octets, and the tags of its hashes.

    firsts_end: where the first messages end.  other_responses: those beside the hidden messages'.
    """

    version: bytes
    firsts_end: int
    other_responses: int
    challenge_tag: bytes
    nonces_tag: bytes

    def octets_expected(self, hidden: int) -> int:
        """How long a presentation with that many hidden messages is."""
        return self.firsts_end + (self.other_responses + hidden) * SCALAR_OCTETS


PLAIN = Form(
    VERSION,
    FIRSTS_END,
    _OTHER_RESPONSES,
    domains.PRESENTATION,
    domains.NONCES_PRESENTATION,
)
WITH_OPENING = Form(
    VERSION_WITH_OPENING,
    FIRSTS_END + EQUATIONS * XY_OCTETS,
    _OTHER_RESPONSES + 1,  # rho's, which stands last
    domains.PRESENTATION_WITH_OPENING,
    domains.NONCES_PRESENTATION_WITH_OPENING,
)
_FORMS = {form.version: form for form in (PLAIN, WITH_OPENING)}


@dataclass(frozen=True, slots=True)
class Accountable:
    """A presentation's octets, and the opening (96 octets) that it proves."""

    octets: bytes
    opening: bytes


def check_disclosed(indexes: Sequence[int], attributes: int) -> None:
    """
    Raises:
        DisclosureInvalid: not ascending, or beyond the attributes (so the blind and the secret).
    """
    if list(indexes) != sorted(set(indexes)) or any(not 0 <= i < attributes for i in indexes):
        raise DisclosureInvalid("disclosed indexes are ascending and name attributes")


def statement_octets(statement: Statement, scope: bytes, opening_key: bytes = b"") -> bytes:
    """All that a presentation is about but its context; the domain stands for issuer and header."""
    public = (challenge_octets(statement), statement.domain.to_be_bytes(), scope)
    return pack(*public, opening_key) if opening_key else pack(*public)


def challenge(
    public: bytes, points: bytes, firsts: bytes, context: bytes, form: Form = PLAIN
) -> Scalar:
    """`public` as `statement_octets`; `firsts` as they stand in the presentation.

    `points` too, and behind them the opening, if there is one.
    """
    return hash_to_scalar(pack(public, points, firsts, context), form.challenge_tag)


def present(
    credential: Credential,
    *,
    disclosed: Sequence[int],
    scope: bytes,
    context: bytes,
    rng: Rng = secrets.token_bytes,
) -> bytes:
    """A presentation without an opening; about 3 ms.

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
    return _present(_Asked(credential, tuple(disclosed), scope, context), rng).octets


def present_accountably(
    credential: Credential,
    *,
    opening_key: bytes,
    disclosed: Sequence[int],
    scope: bytes,
    context: bytes,
    rng: Rng = secrets.token_bytes,
) -> Accountable:
    """A presentation of staff, with its identity key encrypted to the members; about 4 ms.

    Args:
        opening_key: the members' opening key, 48 octets.
        disclosed, scope, context: as of `present`.

    Returns:
        897 octets with one hidden attribute, 32 more for each further one; and the opening.

    Raises:
        OpeningInvalid: the credential is of a schema without openings, or that is not a key.
        DisclosureInvalid, ScopeInvalid: as of `present`.
    """
    if not parse_header(credential.header).accountable:
        raise OpeningInvalid("credentials of this schema are never opened")
    asked = _Asked(credential, tuple(disclosed), scope, context, opening_key)
    try:
        read_opening_key(opening_key)
    except Malformed:
        raise OpeningInvalid("those octets are no opening key") from None
    return _present(asked, rng)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be presented; without an opening the key is empty."""

    credential: Credential
    disclosed: tuple[int, ...]
    scope: bytes
    context: bytes
    opening_key: bytes = b""

    @property
    def form(self) -> Form:
        return WITH_OPENING if self.opening_key else PLAIN


def _present(asked: _Asked, rng: Rng) -> Accountable:
    credential, form = asked.credential, asked.form
    check_disclosed(asked.disclosed, len(credential.attributes))
    base = scope_base(asked.scope)
    scalars = credential.scalars()
    statement = Statement.make(
        credential.layout,
        credential.domain(),
        asked.disclosed,
        [scalars[i] for i in asked.disclosed],
    )
    public = statement_octets(statement, asked.scope, asked.opening_key)
    needed = ProofCommitment.nonces_needed(statement)
    *nonces, rho, rho_nonce = hedged_scalars(
        needed + 2,
        tag=form.nonces_tag,
        rng=rng,
        secret=credential.secret + credential.blind + credential.signature,
        context=pack(public, asked.context),
    )
    proof = ProofCommitment.make(statement, *read_signature(credential.signature), scalars, nonces)
    # the secret is the last hidden message, so its nonce is the last one
    secret = nonces[-1], scalars[-1]
    points = serialize([*proof.points, base * scalars[-1]])
    firsts, pairs, opening = [*proof.firsts, base * nonces[-1]], [*proof.pairs], b""
    if asked.opening_key:
        key = read_opening_key(asked.opening_key)
        encryption = Encryption.make(key, secret, (rho_nonce, rho))
        firsts += encryption.firsts
        pairs.append(encryption.pair)
        opening = encryption.octets
    hashed = xy_octets(firsts)
    c = challenge(public, points + opening, hashed, asked.context, form)
    return Accountable(form.version + points + hashed + serialize(respond(pairs, c)), opening)


def pseudonym_of(octets: bytes) -> bytes:
    """The pseudonym that a presentation carries, 48 octets: nobody's before it is verified.

    Raises:
        PresentationRejected: not the octets of a presentation.
    """
    form = _FORMS.get(octets[: len(VERSION)])
    if form is None:
        raise PresentationRejected
    responses_octets = len(octets) - form.octets_expected(hidden=0)
    if responses_octets < 0 or responses_octets % SCALAR_OCTETS:
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
