"""Newton's method over released sums: where the next round looks, and when it is done.

Every look is a release, so none is wasted: the last step is taken without looking again once the
decrement says that it changes nothing that is printed, and a step that went too far is halved
between two points that are both known.

Near a maximum the decrement falls quadratically. Where it falls by a constant factor instead, there
is no maximum: a combination of covariates separates the outcomes (or orders the events), the
coefficients grow for ever and each step gains 1/e of the likelihood that was missing.

Source: Boyd, Vandenberghe, "Convex Optimization", 9.5 (decrement, damped steps); Albert, Anderson,
"On the existence of maximum likelihood estimates in logistic regression models", Biometrika 71,
1984 (separation); Bryson, Johnson, "The incidence of monotone likelihood in the Cox model",
Technometrics 23, 1981.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cipherward_studies.variables import Floats

# Squared distance to the maximum in standard errors before the last step, which then leaves about
# its square: 1e-8 standard errors, with standard errors taken at most 1e-4 of one away.
CONVERGED = 1e-8
# From 0 a Newton step can overshoot when covariates explain much: a step changes no coefficient of
# a standardised covariate by more than this, or than the largest of them is already.
STEP_MAX = 3.0
# Odds that grow by e^30 a standard deviation separate any data.
POINT_MAX = 30.0
# Near a maximum the decrement falls far more than fourfold a step; without one it goes on falling
# by e (2.7): two such steps in a row, this near, tell them apart.
NEAR, LINEAR = 0.1, 0.25
# Least reciprocal condition of the standardised information: sums of rounded terms (2^-34 each)
# make noise of about 1e-9 where covariates depend on each other exactly.
COLLINEAR = 1e-7
# A likelihood that falls by less has not fallen: sums of logarithms rounded to 2^-28 a patient.
LEVEL = 1e-6


class Collinear(Exception):
    """The covariates depend on each other, or one does not vary: no step is determined."""


class Separated(Exception):
    """The likelihood has no maximum: a combination of covariates tells the outcomes apart."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one round found.

    Attributes:
        point: coefficients, for standardised covariates.
        likelihood: logarithm of the (partial) likelihood there.
        gradient, information: its derivative and negative second derivative.
    """

    point: Floats
    likelihood: float
    gradient: Floats
    information: Floats

    @classmethod
    def standardised(
        cls, basis: Floats, point: Floats, likelihood: float, gradient: Floats, information: Floats
    ) -> Look:
        """Return a look at `point` in coordinates c with point = basis @ c.

        Raises:
            Collinear: a figure is not finite.
        """
        look = cls(
            np.linalg.solve(basis, point).astype(np.float64),
            likelihood,
            basis.T @ gradient,
            basis.T @ information @ basis,
        )
        if not np.isfinite(look.information).all() or not np.isfinite(look.gradient).all():
            raise Collinear
        return look


@dataclass(frozen=True, slots=True)
class Step:
    """A Newton step from a look, which is also the best estimate that the look gives.

    Attributes:
        point: where the step leads.
        likelihood: there, by the quadratic that the look gives.
        covariance: of the coefficients: the inverse information.
        decrement: squared length of the step in standard errors.
    """

    point: Floats
    likelihood: float
    covariance: Floats
    decrement: float

    @property
    def last(self) -> bool:
        """Say whether nothing that is printed changes beyond this step."""
        return self.decrement <= CONVERGED


def step(look: Look) -> Step:
    """Return the Newton step from a look.

    Raises:
        Collinear: it is not determined.
    """
    diagonal = np.diag(look.information)
    if (diagonal <= 0).any():
        raise Collinear
    scale = np.sqrt(diagonal)
    values, vectors = np.linalg.eigh(look.information / np.outer(scale, scale))
    if values[0] <= COLLINEAR * values[-1]:
        raise Collinear
    covariance = (vectors / values) @ vectors.T / np.outer(scale, scale)
    change = covariance @ look.gradient
    decrement = float(look.gradient @ change)
    return Step(look.point + change, look.likelihood + decrement / 2, covariance, decrement)


def search(looks: Sequence[Look]) -> Step | Floats:
    """Return the last step if it leads to the maximum, else the point to look at next.

    Args:
        looks: all so far, at least one, in order.

    Raises:
        Collinear, Separated: there is no maximum, or none that can be told.
    """
    latest = looks[-1]
    best = max(looks, key=lambda look: look.likelihood)
    if latest.likelihood < best.likelihood - LEVEL:
        return (best.point + latest.point) / 2
    found = step(latest)
    if found.last:
        return found
    if len(looks) >= 3:
        first, second = step(looks[-3]).decrement, step(looks[-2]).decrement
        slow = second > LINEAR * first and found.decrement > LINEAR * second
        if second < NEAR and slow:
            raise Separated
    change = found.point - latest.point
    most = max(STEP_MAX, float(np.max(np.abs(latest.point))))
    following = latest.point + change * min(1.0, most / float(np.max(np.abs(change))))
    if float(np.max(np.abs(following))) > POINT_MAX:
        raise Separated
    return following
