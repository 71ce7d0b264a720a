"""The test of a new evaluation key: products of dummy values, opened before the key is used.

A member whose messages for the relinearisation key are not what the protocol says can make its
error E as large as it likes, and a large E would carry the joint secret into every product. The
error of a product is linear in E with digits that are uniform and that nobody chooses, so four
random products whose residual noise is small, in sixteen coefficients each, bound it for all
others, except with probability 2^-40. docs/noise.md, "The test of an evaluation key", has the
argument and what the test may leak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cipherward_threshold import domains
from cipherward_threshold.batching import plaintext_coefficients
from cipherward_threshold.circuits import circuit
from cipherward_threshold.decryption import combined_phase, leading_coefficients
from cipherward_threshold.errors import BadForm, EvaluationKeyRejected
from cipherward_threshold.evaluation.evaluator import Evaluator
from cipherward_threshold.noise import TEST_PRODUCTS
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import Stream

CHECK_BATCHES = 2 * TEST_PRODUCTS  # ciphertexts that each member encrypts, in one proven batch
CHECK_CIRCUIT = "test"
_DUMMIES = 64  # values a ciphertext; what the slots hold has no part in the noise
_DUMMY_BYTES = 2  # below 2^16: products of sixteen members' sums stay below 2^40


def dummy_values(context: bytes, member: bytes) -> tuple[tuple[int, ...], ...]:
    """Return the public dummy values of a member: `CHECK_BATCHES` lists of slots to encrypt.

    Args:
        context: names the ceremony.
        member: the member's id.
    """
    stream = Stream(domains.TEST_VALUES, context, member)
    return tuple(
        tuple(
            int.from_bytes(octets[at : at + _DUMMY_BYTES], "little")
            for at in range(0, len(octets), _DUMMY_BYTES)
        )
        for octets in (stream.read(_DUMMIES * _DUMMY_BYTES) for _ in range(CHECK_BATCHES))
    )


def dummy_products(profile: str, relin_key: bytes, sums: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the `TEST_PRODUCTS` ciphertexts that are opened under the circuit "test".

    Args:
        sums: `CHECK_BATCHES` ciphertexts: over all members, `encryption.sum_contributions` of the
            first contributions, of the second ones, and so on; all committed before any was shown.

    Raises:
        BadForm: another number of sums.
        WrongKey, TransparentCiphertext, MalformedMessage, WrongProfile, ResidueOutOfRange: some
            bytes are not what they should be.
    """
    if len(sums) != CHECK_BATCHES:
        raise BadForm("a test takes another number of sums", have=len(sums), need=CHECK_BATCHES)
    evaluator = Evaluator(profile, relin_key)
    return tuple(evaluator.multiply(sums[at], sums[at + 1]) for at in range(0, CHECK_BATCHES, 2))


def check_key(
    profile: str,
    products: Sequence[bytes],
    shares: Sequence[Sequence[bytes]],
    *,
    context: bytes,
    members: Sequence[bytes],
) -> float:
    """Check what the test opened: the dummies' own products, with little noise beside the floods.

    Args:
        products: from `dummy_products`.
        shares: for each product, the `decryption.partial_decryption` of a whole set under the
            circuit `CHECK_CIRCUIT`.
        context, members: as `dummy_values`, all members.

    Returns:
        log2 of the largest residual noise, floods included.

    Raises:
        EvaluationKeyRejected: another value, or more noise: destroy the key and begin again. A
            member that encrypted other dummies shows here as well, and so does a wrong deal.
        BadForm: not one list of shares per product.
        UnknownCircuit, TooFewShares, DuplicateShare, MixedShares, WrongCiphertext, WrongCircuit,
            WrongKey: see `decryption.combine`.
        MalformedMessage, WrongProfile, ResidueOutOfRange: some bytes are not what they should be.
    """
    ring = profile_ring(profile)
    row = circuit(CHECK_CIRCUIT, ring.profile)
    if len(products) != TEST_PRODUCTS or len(shares) != TEST_PRODUCTS:
        raise BadForm("a test opens another number of products", need=TEST_PRODUCTS)
    largest = 0
    for product, answers, slots in zip(
        products, shares, _expected_slots(context, members), strict=True
    ):
        phase = combined_phase(ring, product, answers, row)
        right = plaintext_coefficients(ring, slots)
        for at, (message, residual) in enumerate(leading_coefficients(ring, phase, row.opened)):
            if not row.passes(residual):
                raise EvaluationKeyRejected("the key adds more noise than a good one")
            if message != int(right[at]):
                raise EvaluationKeyRejected("the key does not multiply")
            largest = max(largest, abs(residual))
    return math.log2(1 + largest)


def _expected_slots(context: bytes, members: Sequence[bytes]) -> list[list[int]]:
    """Return the slots of each product of the members' sums."""
    rows = [dummy_values(context, member) for member in members]
    sums = [
        [sum(slots) for slots in zip(*(row[batch] for row in rows), strict=True)]
        for batch in range(CHECK_BATCHES)
    ]
    return [
        [x * y for x, y in zip(sums[at], sums[at + 1], strict=True)]
        for at in range(0, CHECK_BATCHES, 2)
    ]
