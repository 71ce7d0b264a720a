"""Blind signatures: a holder commits to messages that the signer signs without seeing them.

Source: draft-irtf-cfrg-bbs-blind-signatures (vectors of June 2026).  Messages are ordered: the
signer's, the holder's blind, the committed ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from cipherward_anoncred import domains
from cipherward_anoncred.curve import (
    IDENTITY,
    P1,
    Draw,
    G1Point,
    Scalar,
    hash_to_scalar,
    msm,
    random_scalars,
    read_points_and_scalars,
    serialize,
)
from cipherward_anoncred.errors import CommitmentRejected, Malformed
from cipherward_anoncred.layout import Layout, create_generators, domain_point, layout
from cipherward_anoncred.relation import respond
from cipherward_anoncred.scheme import IssuerKey, finish_signature, verify_scalars

_API = domains.BLIND_API
_COMMITMENT_SCALARS_MIN = 2  # the blind's response and the challenge


def blind_generators(count: int, api_id: bytes) -> tuple[G1Point, ...]:
    """The generators of the blind part: the holder's blind, then `count` committed messages."""
    return create_generators(count + 1, domains.BLIND_PREFIX + api_id)


def _challenge(
    commitment: G1Point, first: G1Point, generators: Sequence[G1Point], api_id: bytes
) -> Scalar:
    octets = serialize([len(generators) - 1, *generators, commitment, first])
    return hash_to_scalar(octets, api_id + domains.HASH_TO_SCALAR)


def commit_scalars(
    scalars: Sequence[Scalar], api_id: bytes, draw: Draw = random_scalars
) -> tuple[bytes, Scalar]:
    """CoreCommit: the commitment with its proof, and the blind that opens it."""
    generators = blind_generators(len(scalars), api_id)
    blind, *nonces = draw(len(scalars) + 2)
    witnesses = [blind, *scalars]
    commitment = msm(generators, witnesses)
    c = _challenge(commitment, msm(generators, nonces), generators, api_id)
    responses = respond(list(zip(nonces, witnesses, strict=True)), c)
    return serialize([commitment, *responses, c]), blind


def check_commitment(octets: bytes, api_id: bytes) -> tuple[G1Point, int]:
    """The commitment and how many messages it holds.

    Raises:
        CommitmentRejected: malformed, or its proof does not verify.
    """
    try:
        (commitment,), scalars = read_points_and_scalars(octets, points=1)
    except Malformed:
        raise CommitmentRejected("commitment is malformed") from None
    if len(scalars) < _COMMITMENT_SCALARS_MIN:
        raise CommitmentRejected("commitment is malformed")
    *responses, c = scalars
    generators = blind_generators(len(responses) - 1, api_id)
    first = msm([*generators, commitment], [*responses, -c])
    if _challenge(commitment, first, generators, api_id) != c:
        raise CommitmentRejected("commitment proof does not verify")
    return commitment, len(responses) - 1


def finalize_signature(key: IssuerKey, b: G1Point, shape: Layout, header: bytes) -> bytes:
    """FinalizeBlindSign: sign `b`, which holds everything but the domain's part.

    The drafts' text hashes (SK, B, domain) to e, their vectors (SK, B).  This follows the vectors:
    B holds the domain already, and no verifier sees how e was made.
    """
    secret = key.scalar()
    whole = b + domain_point(shape, key.public, header)
    return finish_signature(
        secret, whole, hash_to_scalar(serialize([secret, whole]), shape.scalar_tag)
    )


def signer_part(shape: Layout, messages: Sequence[bytes]) -> G1Point:
    """P1 and the signer's messages' part of B."""
    if not messages:
        return P1
    return P1 + msm(shape.messages[: len(messages)], shape.message_scalars(messages))


def commit(messages: Sequence[bytes], draw: Draw = random_scalars) -> tuple[bytes, Scalar]:
    """Commit of the draft."""
    return commit_scalars(layout(0, _API).message_scalars(messages), _API, draw)


def sign(key: IssuerKey, commitment: bytes, header: bytes, messages: Sequence[bytes]) -> bytes:
    """BlindSign of the draft; an empty `commitment` means that nothing is committed.

    Raises:
        CommitmentRejected: malformed, or its proof does not verify.
    """
    point, committed = check_commitment(commitment, _API) if commitment else (IDENTITY, 0)
    shape = layout(len(messages), _API, committed)
    return finalize_signature(key, signer_part(shape, messages) + point, shape, header)


def verify(
    public_key: bytes,
    signature: bytes,
    header: bytes,
    messages: Sequence[bytes],
    committed: Sequence[bytes],
    blind: Scalar,
) -> None:
    """VerifyBlindSign of the draft.

    Raises:
        SignatureRejected: malformed, or not a signature on these messages.
    """
    shape = layout(len(messages), _API, len(committed))
    scalars = [*shape.message_scalars(messages), blind, *shape.message_scalars(committed)]
    verify_scalars(public_key, signature, shape, header, scalars)
