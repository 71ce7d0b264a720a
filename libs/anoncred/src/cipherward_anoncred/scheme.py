"""IETF BBS signatures, suite BLS12-381-SHA-256: keys, signatures, and the core of their proofs.

Source: draft-irtf-cfrg-bbs-signatures (vectors of draft-09).  The steps of ProofGen and ProofVerify
are public here as values (`ProofCommitment`, `ProofEquations`), because the pseudonym interface,
issuance and presentations each add equations of their own under one challenge.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from cipherward_anoncred import domains
from cipherward_anoncred.curve import (
    BP2,
    GT,
    NEGATED_BP2,
    POINT_OCTETS,
    SCALAR_OCTETS,
    Draw,
    G1Point,
    Scalar,
    hash_to_scalar,
    hedged_scalars,
    msm,
    random_scalars,
    read_point,
    read_points_and_scalars,
    read_public_key,
    read_scalar,
    serialize,
)
from cipherward_anoncred.errors import (
    KeyMaterialTooShort,
    LengthMismatch,
    Malformed,
    ProofRejected,
    SignatureRejected,
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

SIGNATURE_OCTETS = POINT_OCTETS + SCALAR_OCTETS
KEY_MATERIAL_OCTETS_MIN = 32  # the draft, section 3.4.1
PROOF_POINTS = 3  # Abar, Bbar, D
PROOF_SCALARS_MIN = 4  # e^, r1^, r3^, c


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """An issuer's key pair: `secret` 32 octets, `public` 96 octets."""

    secret: bytes = field(repr=False)
    public: bytes

    @staticmethod
    def from_secret(secret: bytes) -> IssuerKey:
        """The pair of a stored secret.

        Raises:
            Malformed: not a scalar in 1..ORDER-1.
        """
        return IssuerKey(secret, public_key_of(read_scalar(secret)))

    def scalar(self) -> Scalar:
        return read_scalar(self.secret)


def generate_issuer_key(material: bytes) -> IssuerKey:
    """The draft's KeyGen.

    Args:
        material: at least 32 octets of full entropy; whoever has them has the key.

    Raises:
        KeyMaterialTooShort: fewer than 32 octets.
    """
    return IssuerKey.from_secret(keygen(material).to_be_bytes())


def keygen(material: bytes, info: bytes = b"", dst: bytes = domains.KEYGEN) -> Scalar:
    """KeyGen as a scalar, with the draft's optional inputs (`info` up to 65535 octets)."""
    if len(material) < KEY_MATERIAL_OCTETS_MIN:
        raise KeyMaterialTooShort(f"{len(material)} of {KEY_MATERIAL_OCTETS_MIN} octets")
    return hash_to_scalar(material + i2osp(len(info), 2) + info, dst)


def public_key_of(secret: Scalar) -> bytes:
    """SkToPk."""
    return (BP2 * secret).to_compressed_bytes()


def finish_signature(secret: Scalar, b: G1Point, e: Scalar) -> bytes:
    """The signature (A = B * 1/(SK + e), e) in 80 octets."""
    # the mask keeps the inversion, whose time depends on its input, away from SK + e itself
    (mask,) = hedged_scalars(
        1,
        tag=domains.NONCES_SIGNER_MASK,
        rng=secrets.token_bytes,
        secret=secret.to_be_bytes(),
        context=e.to_be_bytes(),
    )
    return serialize([b * (((secret + e) * mask).inverse() * mask), e])


def read_signature(signature: bytes) -> tuple[G1Point, Scalar]:
    """A and e.

    Raises:
        Malformed: another length, or a bad point or scalar.
    """
    if len(signature) != SIGNATURE_OCTETS:
        raise Malformed("signature: another length")
    return read_point(signature[:POINT_OCTETS]), read_scalar(signature[POINT_OCTETS:])


def sign_scalars(
    secret: Scalar, public_key: bytes, shape: Layout, header: bytes, scalars: Sequence[Scalar]
) -> bytes:
    """CoreSign."""
    domain = shape.domain(public_key, header)
    e = hash_to_scalar(serialize([secret, *scalars, domain]), shape.scalar_tag)
    return finish_signature(secret, shape.b_value(domain, scalars), e)


def verify_scalars(
    public_key: bytes, signature: bytes, shape: Layout, header: bytes, scalars: Sequence[Scalar]
) -> None:
    """CoreVerify.

    Raises:
        SignatureRejected: malformed, or not a signature on these messages.
    """
    try:
        a, e = read_signature(signature)
        w = read_public_key(public_key)
        b = shape.b_value(shape.domain(public_key, header), scalars)
    except (Malformed, LengthMismatch):
        raise SignatureRejected("signature is malformed") from None
    if not GT.pairing_check([a, a * e - b], [w, BP2]):
        raise SignatureRejected("signature does not verify")


