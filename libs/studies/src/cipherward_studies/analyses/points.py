"""Where a round takes its sums: coefficients that anybody may have written.

They are integers, so nothing is NaN or infinite; every bound is checked before a sum is made of
them; and a member refuses weights that a few of its patients carry, since each iterate is a release
and such a one would tell those patients' values.
"""

from __future__ import annotations

import numpy as np

from cipherward_chain.canonical import NotCanonical, Value, decode_map
from cipherward_chain.fields import Fields
from cipherward_studies.errors import IterateRefused
from cipherward_studies.variables import Floats

STEP = 2.0**-32  # of a coefficient: no linear predictor is 1e-8 from what was meant
# Least standard deviation of a covariate on -1..1: one that varies less was given a wrong range.
VARIES = 1e-3
# Such a covariate moves the logarithm of odds by 65 a standard deviation: no data ask for more.
COEFFICIENT_MAX = 1 << 16
# Sums over this many patients in one member that fewer than three carry are no statistics. Fewer
# patients than that tell nothing: beside them are those of the other members.
SPREAD_PATIENTS, SPREAD_MIN = 50, 3.0


def steps(values: Floats) -> list[Value]:
    """Return numbers in whole steps, the nearest ones."""
    return [round(float(value) / STEP) for value in values]


def read_map(octets: bytes) -> Fields:
    """Return the entries of a round's parameters.

    Raises:
        IterateRefused: not the one form of a map.
    """
    try:
        return Fields(decode_map(octets))
    except NotCanonical as error:
        raise IterateRefused(f"not the parameters of a round: {error}") from None


def read_end(fields: Fields) -> None:
    """Refuse entries that nobody asked for.

    Raises:
        IterateRefused: there are some.
    """
    try:
        fields.end()
    except NotCanonical as error:
        raise IterateRefused(f"not the parameters of a round: {error}") from None


def read_steps(fields: Fields, name: str, count: int, low: float, high: float) -> Floats:
    """Return so many numbers between bounds.

    Raises:
        IterateRefused: they are not that.
    """
    try:
        items = fields.items(name)
    except NotCanonical as error:
        raise IterateRefused(f"not the parameters of a round: {error}") from None
    whole = [item for item in items if type(item) is int]
    if len(whole) != len(items) or len(items) != count:
        raise IterateRefused(f"{name} has another number of entries", need=count)
    if any(not low / STEP <= item <= high / STEP for item in whole):
        raise IterateRefused(f"an entry of {name} is out of bounds")
    return np.array(whole, dtype=np.float64) * STEP


def fits(point: Floats) -> bool:
    """Say whether members would accept coefficients."""
    return bool(np.isfinite(point).all() and (np.abs(point) < COEFFICIENT_MAX).all())


def refuse_singled_out(weights: Floats) -> None:
    """Refuse weights of many patients that a few of them carry.

    Args:
        weights: by patient, not negative.

    Raises:
        IterateRefused: their effective number, (sum w)^2 / sum w^2, is below SPREAD_MIN.

    Source: Kish, "Survey Sampling", 1965, 11.7.
    """
    if len(weights) < SPREAD_PATIENTS:
        return
    largest = float(weights.max())
    if largest <= 0:
        raise IterateRefused("no patient has any weight at these parameters")
    relative = weights / largest
    if float(relative.sum()) ** 2 < SPREAD_MIN * float(relative @ relative):
        raise IterateRefused("a few patients carry all the weight at these parameters")
