"""Prove and verify one statement: Fiat-Shamir with aborts (see `bounds` for what acceptance says).

The commitments are not sent: a verifier recomputes them from the answers and compares the hash.
Zero knowledge is perfect for published proofs (up to the generator of the masks): an answer is
uniform on the same range for every witness. An aborted try must never leave this module, and no
mask is ever used twice: every try has a stream of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cipherward_threshold import domains
from cipherward_threshold.errors import ProofAborted, ProofRejected
from cipherward_threshold.proofs.bounds import CHALLENGE_BYTES
from cipherward_threshold.proofs.integers import add_rotated, inside, mask, rotatable, rotation
from cipherward_threshold.proofs.packing import packed, unpacked
from cipherward_threshold.proofs.relation import Statement, Witness, exponents
from cipherward_threshold.sampling import SEED_BYTES, Residues, Stream

# A try succeeds with probability at least 0.7, whatever the witness: 128 fail together with
# probability below 2^-220. The bound is there for a broken generator, which would loop for ever.
TRIES_MAX = 128


def prove(statement: Statement, witness: Witness, mask_seed: bytes) -> bytes:
    """Return a challenge and the answers to it.

    Args:
        witness: satisfies the statement; a proof from one that does not is refused by `verify`.
        mask_seed: 32 secret bytes. The masks follow from it and from the whole statement: the same
            masks under two challenges would give the witness away.

    Raises:
        WitnessOutOfRange: the witness is larger than an honest one.
        ProofAborted: every try was aborted; cannot happen.

    Cost: 1.33 tries on average.
    """
    relation = statement.relation
    shape = relation.shape
    witness.checked(shape)
    transcript = statement.transcript()
    name = transcript.digest()
    hidden = [
        rotatable(values, width)
        for values, width in zip((witness.secret, *witness.errors), shape.widths, strict=True)
    ]
    for attempt in range(TRIES_MAX):
        stream = Stream(domains.PROOF_MASKS, mask_seed, name, attempt.to_bytes(1, "little"))
        masks = [mask(stream, width, shape) for width in shape.widths]
        challenge = transcript.challenge(relation.images(masks[0], masks[1:]))
        rotations = exponents(challenge, shape)
        answers = [
            add_rotated(masked, values, rotations)
            for masked, values in zip(masks, hidden, strict=True)
        ]
        if all(inside(*pair) for pair in zip(answers, shape.widths, strict=True)):
            parts = [packed(*pair) for pair in zip(answers, shape.widths, strict=True)]
            return challenge + b"".join(parts)
    raise ProofAborted("no try of a proof stayed within its bounds")


def hedged_seed(fresh: bytes, witness: Witness) -> bytes:
    """Return a seed for masks that stays secret even if `fresh` is predictable.

    Args:
        fresh: 32 bytes of the operating system's generator.
    """
    return Stream(domains.PROOF_MASK_SEED, fresh, witness.octets()).read(SEED_BYTES)


def verify(statement: Statement, proof: bytes) -> None:
    """Accept exactly the proofs of this statement.

    Raises:
        ProofRejected: length, range or challenge is wrong; the text never says which.
    """
    relation = statement.relation
    shape = relation.shape
    if len(proof) != CHALLENGE_BYTES + shape.response_bytes:
        raise ProofRejected("the proof does not hold")
    challenge, responses = proof[:CHALLENGE_BYTES], proof[CHALLENGE_BYTES:]
    answers = unpacked(responses, shape)
    if not all(inside(*pair) for pair in zip(answers, shape.widths, strict=True)):
        raise ProofRejected("the proof does not hold")
    claimed = relation.images(answers[0], answers[1:])
    commitments = relation.ring.subtract(
        claimed, _challenged(statement, exponents(challenge, shape))
    )
    if statement.transcript().challenge(commitments) != challenge:
        raise ProofRejected("the proof does not hold")


def _challenged(statement: Statement, rotations: Sequence[Sequence[int]]) -> Residues:
    """Return sum over l of X^rotations[k][l] image_l for every k: [rows, k, primes, n].

    Residues are below 2^60 and a batch has at most 8: their sum fits a word, reduced once.
    """
    relation = statement.relation
    images, degree = statement.images, relation.shape.degree
    period = np.concatenate([images, relation.ring.negate(images), images], axis=-1)
    rows, _, primes, _ = images.shape
    total = np.zeros((rows, relation.shape.repetitions, primes, degree), dtype=np.uint64)
    for repetition, row in enumerate(rotations):
        for place, exponent in enumerate(row):
            total[:, repetition] += rotation(period[:, place], exponent, degree)
    moduli = np.array(relation.ring.profile.key_primes[:primes], dtype=np.uint64)[:, None]
    return total % moduli
