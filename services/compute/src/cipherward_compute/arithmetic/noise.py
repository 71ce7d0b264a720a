"""Noise for differential privacy: discrete Gaussian, by OpenDP's sampler, on the integers that are
encrypted.

OpenDP is imported in the worker that samples: it takes two seconds, which no exact study should
pay. Its randomness is the operating system's; the sampler is exact (Canonne, Kamath, Steinke, "The
Discrete Gaussian for Differential Privacy", 2020), so no rounding shows what was below it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def noisy(values: Sequence[int], blocks: Sequence[tuple[int, int, float]]) -> list[int]:
    """Return the values with noise added.

    Args:
        values: integers below 2^58 in absolute value.
        blocks: (start, stop, standard deviation in steps) of disjoint ranges of values.
    """
    found = list(values)
    for start, stop, sigma in blocks:
        found[start:stop] = _sampler(sigma)(found[start:stop])
    return found


def _sampler(sigma: float) -> Callable[[list[int]], list[int]]:
    import opendp.prelude

    opendp_: Any = opendp.prelude  # its own types are incomplete
    opendp_.enable_features("contrib")  # all of OpenDP's measurements are behind this switch
    domain = opendp_.vector_domain(opendp_.atom_domain(T="i64"))
    return opendp_.m.make_gaussian(domain, opendp_.l2_distance(T="f64"), sigma)
