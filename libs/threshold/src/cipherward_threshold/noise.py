"""What the noise of a ciphertext can be after each kind of computation, as log2. Pure numbers.

Everything starts from what accepted proofs permit (`proofs.bounds`), not from what the honest have,
and from what a key ceremony's test decryption lets pass. docs/noise.md derives each line.

Two figures matter. The *secret part* depends on secrets of the honest: flooding must hide it. The
*whole* must stay, flooding included, below Q / 2t, or the result is wrong; a part that malicious
members know may be far larger than the secret part and need not be hidden from them.
"""

from __future__ import annotations

import math

from cipherward_threshold.parameters import Profile
from cipherward_threshold.proofs.bounds import (
    BATCH_MAX,
    TAIL_BITS,
    encryption_shape,
    key_share_shape,
    permitted_noise_bits,
)

WEIGHT_BITS = 20  # integer weights of a linear form are below 2^20: six decimal digits
COLUMNS_MAX = 64  # columns of one linear form
CHECK_WEIGHT_BITS = 32  # random weights of a check over flags: one in 2^32 wrong ones passes
TEST_PRODUCTS = 4  # products that one test of an evaluation key opens
TEST_COEFFICIENTS = 16  # leading coefficients that each of them shows
_CONVERSION_FACTOR = 2  # SEAL's base conversion leaves residues below Q, not below Q / 2


def sum_secret_bits(profile: Profile) -> float:
    """Return the secret part of 2 * sum of proven inputs: its *expected* size, for additive sums.

    The distance of two uniform distributions, one shifted, is the shift over the width: it is
    linear in the shift, so its mean over the honest secrets counts, not the largest coefficient.
    `permitted_noise_bits` gives the latter, a tail of a normal distribution's bound; this undoes
    the tail and puts the mean, sqrt(2 / pi) of the deviation, in its place.
    """
    permitted = permitted_noise_bits(
        profile, BATCH_MAX, guardians=profile.members_max, contributors=profile.contributors_max
    )
    return permitted.secret_part_bits - math.log2(_tail(profile)) + math.log2(2 / math.pi) / 2


def column_secret_bits(profile: Profile) -> float:
    """Return the secret part of 2 * sum of proven inputs, whatever the secrets are."""
    return permitted_noise_bits(
        profile, BATCH_MAX, guardians=profile.members_max, contributors=profile.contributors_max
    ).secret_part_worst_bits


def linear_secret_bits(profile: Profile) -> float:
    """Return the secret part of a linear form with slot weights: n coefficients below t / 2 each.

    Integer weights below 2^20 make far less.
    """
    slot_weight_bits = math.log2(profile.degree * profile.plain_modulus / 2)
    return column_secret_bits(profile) + math.log2(COLUMNS_MAX) + slot_weight_bits


def product_secret_bits(profile: Profile, inputs: int) -> float:
    """Return the secret part of a product of two ciphertexts, each 2 * sum of proven inputs.

    Scaling the product down by Q / t leaves t (k_1 v_2 + k_2 v_1), v the noises and k what
    c0 + c1 s is in multiples of Q. The secret part is largest where a malicious member's share s_a
    of the key meets a malicious input's e1': c1 s_a / Q times e1' s_h, and c1 s_h / Q times
    e1' s_a. Coefficients of c1 are uniform, so its product with s_a is bounded by its spectrum.

    Args:
        inputs: proven inputs in each of the two sums.
    """
    n, members = profile.degree, profile.members_max
    encryption, dealer = encryption_shape(profile, BATCH_MAX), key_share_shape(profile)
    error = encryption.permitted(encryption.widths[2]) + 4 * encryption.permitted(encryption.secret)
    share = dealer.permitted(dealer.secret)
    spectrum = _CONVERSION_FACTOR * math.sqrt(n / 12 * 2 * math.log(2) * (TAIL_BITS + math.log2(n)))
    multiples = spectrum * n * members * share  # spectral norm of k
    deviation = multiples * math.sqrt(n) * inputs * error * math.sqrt(members)
    return math.log2(4 * profile.plain_modulus * _tail(profile) * deviation)  # two of each kind


def product_whole_bits(profile: Profile, inputs: int) -> float:
    """Return a bound on all noise of such a product, before relinearisation."""
    n = profile.degree
    encryption, dealer = encryption_shape(profile, BATCH_MAX), key_share_shape(profile)
    error = encryption.permitted(encryption.widths[2]) + 21 * encryption.permitted(
        encryption.secret
    )
    weight = n * profile.members_max * dealer.permitted(dealer.secret)  # |s|_1
    multiples = _CONVERSION_FACTOR * (1 + weight)
    return math.log2(2 * profile.plain_modulus * n * multiples) + math.log2(inputs * error * weight)


def passing_bits(profile: Profile, flooding_bits: int) -> float:
    """Return the residual noise up to which an opening passes: a whole set's floods, one more."""
    return flooding_bits + math.log2(profile.guardians_max + 1)


def relinearisation_bits(profile: Profile, flooding_bits: int) -> float:
    """Return what a tested evaluation key adds to any product, but for a chance of 2^-40.

    The key's error is linear in the digits, which are uniform below 2^60. With deviation d of one
    coefficient, one test passes with probability at most 2 B / d whatever else is added (a sum of
    independent uniforms has density at most 1 / d), four with at most (2 B / d)^4 = 2^-40. The
    worst digits make at most sqrt(12 n L) times the deviation (Cauchy and Schwarz).
    """
    passes = passing_bits(profile, flooding_bits) + 1 + TAIL_BITS / TEST_PRODUCTS
    digits = profile.degree * len(profile.data_primes)
    return passes + math.log2(12 * digits) / 2


def together_bits(*bits: float) -> float:
    """Return log2 of the sum of numbers given as log2."""
    return math.log2(sum(2.0**one for one in bits))


def _tail(profile: Profile) -> float:
    """Return by how many deviations one of n coefficients is exceeded with chance 2^-40."""
    return math.sqrt(2 * math.log(2) * (TAIL_BITS + math.log2(4 * profile.degree)))
