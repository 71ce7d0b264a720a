"""The sigma protocol inside every BBS proof: knowledge of a signature on partly hidden messages.

A witness w is answered with w^ = nonce + w * c.  Every proof of this package is this relation plus
equations that reuse some of its witnesses under the same challenge c.

Source: draft-irtf-cfrg-bbs-signatures, ProofInit, ProofFinalize and ProofVerifyInit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cipherward_anoncred.curve import ONE, P1, Equation, G1Point, Scalar, msm
from cipherward_anoncred.errors import DisclosureInvalid, LengthMismatch
from cipherward_anoncred.layout import Layout
from cipherward_anoncred.octets import i2osp

_OTHER_NONCES = 5  # r1, r2, e~, r1~, r3~


@dataclass(frozen=True, slots=True)
class Statement:
    """What a BBS proof shows: under `domain`, messages `indexes` have the scalars `values`.

    `fixed` is P1 + Q1 * domain + the disclosed messages' part of B.
    """

    shape: Layout
    domain: Scalar
    indexes: tuple[int, ...]
    values: tuple[Scalar, ...]
    hidden: tuple[int, ...]
    fixed: G1Point

    @staticmethod
    def make(
        shape: Layout, domain: Scalar, indexes: Sequence[int], values: Sequence[Scalar]
    ) -> Statement:
        """
        Raises:
            DisclosureInvalid: `indexes` not ascending within the layout.
            LengthMismatch: not one value per index.
        """
        shown = set(indexes)
        if list(indexes) != sorted(shown) or any(not 0 <= i < shape.count for i in indexes):
            raise DisclosureInvalid("indexes are not ascending within the layout")
        points = [P1, shape.q1, *(shape.messages[i] for i in indexes)]
        return Statement(
            shape=shape,
            domain=domain,
            indexes=tuple(indexes),
            values=tuple(values),
            hidden=tuple(j for j in range(shape.count) if j not in shown),
            fixed=msm(points, [ONE, domain, *values]),
        )


def challenge_octets(statement: Statement) -> bytes:
    """The disclosed messages as the drafts put them first into the challenge."""
    parts = [i2osp(len(statement.indexes))]
    for index, value in zip(statement.indexes, statement.values, strict=True):
        parts += [i2osp(index), value.to_be_bytes()]
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class ProofCommitment:
    """The prover's first move.

    `points` are Abar, Bbar, D; `firsts` are T1, T2; `pairs` are (nonce, witness), in the order of
    the responses: e, -r1, -1/r2, hidden messages.  Single use: a second challenge gives the
    witnesses away.
    """

    points: tuple[G1Point, G1Point, G1Point]
    firsts: tuple[G1Point, G1Point]
    pairs: tuple[tuple[Scalar, Scalar], ...] = field(repr=False)

    @staticmethod
    def nonces_needed(statement: Statement) -> int:
        return _OTHER_NONCES + len(statement.hidden)

    @staticmethod
    def make(
        statement: Statement,
        a: G1Point,
        e: Scalar,
        scalars: Sequence[Scalar],
        nonces: Sequence[Scalar],
    ) -> ProofCommitment:
        """ProofInit for the signature (a, e) on all messages' `scalars`.

        Raises:
            LengthMismatch: another number of scalars or nonces than the statement needs.
        """
        if len(nonces) != ProofCommitment.nonces_needed(statement):
            raise LengthMismatch("nonces")
        shape, hidden = statement.shape, statement.hidden
        b = shape.b_value(statement.domain, scalars)
        r1, r2, e_nonce, r1_nonce, r3_nonce, *hidden_nonces = nonces
        d = b * r2
        abar = a * (r1 * r2)
        bbar = msm([d, abar], [r1, -e])
        t1 = msm([abar, d], [e_nonce, r1_nonce])
        t2 = msm([d, *(shape.messages[j] for j in hidden)], [r3_nonce, *hidden_nonces])
        hidden_pairs = zip(hidden_nonces, (scalars[j] for j in hidden), strict=True)
        return ProofCommitment(
            points=(abar, bbar, d),
            firsts=(t1, t2),
            pairs=((e_nonce, e), (r1_nonce, -r1), (r3_nonce, -r2.inverse()), *hidden_pairs),
        )


def respond(pairs: Sequence[tuple[Scalar, Scalar]], challenge: Scalar) -> list[Scalar]:
    """nonce + witness * challenge, for each pair."""
    return [nonce + witness * challenge for nonce, witness in pairs]


@dataclass(frozen=True, slots=True)
class ProofEquations:
    """The verifier's side: T1 and T2 as combinations of points, and the hidden messages'
    responses."""

    firsts: tuple[Equation, Equation]
    hidden_responses: tuple[Scalar, ...]

    @staticmethod
    def make(
        statement: Statement,
        points: Sequence[G1Point],
        responses: Sequence[Scalar],
        challenge: Scalar,
    ) -> ProofEquations:
        """ProofVerifyInit.

        Args:
            points: Abar, Bbar, D.
            responses: e^, r1^, r3^, then one per hidden message.

        Raises:
            LengthMismatch: another number of responses.
        """
        abar, bbar, d = points
        if len(responses) != 3 + len(statement.hidden):
            raise LengthMismatch("responses")
        e_hat, r1_hat, r3_hat, *hidden_hats = responses
        generators = [statement.shape.messages[j] for j in statement.hidden]
        return ProofEquations(
            firsts=(
                ([bbar, abar, d], [challenge, e_hat, r1_hat]),
                ([statement.fixed, d, *generators], [challenge, r3_hat, *hidden_hats]),
            ),
            hidden_responses=tuple(hidden_hats),
        )
