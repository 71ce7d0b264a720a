"""The arithmetic of stored columns, beside the event loop: octets in, octets out.

A message of a peer that is not what it should be is `PeerWrong`, by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from cipherward_chain.batches import packed
from cipherward_chain.domains import batch_digest
from cipherward_compute.arithmetic.inputs import Encryption
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_threshold.encryption import c1_digest, sum_contributions
from cipherward_threshold.evaluation.evaluator import Evaluator
from cipherward_threshold.proofs.contributions import encrypt_contribution

FLAGS_CIRCUIT = "flags"


class FlagsWrong(PeerWrong):
    """A member's flags are not all 0 or 1."""

    reason = "FLAGS_WRONG"


@lru_cache(maxsize=2)  # of 12 MB each; a worker is seldom asked about more than one key at a time
def evaluator(profile: str, relin_key: bytes) -> Evaluator:
    """Return what computes on ciphertexts under a key, built once in a worker."""
    return Evaluator(profile, relin_key)


def proven_columns(
    encryption: Encryption, columns: Sequence[Sequence[int]]
) -> tuple[tuple[bytes, ...], bytes]:
    """Return up to eight columns encrypted, and their proof; about 0.3 s.

    Packed they are a batch, which `inputs.verify_batch` accepts.

    Raises:
        ThresholdError: a value does not fit the plaintext.
    """
    made = encrypt_contribution(
        encryption.profile, encryption.public_key, columns, context=encryption.context
    )
    return made.ciphertexts, made.proof


def flags_check(
    profile: str, relin_key: bytes, flags: Sequence[bytes], weights: Sequence[int]
) -> bytes:
    """Return the ciphertext of a member's flag check: zero in every slot if all are 0 or 1.

    Args:
        flags: verified columns, at most 64.
        weights: as many, 1 <= weight < 2^32, which nobody could foresee.

    Raises:
        ThresholdError: they are not of this key.
    """
    single = [sum_contributions(profile, [flag]) for flag in flags]
    return evaluator(profile, relin_key).flag_check(single, weights)


def named_checks(profile: str, checks: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the checks of all members packed, and the digest of their keys and c1."""
    return packed(checks), batch_digest([c1_digest(profile, one) for one in checks])


def require_flags(members: Sequence[str], opened: Sequence[int]) -> None:
    """Accept opened checks, those of one member behind those of the other.

    Raises:
        FlagsWrong: one of them is not zero everywhere.
    """
    slots = len(opened) // len(members)
    for place, member in enumerate(members):
        if any(opened[place * slots : (place + 1) * slots]):
            raise FlagsWrong(member, "its flags are not all 0 or 1")
