"""Pseudonyms: one point per (holder, scope), provably of the secret that the issuer signed.

Source: draft-irtf-cfrg-bbs-per-verifier-linkability (vectors of 29 June 2026).  Messages are
ordered: the signer's, the holder's blind, the committed ones, the nym secrets.  Credentials of this
package use one nym secret and no committed message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from cipherward_anoncred import domains
from cipherward_anoncred.blind import (
    check_commitment,
    commit_scalars,
    finalize_signature,
    signer_part,
)
from cipherward_anoncred.curve import (
    Draw,
    G1Point,
    Scalar,
    hash_to_point,
    hash_to_scalar,
    msm,
    random_scalars,
    read_point,
    read_points_and_scalars,
    serialize,
)
from cipherward_anoncred.errors import (
    CommitmentRejected,
    DisclosureInvalid,
    LengthMismatch,
    Malformed,
    ProofRejected,
)
from cipherward_anoncred.layout import Layout, layout
from cipherward_anoncred.octets import i2osp
from cipherward_anoncred.relation import (
    ProofCommitment,
    ProofEquations,
    Statement,
    challenge_octets,
    respond,
)
from cipherward_anoncred.scheme import (
    PROOF_POINTS,
    IssuerKey,
    message_count_of,
    pairings_hold,
    read_signature,
    verify_scalars,
)

_API = domains.NYM_API
_SCOPES_KEPT = 4096  # 150 octets each; hashing one anew costs 0.3 ms


@lru_cache(maxsize=_SCOPES_KEPT)
def nym_base(context_id: bytes) -> G1Point:
    """The point whose multiples are the pseudonyms of one scope."""
    return hash_to_point(context_id, _API)


def nym_exponent(secrets: Sequence[Scalar], context_id: bytes) -> Scalar:
    """The sum of secrets[i] * z^i with z of the scope; for one secret, that secret."""
    total = secrets[-1]
    if len(secrets) > 1:
        z = hash_to_scalar(context_id, _API + domains.NYM_VECTOR)
        for secret in reversed(secrets[:-1]):
            total = total * z + secret
    return total


def combined_header(header: bytes, secrets: int) -> bytes:
    """What the issuer signs as header: the number of nym secrets stands behind it."""
    return header + i2osp(secrets)


@dataclass(frozen=True, slots=True)
class NymMessages:
    """All that one signature of this interface covers."""

    messages: tuple[bytes, ...]
    committed: tuple[bytes, ...]
    blind: Scalar = field(repr=False)
    secrets: tuple[Scalar, ...] = field(repr=False)

    @property
    def shape(self) -> Layout:
        return layout(len(self.messages), _API, len(self.committed) + len(self.secrets))

    def scalars(self) -> list[Scalar]:
        shape = self.shape
        signer, committed = (shape.message_scalars(m) for m in (self.messages, self.committed))
        return [*signer, self.blind, *committed, *self.secrets]


def commit(
    messages: Sequence[bytes], holder_secrets: Sequence[Scalar], draw: Draw = random_scalars
) -> tuple[bytes, Scalar]:
    """CommitWithNym of the draft."""
    scalars = layout(0, _API).message_scalars(messages)
    return commit_scalars([*scalars, *holder_secrets], _API, draw)


def sign(
    key: IssuerKey,
    commitment: bytes,
    secrets: int,
    entropy: Scalar,
    header: bytes,
    messages: Sequence[bytes],
) -> bytes:
    """BlindSignWithNym of the draft: `entropy` is added to the last of `secrets` nym secrets.

    Raises:
        CommitmentRejected: malformed, its proof does not verify, or it holds too few messages.
    """
    point, committed = check_commitment(commitment, _API)
    if not 0 < secrets <= committed:
        raise CommitmentRejected("commitment holds fewer nym secrets")
    shape = layout(len(messages), _API, committed)
    b = signer_part(shape, messages) + point + shape.messages[-1] * entropy
    return finalize_signature(key, b, shape, combined_header(header, secrets))


def verify(public_key: bytes, signature: bytes, header: bytes, covered: NymMessages) -> None:
    """VerifyFinalizeWithNym of the draft, the entropy already added.

    Raises:
        SignatureRejected: malformed, or not a signature on these messages.
    """
    full = combined_header(header, len(covered.secrets))
    verify_scalars(public_key, signature, covered.shape, full, covered.scalars())


def _challenge(
    statement: Statement, points: Sequence[G1Point], ph: bytes, context_id: bytes
) -> Scalar:
    """`points` are Abar, Bbar, D, T1, T2, the pseudonym and its first message."""
    octets = challenge_octets(statement) + serialize([*points, statement.domain])
    tail = i2osp(len(ph)) + ph + i2osp(len(context_id)) + context_id
    return hash_to_scalar(octets + tail, statement.shape.scalar_tag)


def prove(
    public_key: bytes,
    signature: bytes,
    header: bytes,
    ph: bytes,
    context_id: bytes,
    covered: NymMessages,
    indexes: Sequence[int],
    draw: Draw = random_scalars,
) -> tuple[bytes, bytes]:
    """ProofGenWithNym of the draft: the proof and the pseudonym.

    `indexes` count over all messages of the layout: the signer's, the blind, the committed.
    """
    shape, scalars, secrets = covered.shape, covered.scalars(), len(covered.secrets)
    domain = shape.domain(public_key, combined_header(header, secrets))
    statement = Statement.make(shape, domain, indexes, [scalars[i] for i in indexes])
    a, e = read_signature(signature)
    nonces = draw(ProofCommitment.nonces_needed(statement))
    proof = ProofCommitment.make(statement, a, e, scalars, nonces)
    base = nym_base(context_id)
    nym = base * nym_exponent(covered.secrets, context_id)
    first = base * nym_exponent(nonces[-secrets:], context_id)
    c = _challenge(statement, [*proof.points, *proof.firsts, nym, first], ph, context_id)
    return serialize([*proof.points, *respond(proof.pairs, c), c]), nym.to_compressed_bytes()


def check_proof(
    public_key: bytes,
    proof: bytes,
    header: bytes,
    ph: bytes,
    context_id: bytes,
    nym: bytes,
    *,
    secrets: int,
    signer: int,
    disclosed: Sequence[tuple[int, bytes]],
) -> None:
    """ProofVerifyWithNym of the draft; `disclosed` counts as the indexes of `prove`.

    Raises:
        ProofRejected: malformed, or it does not prove the statement.
    """
    try:
        total = message_count_of(proof, len(disclosed))
        last_shown = total - secrets
        indexes = [i for i, _ in disclosed]
        if (
            secrets < 1
            or last_shown <= signer
            or any(i >= last_shown or i == signer for i in indexes)
        ):
            raise DisclosureInvalid("the blind and the nym secrets are never disclosed")
        shape = layout(signer, _API, total - signer - 1)
        domain = shape.domain(public_key, combined_header(header, secrets))
        values = shape.message_scalars(message for _, message in disclosed)
        statement = Statement.make(shape, domain, indexes, values)
        points, (*responses, c) = read_points_and_scalars(proof, points=PROOF_POINTS)
        equations = ProofEquations.make(statement, points, responses, c)
        firsts = [msm(*equation) for equation in equations.firsts]
        pseudonym = read_point(nym)
        exponent = nym_exponent(equations.hidden_responses[-secrets:], context_id)
        nym_first = msm([nym_base(context_id), pseudonym], [exponent, -c])
        hashed = [*points, *firsts, pseudonym, nym_first]
        proven = _challenge(statement, hashed, ph, context_id) == c
        if not proven or not pairings_hold([(public_key, points[0], points[1])]):
            raise ProofRejected("proof does not verify")
    except (Malformed, LengthMismatch, DisclosureInvalid):
        raise ProofRejected("proof is malformed") from None
