"""The arithmetic of contributions, beside the event loop: octets in, octets out.

A batch is packed (`cipherward_chain.batches`): the ciphertexts, then their proof. A message of a
peer that is not what it should be is `ContributionRefused`, by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cipherward_chain.batches import BatchMalformed, ciphertext_places, packed, unpacked
from cipherward_chain.domains import batch_digest
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_threshold.encryption import add_ciphertexts, c1_digest, sum_contributions
from cipherward_threshold.errors import ThresholdError
from cipherward_threshold.proofs.contributions import (
    encrypt_contribution,
    encrypt_zeros,
    verify_contribution,
    verify_zeros,
)


class BatchesDiffer(ValueError):
    """Batches that are to be added have other numbers of ciphertexts, or one is no batch."""


class ContributionRefused(PeerWrong):
    """A member's contribution is cut off, foreign, or not proven to be encrypted right."""

    reason = "CONTRIBUTION_REFUSED"


@dataclass(frozen=True, slots=True)
class Encryption:
    """What is encrypted with. context: what the proof is bound to."""

    profile: str
    public_key: bytes = field(repr=False)
    context: bytes


@dataclass(frozen=True, slots=True)
class Expected:
    """What a member's batch must be. zeros: it re-randomises a sum and may say nothing."""

    member: str
    encryption: Encryption
    ciphertexts: int
    zeros: bool


def proven_batch(encryption: Encryption, batches: Sequence[Sequence[int]]) -> bytes:
    """Return slots encrypted under the collective key with their proof, packed; about 0.1 s.

    Raises:
        ThresholdError: a value does not fit the plaintext.
    """
    made = encrypt_contribution(
        encryption.profile, encryption.public_key, batches, context=encryption.context
    )
    return packed(made.ciphertexts, (made.proof,))


def proven_zeros(encryption: Encryption, count: int) -> bytes:
    """Return so many encryptions of zero with their proof, packed; about 0.1 s."""
    made = encrypt_zeros(
        encryption.profile, encryption.public_key, count, context=encryption.context
    )
    return packed(made.ciphertexts, (made.proof,))


def verify_batch(expected: Expected, batch: bytes) -> None:
    """Accept a member's batch if its proof holds for exactly what is expected; about 0.1 s.

    Raises:
        ContributionRefused: it does not, or the batch is none.
    """
    member, encryption = expected.member, expected.encryption
    verify = verify_zeros if expected.zeros else verify_contribution
    try:
        ciphertexts, others = unpacked(batch)
        if len(ciphertexts) != expected.ciphertexts or len(others) != 1:
            raise ContributionRefused(member, "its contribution has another number of ciphertexts")
        verify(
            encryption.profile,
            encryption.public_key,
            ciphertexts,
            others[0],
            context=encryption.context,
        )
    except (BatchMalformed, ThresholdError) as error:
        raise ContributionRefused(member, f"its contribution is refused: {error}") from None


def sums_of(profile: str, batches: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the packed sums of verified contributions, and the digest of their keys and c1.

    Twice the sums, since each contribution has half its message. About 8 ms a ciphertext for four.

    Raises:
        BatchesDiffer: this member's own batch is not like the verified ones.
        ThresholdError: together they are no sum.
    """
    return named(profile, _sums(profile, batches))


def refreshed(profile: str, total: bytes, zeros: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the packed sums with verified encryptions of zero added, as `sums_of`."""
    before, added = unpacked(total)[0], _sums(profile, zeros)
    if len(before) != len(added):
        raise BatchesDiffer("there are not as many zeros as sums")
    pairs = zip(before, added, strict=True)
    return named(profile, [add_ciphertexts(profile, pair) for pair in pairs])


def _sums(profile: str, batches: Sequence[bytes]) -> list[bytes]:
    try:
        rows = [ciphertext_places(batch) for batch in batches]
    except BatchMalformed as error:
        raise BatchesDiffer(str(error)) from None
    if len({len(row) for row in rows}) != 1:
        raise BatchesDiffer("a batch has another number of ciphertexts")
    return [
        sum_contributions(
            profile, [batch[row[number]] for batch, row in zip(batches, rows, strict=True)]
        )
        for number in range(len(rows[0]))
    ]


def named(profile: str, sums: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return sums packed, and the digest of their keys and c1; about 1 ms each."""
    return packed(sums), batch_digest([c1_digest(profile, one) for one in sums])
