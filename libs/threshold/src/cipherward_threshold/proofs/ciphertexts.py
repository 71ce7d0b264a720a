"""Encryption in our own ring code, straight modulo Q, as an instance of the linear relation.

SEAL's plaintext term round(Q m / t) is -r / t modulo Q with r = Q m mod t, centred: linear in r. So
with E = t e0 - r, message and noise in one integer polynomial (below 2^62.5 for t of 58 bits),

    t c0 = (t b) u + E,    c1 = a u + e1    (mod Q, X^n + 1).

floor(Q / t) m in its place would add up to t / 2 of message-dependent noise. An r outside +-t / 2
is only another message and |r| / t more noise, so every accepted ciphertext is one of some message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from cipherward_threshold import domains
from cipherward_threshold.batching import plaintext_coefficients
from cipherward_threshold.keys import public_key_polynomials
from cipherward_threshold.messages import PublicKey
from cipherward_threshold.proofs.bounds import encryption_shape, zero_shape
from cipherward_threshold.proofs.messages import HalfCiphertext
from cipherward_threshold.proofs.relation import Relation, Statement, Witness
from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import Signed, Stream, centred_binomial, ternary


class Content(Enum):
    """What a batch is proven to encrypt."""

    MESSAGES = domains.PROOF_OF_ENCRYPTION
    ZEROS = domains.PROOF_OF_ZERO


@dataclass(frozen=True, slots=True, eq=False)
class BatchForm:
    """How a batch of one content is encrypted and proven under one key.

    Attributes:
        public_key: the message, which the proof is bound to.
        factor: what the first row is multiplied by: t, or 1 where there is no message.
    """

    content: Content
    relation: Relation
    public_key: bytes
    key_id: bytes
    factor: int

    @classmethod
    def of(cls, ring: Ring, public_key: bytes, content: Content, batch: int) -> BatchForm:
        """Return the form for `batch` ciphertexts under a collective key.

        Raises:
            MalformedMessage, WrongProfile, ResidueOutOfRange: not a public key.
        """
        profile = ring.profile
        key = PublicKey.parse(profile, public_key)
        primes = len(profile.data_primes)  # ciphertexts live modulo Q: the special prime goes
        b, a = public_key_polynomials(ring, key)[:, :primes]
        messages = content is Content.MESSAGES
        factor = profile.plain_modulus if messages else 1
        shape = (encryption_shape if messages else zero_shape)(profile, batch)
        scaled = ring.multiply(b[None], ring.constant([factor % q for q in profile.data_primes]))
        relation = Relation(ring, shape, np.concatenate([scaled, a[None]]))
        return cls(content, relation, public_key, key.key_id, factor)

    def encrypted(self, witness: Witness) -> list[HalfCiphertext]:
        """Return the ciphertexts that this witness determines."""
        ring = self.relation.ring
        scaled, c1 = self.relation.images((witness.secret,), [(error,) for error in witness.errors])
        inverses = [pow(self.factor, -1, prime) for prime in ring.profile.data_primes]
        c0 = ring.multiply(scaled, ring.constant(inverses))
        return [HalfCiphertext(self.key_id, np.stack(pair)) for pair in zip(c0, c1, strict=True)]

    def statement(self, halves: Sequence[HalfCiphertext], context: bytes) -> Statement:
        """Return what a proof of these ciphertexts, in this order, is about."""
        ring = self.relation.ring
        profile = ring.profile
        pairs = np.stack([half.polynomials for half in halves], axis=1)  # [2, batch, primes, n]
        factors = ring.constant([self.factor % prime for prime in profile.data_primes])
        images = np.stack([ring.multiply(pairs[0], factors), pairs[1]])
        octets = [half.to_bytes(profile) for half in halves]
        names = (context, self.public_key, *octets)
        return Statement(self.relation, self.content.value, names, images)


def fresh_witness(form: BatchForm, halves: Signed, seed: bytes) -> Witness:
    """Return randomness and noise for messages r, as `half_message` returns them.

    Args:
        halves: [batch, n]; zeros for a batch of zeros.
        seed: 32 fresh secret bytes. Key and message are mixed in: if a machine that was copied or
            set back draws the same seed again, no two messages share their randomness.
    """
    batch, degree = halves.shape
    secrets: list[Signed] = []
    errors: list[Signed] = []
    for place in range(batch):
        message = halves[place].astype("<i8").tobytes()
        parts = (seed, form.key_id, place.to_bytes(1, "little"), message)
        stream = Stream(domains.CONTRIBUTION_RANDOMNESS, *parts)
        secrets.append(ternary(stream, degree)[0])
        errors.append(centred_binomial(stream, 2, degree))
    e0, e1 = np.stack(errors, axis=1)
    return Witness(np.stack(secrets), (form.factor * e0 - halves, e1))


def half_message(ring: Ring, slots: Sequence[int]) -> Signed:
    """Return r = Q m / 2 mod t, centred, [n]: what stands for the plaintext m in E.

    Raises:
        TooManySlots, ValueOutOfRange: as `batching.encrypt_slots`.
    """
    profile = ring.profile
    t = profile.plain_modulus
    scale = profile.data_modulus * pow(2, -1, t) % t
    r = scaled_modulo(plaintext_coefficients(ring, slots), scale, t).astype(np.int64)
    return np.where(r > t // 2, r - t, r)


def scaled_modulo(values: NDArray[np.uint64], scale: int, modulus: int) -> NDArray[np.uint64]:
    """Return values * scale mod modulus, exactly, for scale < modulus < 2^63 (Shoup's method).

    The quotient's estimate floor(value * floor(2^64 scale / modulus) / 2^64) is right or one too
    small. Its 128-bit product is put together from 32-bit halves: no floating point, whose width
    differs between machines.
    """
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    factor = (scale << 64) // modulus
    above, below = values >> half, values & low
    factor_above, factor_below = np.uint64(factor >> 32), np.uint64(factor & 0xFFFFFFFF)
    middle = above * factor_below + ((below * factor_below) >> half)
    carry = below * factor_above + (middle & low)
    quotient = above * factor_above + (middle >> half) + (carry >> half)
    rest = values * np.uint64(scale) - quotient * np.uint64(modulus)  # modulo 2^64: below 2 modulus
    return np.minimum(rest, rest - np.uint64(modulus))  # the difference wraps to huge below modulus