def sign(key: IssuerKey, header: bytes, messages: Sequence[bytes]) -> bytes:
    """Sign of the draft, section 3.5.1."""
    shape = layout(len(messages))
    scalars = shape.message_scalars(messages)
    return sign_scalars(key.scalar(), key.public, shape, header, scalars)


def verify(public_key: bytes, signature: bytes, header: bytes, messages: Sequence[bytes]) -> None:
    """Verify of the draft, section 3.5.2.

    Raises:
        SignatureRejected: malformed, or not a signature on these messages.
    """
    shape = layout(len(messages))
    verify_scalars(public_key, signature, shape, header, shape.message_scalars(messages))


def proof_challenge(statement: Statement, points: bytes, ph: bytes) -> Scalar:
    """ProofChallengeCalculate; `points` are Abar, Bbar, D, T1, T2."""
    octets = challenge_octets(statement) + points + statement.domain.to_be_bytes()
    return hash_to_scalar(octets + i2osp(len(ph)) + ph, statement.shape.scalar_tag)


def prove_scalars(
    statement: Statement,
    signature: bytes,
    scalars: Sequence[Scalar],
    ph: bytes,
    draw: Draw = random_scalars,
) -> bytes:
    """CoreProofGen: Abar, Bbar, D, responses, challenge."""
    a, e = read_signature(signature)
    nonces = draw(ProofCommitment.nonces_needed(statement))
    first = ProofCommitment.make(statement, a, e, scalars, nonces)
    c = proof_challenge(statement, serialize([*first.points, *first.firsts]), ph)
    return serialize([*first.points, *respond(first.pairs, c), c])


def check_proof(statement: Statement, public_key: bytes, proof: bytes, ph: bytes) -> None:
    """CoreProofVerify.

    Raises:
        ProofRejected: malformed, or it does not prove the statement.
    """
    try:
        points, scalars = read_points_and_scalars(proof, points=PROOF_POINTS)
        if len(scalars) < PROOF_SCALARS_MIN:
            raise Malformed("proof: another length")
        *responses, c = scalars
        equations = ProofEquations.make(statement, points, responses, c)
        firsts = [msm(*equation) for equation in equations.firsts]
        pairing = [(public_key, points[0], points[1])]
        proven = proof_challenge(statement, serialize([*points, *firsts]), ph) == c
        if not proven or not pairings_hold(pairing):
            raise ProofRejected("proof does not verify")
    except (Malformed, LengthMismatch):
        raise ProofRejected("proof is malformed") from None


def message_count_of(proof: bytes, disclosed: int) -> int:
    """How many messages a draft's proof is about: those hidden in it and the disclosed ones.

    For the drafts' own interface; a presentation takes the number from its schema.

    Raises:
        Malformed: no proof has that length.
    """
    extra = len(proof) - PROOF_POINTS * POINT_OCTETS - PROOF_SCALARS_MIN * SCALAR_OCTETS
    if extra < 0 or extra % SCALAR_OCTETS:
        raise Malformed("proof: another length")
    return extra // SCALAR_OCTETS + disclosed


def pairings_hold(items: Sequence[tuple[bytes, G1Point, G1Point]]) -> bool:
    """Whether e(Abar, W) = e(Bbar, BP2) for every (public key, Abar, Bbar).

    All at once: one pairing per public key and one more, each item weighted by a fresh secret
    128-bit scalar, so a false item passes with probability 2^-128 at most.

    Raises:
        Malformed: a bad public key.
    """
    if len(items) == 1:
        ((public_key, abar, bbar),) = items
        return GT.pairing_check([abar, bbar], [read_public_key(public_key), NEGATED_BP2])
    weights = [Scalar(secrets.randbits(128)) for _ in items]
    by_key: dict[bytes, list[int]] = {}
    for index, (public_key, _, _) in enumerate(items):
        by_key.setdefault(public_key, []).append(index)
    left = [
        msm([items[i][1] for i in indexes], [weights[i] for i in indexes])
        for indexes in by_key.values()
    ]
    right = msm([bbar for _, _, bbar in items], weights)
    keys = [read_public_key(public_key) for public_key in by_key]
    return GT.pairing_check([*left, right], [*keys, NEGATED_BP2])
