"""The one kind of statement that is proven: image_k = factor_k * secret + error_k, all k at once.

Encryption, encryption of zero and public-key share differ in factors, bounds and in what is hashed
beside them; proving and verifying know this form only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cipherward_threshold import domains
from cipherward_threshold.errors import WitnessOutOfRange
from cipherward_threshold.proofs.bounds import CHALLENGE_BYTES, Shape
from cipherward_threshold.proofs.integers import Limbs, residues
from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import Residues, Signed, framed


@dataclass(frozen=True, slots=True, eq=False)
class Witness:
    """What a prover knows: one secret and one error per row, for each of a batch. SECRET.

    Attributes:
        secret: [batch, n].
        errors: one [batch, n] per row.
    """

    secret: Signed = field(repr=False)
    errors: tuple[Signed, ...] = field(repr=False)

    def checked(self, shape: Shape) -> Witness:
        """Return this witness, or raise `WitnessOutOfRange` if it exceeds an honest one's bounds.

        Zero knowledge holds within the bounds only: a wider witness shows in its answers.
        """
        for values, width in zip((self.secret, *self.errors), shape.widths, strict=True):
            if values.shape != (shape.batch, shape.degree):
                raise WitnessOutOfRange("a witness has another shape than its statement")
            if int(np.abs(values).max()) * shape.batch > width.bound:
                raise WitnessOutOfRange("a witness is larger than an honest one")
        return self

    def octets(self) -> bytes:
        """Return everything secret, for hedging the masks."""
        return b"".join(values.astype("<i8").tobytes() for values in (self.secret, *self.errors))


@dataclass(frozen=True, slots=True, eq=False)
class Relation:
    """The public linear map of a statement, over the first primes of a ring.

    Attributes:
        factors: [rows, primes, n], NTT form.
    """

    ring: Ring
    shape: Shape
    factors: Residues

    @property
    def primes(self) -> int:
        """How many of the key's primes the statement is modulo."""
        return self.factors.shape[1]

    def images(self, secret: Limbs, errors: Sequence[Limbs]) -> Residues:
        """Return factor * secret + error for each row: [rows, k, primes, n], coefficient form.

        Cost: 1 + rows NTTs and rows products for each of the k polynomials.
        """
        ring = self.ring
        transformed = ring.ntt(residues(ring, secret, self.primes))
        products = ring.intt(
            np.concatenate([ring.multiply(transformed, factor) for factor in self.factors])
        )
        images = products.reshape(len(self.factors), *transformed.shape)
        for row, error in enumerate(errors):
            images[row] = ring.add(images[row], residues(ring, error, self.primes))
        return images


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """What one proof is about: a relation, the images that satisfy it, and their names.

    Attributes:
        tag: one of `domains`: the kind of statement.
        names: everything public that the proof is bound to: context, sender, key and ciphertexts
            in their wire form; each is hashed behind its length.
        images: [rows, batch, primes, n], coefficient form; they follow from `names`.
    """

    relation: Relation
    tag: bytes
    names: tuple[bytes, ...]
    images: Residues

    def transcript(self) -> Transcript:
        """Return the hash of everything but the commitments."""
        shape, profile = self.relation.shape, self.relation.ring.profile
        numbers = [shape.degree, shape.repetitions, shape.batch, profile.plain_modulus]
        for width in shape.widths:
            numbers += [width.bound, width.bits]
        numbers += profile.key_primes[: self.relation.primes]
        parameters = framed(*(str(number).encode() for number in numbers))
        return Transcript(framed(self.tag, profile.name.encode(), parameters, *self.names))


class Transcript:
    """The random oracle of one statement: SHAKE-256 over length-prefixed parts."""

    __slots__ = ("_root",)

    def __init__(self, parts: bytes) -> None:
        self._root = hashlib.shake_256(parts)

    def digest(self) -> bytes:
        """Return 32 bytes that name the statement."""
        return self._root.digest(CHALLENGE_BYTES)

    def challenge(self, commitments: Residues) -> bytes:
        """Return the challenge that the statement and these commitments determine."""
        oracle = self._root.copy()
        oracle.update(commitments.nbytes.to_bytes(8, "little"))
        oracle.update(np.ascontiguousarray(commitments, dtype="<u8").data)
        return oracle.digest(CHALLENGE_BYTES)


def exponents(challenge: bytes, shape: Shape) -> list[list[int]]:
    """Return j in 0..2n - 1 for every repetition and ciphertext: the challenge is X^j there."""
    count = shape.repetitions * shape.batch
    octets = hashlib.shake_256(framed(domains.PROOF_CHALLENGE, challenge)).digest(4 * count)
    drawn = np.frombuffer(octets, dtype="<u4") & np.uint32(2 * shape.degree - 1)  # 2^k: no bias
    return drawn.reshape(shape.repetitions, shape.batch).tolist()
