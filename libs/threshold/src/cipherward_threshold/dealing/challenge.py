"""The challenge: a sparse polynomial that nobody chooses."""

from __future__ import annotations

import numpy as np

from cipherward_threshold import domains
from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import Residues, Stream

# C(8192, 64) * 2^64 > 2^600 polynomials; a product with one grows at most 64-fold.
WEIGHT = 64


def challenge_polynomial(ring: Ring, challenge: bytes) -> Residues:
    """Return rho as [3, n], NTT form: 64 coefficients of plus or minus one, the others zero.

    Args:
        challenge: 32 bytes, a digest of everything that the dealers have committed to.
    """
    profile = ring.profile
    stream = Stream(domains.DEAL_CHALLENGE, challenge, profile.name.encode())
    coefficients = np.zeros((1, profile.degree), dtype=np.int64)
    placed = 0
    while placed < WEIGHT:
        for word in stream.words(2 * WEIGHT).tolist():
            place = word & (profile.degree - 1)  # the degree is a power of two
            if placed < WEIGHT and not coefficients[0, place]:
                coefficients[0, place] = 1 if word >> 63 else -1
                placed += 1
    return ring.ntt(ring.from_signed(coefficients, len(profile.data_primes)))[0]
