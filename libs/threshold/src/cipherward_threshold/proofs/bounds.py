"""Sizes of the proofs of correct encryption, and the noise that an accepted one permits.

Pure numbers: no ring, no SEAL. A proof masks every integer polynomial of the witness with
`repetitions` uniform ones (Fiat-Shamir with aborts, Lyubashevsky, ASIACRYPT 2009; monomial
challenges X^j, j in 0..2n - 1, and one set of masks for a batch: Baum et al., "TopGear", SAC 2019).
From two accepted answers the difference of two monomials is divided out. Twice its inverse has at
most n coefficients, all -1 or 1 (Benhamouda et al., ASIACRYPT 2014), so what acceptance says is:
*twice* each statement holds with a witness of at most 2n * 2^bits a coefficient, but for a chance
of (2n)^-repetitions for each hash that a forger computes. Whoever decrypts therefore works on twice
the ciphertext, and flooding follows from the bounds given here, not from what the honest have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cipherward_threshold.parameters import CBD_BOUND, Profile

BATCH_MAX = 8  # ciphertexts that share the masks of one proof; each more costs noise, not bytes
SOUNDNESS_BITS = 128  # each repetition gives log2(2n): a challenge is one of 2n monomials
CHALLENGE_BYTES = 32
# A mask is this many times n * repetitions wider than what it hides: each polynomial of a response
# then stays inside with probability at least exp(-1/9), all three with 0.71.
WIDENING = 9
TAIL_BITS = 40  # probabilistic bounds fail with probability at most 2^-40
_CBD_DEVIATION = math.sqrt(CBD_BOUND / 2)


@dataclass(frozen=True, slots=True)
class Width:
    """One integer polynomial of a witness: what hides it and how far it may reach.

    Attributes:
        bound: largest coefficient of the honest sum over the batch that a response carries.
        bits: its mask is uniform on [-2^bits, 2^bits); an answer stays `bound` inside of that.
    """

    bound: int
    bits: int

    @property
    def low(self) -> int:
        """Smallest coefficient of an accepted response."""
        return -(1 << self.bits) + self.bound

    @property
    def high(self) -> int:
        """First integer above an accepted response."""
        return (1 << self.bits) - self.bound


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything that fixes the form of one proof; a verifier takes it from the study's profile.

    The statement is, for each of `batch` images and every row: image = factor * secret + error.
    """

    degree: int
    repetitions: int
    batch: int
    secret: Width
    errors: tuple[Width, ...]

    @property
    def widths(self) -> tuple[Width, ...]:
        """The secret's width and the errors', in the order of a response."""
        return (self.secret, *self.errors)

    @property
    def acceptance(self) -> float:
        """Probability that one try is no abort: the same for every witness within the bounds."""
        kept = sum(math.log1p(-width.bound / 2**width.bits) for width in self.widths)
        return math.exp(self.degree * self.repetitions * kept)

    @property
    def response_bytes(self) -> int:
        """Length of the packed responses; the challenge comes in front of them."""
        coefficients = self.degree * self.repetitions  # a multiple of 8: each part is whole bytes
        return sum(coefficients * (width.bits + 1) // 8 for width in self.widths)

    def permitted(self, width: Width) -> int:
        """Return the largest coefficient that acceptance permits in *twice* the statement."""
        return 2 * self.degree << width.bits


def encryption_shape(profile: Profile, batch: int) -> Shape:
    """Return the shape for t c0 = (t b) u + E, c1 = a u + e1, with E = t e0 - r.

    |u| <= 1, |e| <= 21 and |r| <= t / 2: r is the message, so one bound covers noise and message.
    """
    t = profile.plain_modulus
    return _shape(profile, batch, (CBD_BOUND * t + t // 2, CBD_BOUND))


def zero_shape(profile: Profile, batch: int) -> Shape:
    """Return the shape for c0 = b u + e0, c1 = a u + e1: encryptions of nothing but zeros."""
    return _shape(profile, batch, (CBD_BOUND, CBD_BOUND))


def key_share_shape(profile: Profile) -> Shape:
    """Return the shape for -b = a s + e modulo QP: one member's share of the public key."""
    return _shape(profile, 1, (CBD_BOUND,))


def _shape(profile: Profile, batch: int, error_bounds: tuple[int, ...]) -> Shape:
    challenge_bits = (2 * profile.degree).bit_length() - 1
    repetitions = -(-SOUNDNESS_BITS // challenge_bits)

    def width(bound: int) -> Width:
        return Width(bound, (WIDENING * bound * profile.degree * repetitions - 1).bit_length())

    return Shape(
        degree=profile.degree,
        repetitions=repetitions,
        batch=batch,
        secret=width(batch),
        errors=tuple(width(batch * bound) for bound in error_bounds),
    )


@dataclass(frozen=True, slots=True)
class PermittedNoise:
    """Noise of 2 * sum of accepted contributions, as log2 of the largest coefficient.

    Attributes:
        secret_part_bits: the part that depends on secrets of the honest, which flooding must hide;
            exceeded with probability at most 2^-40 over those secrets (Hoeffding: an adversary
            chooses its part without knowing them, or it has broken RLWE).
        secret_part_worst_bits: the same part, whatever the secrets are (sum of absolute values).
        whole_bits: everything between the phase and the encoded message, whatever the secrets are.
            Where a member's key share and a contribution both reach beyond what the honest have,
            the product of the two is not bounded: such a pair can spoil a result, not read one.
    """

    secret_part_bits: float
    secret_part_worst_bits: float
    whole_bits: float


def permitted_noise_bits(
    profile: Profile, batch: int, *, guardians: int, contributors: int
) -> PermittedNoise:
    """Return what the proofs permit in twice a sum, over every mix of honest and not.

    For an honest dealer (s, e_pk) and a malicious contributor the phase holds e_pk u' + e1' s with
    u', e1' of the permitted size. For an honest contributor (u, e1) and a malicious dealer it holds
    e_pk' u + s' e1 with e_pk', s' of the size that its key-share proof permits.

    Args:
        batch: 1..8, ciphertexts of one proof.
        guardians: dealers whose secrets add up to the joint one (all members of the ceremony, not
            only the online set), at least 1.
        contributors: contributions in the sum, at least 1, re-randomising zeros included; all of
            them may be malicious and aim at the same coefficient.
    """
    encryption, dealer = encryption_shape(profile, batch), key_share_shape(profile)
    n, t = profile.degree, profile.plain_modulus
    u, wide, e1 = (float(encryption.permitted(width)) for width in encryption.widths)
    s, e = (float(dealer.permitted(width)) for width in dealer.widths)
    tail = math.sqrt(2 * math.log(2) * (TAIL_BITS + math.log2(4 * n))) * math.sqrt(n)

    def secret_part(on_key: float, on_contributor: float, *, independent: bool) -> float:
        """Worst sum of both kinds of term, over the number of honest of either side."""
        power = 0.5 if independent else 1.0  # independent secrets add up as a random walk
        return max(
            malicious * honest_dealers**power * on_key
            + (contributors - malicious) ** power * (guardians - honest_dealers) * on_contributor
            for malicious in range(contributors + 1)
            for honest_dealers in range(guardians + 1)
        )

    likely = secret_part(
        tail * (_CBD_DEVIATION * u + e1), tail * (e + _CBD_DEVIATION * s), independent=True
    )
    on_key, on_contributor = n * (CBD_BOUND * u + e1), n * (e + CBD_BOUND * s)
    worst = secret_part(on_key, on_contributor, independent=False)
    whole = contributors * (guardians * max(on_key, on_contributor) + wide / t + 1)
    return PermittedNoise(math.log2(likely), math.log2(worst), math.log2(whole))
