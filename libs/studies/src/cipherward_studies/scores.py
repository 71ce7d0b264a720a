"""How a risk model is computed on stored columns: integer weights, and what a score opens to.

A column has integers X of 2^-f of its variable's unit. With W = round(w * 2^(s - f)), one scale s
for all terms, the sum of W * X is 2^s times the score without its intercept, but for rounding.
The scale is the largest for which every weight is below 2^20. No patient's sum leaves the plaintext
then: 64 products of a weight and a value of 20 bits each are below 2^46.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from cipherward_studies.columns import ColumnText, StoredVariable
from cipherward_studies.errors import ColumnsDiffer, StudyError
from cipherward_studies.models import Model

WEIGHT_BITS = 20  # of a linear form under a mask
DOUBLE_BITS = 53  # a score is told as a double


class WeightVanishes(StudyError):
    """A weight is so much smaller than another one that it rounds to zero beside it."""


@dataclass(frozen=True, slots=True)
class ScoreTerm:
    """A member's columns of a variable, and the integer weight of its values."""

    variable: str
    at: str
    weight: int


@dataclass(frozen=True, slots=True)
class ScorePlan:
    """How a model's scores are computed.

    Attributes:
        scale_bits: what is opened counts in steps of 2^-scale_bits.
        bound: the most that an opened sum of plausible values can be, of either sign.
        error: the most by which `linear` differs from the model's own value, for values within
            their declared ranges: rounding of weights, of stored values, and of the double.
    """

    model: Model
    terms: tuple[ScoreTerm, ...]
    scale_bits: int
    bound: int
    error: float

    @property
    def weights(self) -> tuple[int, ...]:
        """The integer weights, in the order of the terms."""
        return tuple(term.weight for term in self.terms)

    def linear(self, opened: int) -> float:
        """Return the score, intercept and all, of an opened sum."""
        return float(Fraction(self.model.intercept) + opened / _power(self.scale_bits))

    def probability(self, opened: int) -> float:
        """Return a logistic model's probability, 0 to 1; 0 of a linear model."""
        return logistic(self.linear(opened)) if self.model.kind == "logistic" else 0.0


def plan_scores(model: Model, text: ColumnText) -> ScorePlan:
    """Return how a model is computed on the columns of a data key.

    Raises:
        ColumnsDiffer: it is of another data set, or names a variable that is not stored.
        WeightVanishes: a weight rounds to zero beside the largest.
    """
    if text.data_set != model.data_set:
        raise ColumnsDiffer("the columns are of another data set than the model")
    stored = {variable.name: variable for variable in text.variables}
    for term in model.terms:
        if term.variable not in stored:
            raise ColumnsDiffer(f"no column of {term.variable} is stored under this key")
    # What a weight is of one step of its column, and the most steps that a value has.
    exact = [
        Fraction(term.weight) / _power(stored[term.variable].fraction_bits) for term in model.terms
    ]
    most = [_steps_max(stored[term.variable]) for term in model.terms]
    scale_bits = _largest_scale(exact)
    weights = _weights(exact, scale_bits)
    for term, weight in zip(model.terms, weights, strict=True):
        if not weight:
            raise WeightVanishes(
                f"the weight of {term.variable} at {term.at} is nothing beside the largest weight",
                variable=term.variable,
                at=term.at,
            )
    bound = _bound(weights, most)
    rounding = sum(
        abs(weight / _power(scale_bits) - one) * steps + abs(one) / 2
        for weight, one, steps in zip(weights, exact, most, strict=True)
    )
    largest = abs(Fraction(model.intercept)) + bound / _power(scale_bits)
    error = math.nextafter(float(rounding + largest / _power(DOUBLE_BITS)), math.inf)
    terms = tuple(
        ScoreTerm(term.variable, term.at, weight)
        for term, weight in zip(model.terms, weights, strict=True)
    )
    return ScorePlan(model, terms, scale_bits, bound, error)


def logistic(linear: float) -> float:
    """Return 1 / (1 + exp(-linear)) without overflow."""
    if linear >= 0:
        return 1.0 / (1.0 + math.exp(-linear))
    small = math.exp(linear)
    return small / (1.0 + small)


def _largest_scale(exact: list[Fraction]) -> int:
    largest = max(abs(one) for one in exact)
    # Begin at or above what the largest weight allows, and come down.
    bits = WEIGHT_BITS + 1 + largest.denominator.bit_length() - largest.numerator.bit_length()
    while round(largest * _power(bits)) >> WEIGHT_BITS:
        bits -= 1
    return bits


def _weights(exact: list[Fraction], bits: int) -> list[int]:
    return [round(one * _power(bits)) for one in exact]


def _bound(weights: list[int], most: list[int]) -> int:
    return sum(abs(weight) * steps for weight, steps in zip(weights, most, strict=True))


def _steps_max(variable: StoredVariable) -> int:
    largest = Fraction(max(abs(variable.low), abs(variable.high)))
    return math.ceil(largest * _power(variable.fraction_bits))


def _power(bits: int) -> Fraction:
    return Fraction(2) ** bits
