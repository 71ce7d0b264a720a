"""Differential privacy of released sums: how much noise, and what it is worth.

One released round of values is rho-zCDP when every slot block gets discrete Gaussian noise of
standard deviation sigma = sensitivity / sqrt(2 rho) on the integer grid (Canonne, Kamath, Steinke,
"The Discrete Gaussian for Differential Privacy", 2020, theorem 4). Releases add up: their rhos are
added (Bun, Steinke, "Concentrated Differential Privacy", 2016, lemma 1.7).

Each of n contributors adds its own part, of variance sigma^2 / (n - t + 1): when t - 1 of them
subtract theirs, sigma^2 is left. Sums of discrete Gaussians are not exactly discrete Gaussians; at
the sigmas used here (above 100 steps) the difference is below 2^-1000 (same paper, corollary 12).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cipherward_studies.errors import ContributorsTooFew

MICRO = 1_000_000
DELTA = 1e-6  # for explain: one in a million, below one in the patients of nearly any cohort
# Noise beyond nine sigma has a probability below 2^-61. The least rho (one millionth, shared by 17
# blocks) over the widest round (8 ciphertexts) stays below this beside ten million patients' sums.
TAIL_SIGMAS = 9


@dataclass(frozen=True, slots=True)
class NoiseBlock:
    """Slots start..stop - 1 of a round get noise that leaves `sigma` (in steps) in the sum."""

    start: int
    stop: int
    sigma: float

    def contributor_sigma(self, contributors: int, threshold: int) -> float:
        """Return the standard deviation of one contributor's part.

        Args:
            contributors: all that encrypt, at least `threshold`.
            threshold: t; up to t - 1 of them may know their own parts together.

        Raises:
            ContributorsTooFew: fewer than the threshold: no honest one would be left.
        """
        if not 1 <= threshold <= contributors:
            raise ContributorsTooFew("fewer contributors than decrypt", need=threshold)
        return self.sigma / math.sqrt(contributors - threshold + 1)


def sigma_of(sensitivity: float, rho: float) -> float:
    """Return the noise that makes a block of L2 sensitivity `sensitivity` rho-zCDP."""
    return sensitivity / math.sqrt(2.0 * rho)


def epsilon_of(rho: float, delta: float = DELTA) -> float:
    """Return the least epsilon for which rho-zCDP implies (epsilon, delta)-differential privacy.

    Source: Canonne, Kamath, Steinke 2020, corollary 13: the infimum over alpha > 1 of
    rho alpha + ln(1 / (alpha delta)) / (alpha - 1) + ln(1 - 1 / alpha).
    """
    if rho <= 0.0:
        return 0.0

    def bound(alpha: float) -> float:
        return rho * alpha - math.log(alpha * delta) / (alpha - 1.0) + math.log1p(-1.0 / alpha)

    # The bound falls and then rises: golden section on ln(alpha - 1).
    low, high = math.log(1e-3), math.log(1e9)
    golden = (math.sqrt(5.0) - 1.0) / 2.0
    for _ in range(120):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if bound(1.0 + math.exp(left)) < bound(1.0 + math.exp(right)):
            high = right
        else:
            low = left
    return max(0.0, bound(1.0 + math.exp((low + high) / 2.0)))
