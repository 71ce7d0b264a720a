"""Where a round of a Cox regression takes its sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cipherward_chain.canonical import encode
from cipherward_studies.analyses import points
from cipherward_studies.errors import IterateRefused
from cipherward_studies.variables import Floats

# e^6: a patient weighs at most 400 average ones, so that the average ones keep 24 bits.
HEADROOM_MAX = 6


@dataclass(frozen=True, slots=True)
class CoxIterate:
    """What a round's parameters say; all in steps of `points.STEP`.

    Attributes:
        point: coefficients of covariates on -1..1.
        shift: linear predictor of an average patient.
        headroom: how far above it a linear predictor may be, 0..HEADROOM_MAX.
        hazard: [buckets], cumulated; it does not fall, and stays within 0..1.
    """

    point: Floats
    shift: float
    headroom: float
    hazard: Floats

    def encode(self) -> bytes:
        """Return its octets."""
        return encode(
            {
                "hazard": points.steps(self.hazard),
                "headroom": points.steps(np.array([self.headroom])),
                "point": points.steps(self.point),
                "shift": points.steps(np.array([self.shift])),
            }
        )


def decode(parameters: bytes, width: int, buckets: int) -> CoxIterate:
    """Return what parameters say; in the first round, without any, all effects are 0.

    Raises:
        IterateRefused: not the one form of such parameters, or out of bounds.
    """
    if not parameters:
        return CoxIterate(np.zeros(width), 0.0, 0.0, np.ones(buckets))
    fields = points.read_map(parameters)
    bound = float(points.COEFFICIENT_MAX)
    point = points.read_steps(fields, "point", width, -bound, bound)
    shift = points.read_steps(fields, "shift", 1, -bound * width, bound * width)
    headroom = points.read_steps(fields, "headroom", 1, 0.0, HEADROOM_MAX)
    hazard = points.read_steps(fields, "hazard", buckets, 0.0, 1.0)
    if (np.diff(hazard) < 0).any():
        raise IterateRefused("a cumulated hazard does not fall")
    points.read_end(fields)
    return CoxIterate(point, float(shift[0]), float(headroom[0]), hazard)
