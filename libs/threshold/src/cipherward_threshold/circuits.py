"""The reviewed table of circuits: what may be done to ciphertexts before they are decrypted.

A circuit bounds the noise of its result, and flooding follows from that bound; an order names a
circuit, and nobody chooses a flooding at run time. Shares of one circuit do not combine with
another's. docs/noise.md derives the figures; a test recomputes and measures every row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from cipherward_threshold import noise
from cipherward_threshold.errors import UnknownCircuit
from cipherward_threshold.parameters import Profile
from cipherward_threshold.parameters import profile as profile_named


@dataclass(frozen=True, slots=True)
class Circuit:
    """One row of the table.

    Attributes:
        number: the circuit's byte in the headers of shares; never reused.
        profile: the only profile that it is for.
        noise_bits: log2 of the noise that flooding must hide.
        flooding_bits: each guardian floods uniformly on [-2^f, 2^f).
        security_bits: statistical security of one share.
        releases_max: ciphertexts that one key may open under this circuit.
        slots: "all" opens every slot; "constant" opens the constant coefficient alone, which times
            n is the sum of all slots; "leading" opens the first `TEST_COEFFICIENTS` coefficients,
            for tests alone. Every share hides the coefficients that are not opened.
    """

    name: str
    number: int
    profile: str
    noise_bits: float
    flooding_bits: int
    security_bits: int
    releases_max: int
    slots: Literal["all", "constant", "leading"]

    @property
    def opened(self) -> int:
        """Coefficients that a decryption shows."""
        match self.slots:
            case "all":
                return profile_named(self.profile).degree
            case "constant":
                return 1
            case "leading":
                return noise.TEST_COEFFICIENTS

    def flooded_security_bits(self, noise_bits: float) -> float:
        """Return the statistical security of one share whose ciphertext's noise is 2^noise_bits.

        A flooded coefficient is within noise / 2^(f + 1) of one that does not depend on the secret
        (statistical distance of shifted uniforms); the distances of all that are opened add up.
        """
        return self.flooding_bits + 1 - noise_bits - math.log2(self.opened)

    def passes(self, residual: int) -> bool:
        """Return whether what is left of an opened coefficient can be floods and this noise."""
        floods = profile_named(self.profile).guardians_max + 1  # one more for all other noise
        return abs(residual) < floods << self.flooding_bits


_ADDITIVE = profile_named("additive-1")
_PRODUCT = profile_named("product-1")
_INPUTS = _PRODUCT.contributors_max
_TEST_FLOODING = 196  # above the secret part of the test's own products, below 2^183
_RELINEARISATION = noise.relinearisation_bits(_PRODUCT, _TEST_FLOODING)  # 2^220.5
# The largest size of which ten guardians together leave ten bits below Q / 2t = 2^301.
_LARGEST_FLOODING = 287

_CIRCUITS = (
    Circuit(
        # 2 * sum of at most 46 proven inputs, re-randomising zeros among them.
        name="sum",
        number=1,
        profile="additive-1",
        noise_bits=noise.sum_secret_bits(_ADDITIVE),
        # The largest size of which ten guardians together stay below Q / 2t = 2^121.
        flooding_bits=117,
        security_bits=50,
        # 50 rounds of 8 ciphertexts and the counts need 416; 2^(50 - 10) is the rule.
        releases_max=1024,
        slots="all",
    ),
    Circuit(
        # Products of two sums each: the sum over all their slots is released.
        name="product-sum",
        number=2,
        profile="product-1",
        # At most 64 products, one a block of slots, are added before the relinearisation.
        noise_bits=noise.together_bits(
            noise.product_secret_bits(_PRODUCT, _INPUTS) + math.log2(noise.COLUMNS_MAX),
            _RELINEARISATION,
        ),
        # Seven bits less than there is room for: a wrong share is noticed but for 2^-17.
        flooding_bits=280,
        security_bits=60,
        releases_max=1 << 16,
        slots="constant",
    ),
    Circuit(
        # Sum over columns of weights below 2^32 times (f * f - f), or m * f - m: zero everywhere.
        name="flags",
        number=3,
        profile="product-1",
        # Each column is one input; at most 64 products are added before the relinearisation.
        noise_bits=noise.together_bits(
            noise.product_secret_bits(_PRODUCT, 1)
            + noise.CHECK_WEIGHT_BITS
            + math.log2(noise.COLUMNS_MAX),
            _RELINEARISATION,
        ),
        flooding_bits=_LARGEST_FLOODING,
        security_bits=53,
        releases_max=4096,
        slots="all",
    ),
    Circuit(
        # Weights, one a column (below 2^20) or one a slot, on at most 64 columns.
        name="linear",
        number=4,
        profile="product-1",
        noise_bits=noise.linear_secret_bits(_PRODUCT),
        flooding_bits=232,
        security_bits=72,
        releases_max=1 << 16,
        slots="all",
    ),
    Circuit(
        # A linear form with one weight below 2^20 a column, times a column of flags.
        name="masked-linear",
        number=5,
        profile="product-1",
        noise_bits=noise.together_bits(
            noise.product_secret_bits(_PRODUCT, _INPUTS)
            + noise.WEIGHT_BITS
            + math.log2(noise.COLUMNS_MAX),
            _RELINEARISATION,
        ),
        flooding_bits=_LARGEST_FLOODING,
        security_bits=53,
        releases_max=4096,
        slots="all",
    ),
    Circuit(
        # 2 * sum of proven inputs under a key that also multiplies.
        name="column-sum",
        number=6,
        profile="product-1",
        noise_bits=noise.column_secret_bits(_PRODUCT),
        flooding_bits=160,
        security_bits=79,
        releases_max=1 << 16,
        slots="all",
    ),
    Circuit(
        # A product of sums of dummy values, to bound the error of a new evaluation key. Its own
        # figures are low: see "What the test may leak" in docs/noise.md.
        name="test",
        number=7,
        profile="product-1",
        noise_bits=noise.product_secret_bits(_PRODUCT, _PRODUCT.members_max),
        flooding_bits=_TEST_FLOODING,
        security_bits=10,
        releases_max=noise.TEST_PRODUCTS,
        slots="leading",
    ),
)
_BY_NAME = {circuit.name: circuit for circuit in _CIRCUITS}


def circuit(name: str, profile: Profile) -> Circuit:
    """Return the circuit of that name, which must be for that profile.

    Raises:
        UnknownCircuit: the table has none, or it is for another profile.
    """
    found = _BY_NAME.get(name)
    if found is None or found.profile != profile.name:
        raise UnknownCircuit("the profile has no circuit of that name", profile=profile.name)
    return found


def circuit_of(number: int, profile: Profile) -> Circuit:
    """Return the circuit of that number, as headers of shares name it.

    Raises:
        UnknownCircuit: the table has none, or it is for another profile.
    """
    for found in _CIRCUITS:
        if (found.number, found.profile) == (number, profile.name):
            return found
    raise UnknownCircuit("the profile has no circuit of that number", profile=profile.name)


def circuit_names() -> tuple[str, ...]:
    """Return every name in the table."""
    return tuple(_BY_NAME)
