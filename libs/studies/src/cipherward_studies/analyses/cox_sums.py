"""The sums of a Cox regression: what the members send, and likelihood and derivatives from them.

The partial likelihood needs, for each bucket with events, sums over all patients still at risk. A
member sends them for the patients who *leave* in each bucket; they are cumulated after release.

| slots | of |
|---|---|
| weights | each bucket: w = e^(linear predictor), over the patients who leave there |
| weighted covariates | each bucket: w z |
| events | each bucket: who leaves with an event |
| covariates of events | all: z of those |
| products | all: w H z z', upper triangle by rows; H is the cumulated hazard of their bucket |

With D events and risk set sums S0, S1, S2 of w, w z and w z z', the information is the sum of
D / S0 (S2 - S1 S1' / S0) over buckets. The sum of D / S0 S2 is that of w H z z' over patients, with
Breslow's H, the sum of D / S0 up to the patient's bucket. So products are sent once for all
patients instead of once a bucket, and say nothing of who left when. H comes with the round's
parameters: the last round's, carried to the new coefficients by its own S1 / S0, which is exact to
second order in the step. Any H makes an information that is not negative, since S2 is at least
S1 S1' / S0; the gradient and the likelihood do not depend on H at all.

Sources: Breslow, "Contribution to the discussion of Cox (1972)", JRSS B 34, 1972; Klein,
Moeschberger, "Survival Analysis", 2nd ed., 8.3 to 8.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cipherward_studies.analyses.newton import Collinear
from cipherward_studies.variables import Floats, Mask

# A risk set that weighs less than this share of the patients is rounding, not patients.
RISK_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class CoxSums:
    """Released sums of one round, of covariates z on -1..1.

    Attributes:
        weights: [buckets]; e^(predictor - offset).
        covariates: [buckets, covariates], weighted.
        events: [buckets].
        events_covariates: [covariates].
        products: [covariates, covariates], weighted, times the hazard that was sent.
        hazard: [buckets], as it was sent; it rises to 1.
        offset: what was taken from every linear predictor.
    """

    weights: Floats
    covariates: Floats
    events: Floats
    events_covariates: Floats
    products: Floats
    hazard: Floats
    offset: float

    @property
    def mean(self) -> Floats:
        """Weighted mean of the covariates over all patients.

        Raises:
            Collinear: no patient has any weight.
        """
        total = float(self.weights.sum())
        if total <= 0:
            raise Collinear
        return np.clip(self.covariates.sum(axis=0) / total, -1.0, 1.0)  # noise goes beyond

    def variance(self) -> Floats:
        """Return the covariates' variances where every weight is 1: in the first round."""
        return np.diag(self.products) / float(self.weights.sum()) - self.mean**2

    def derivatives(self, point: Floats) -> tuple[float, Floats, Floats]:
        """Return log partial likelihood, gradient and information at the round's coefficients.

        Raises:
            Collinear: there is nothing to take them of.
        """
        died, at_risk, means = self._risk_sets()
        if died.sum() <= 0:
            raise Collinear
        likelihood = float(self.events_covariates @ point - died @ (np.log(at_risk) + self.offset))
        gradient = self.events_covariates - died @ means
        # In steps of H: only its shape was sent, so that its height follows from the events.
        rises = np.diff(self.hazard, prepend=0.0)
        all_at_risk, all_means = self._cumulated()
        expected = float(rises @ all_at_risk)
        if expected <= 0:
            raise Collinear
        height = float(died.sum()) / expected
        outer = (all_means * (rises * all_at_risk)[:, np.newaxis]).T @ all_means
        return likelihood, gradient, height * (self.products - outer)

    def hazard_at(self, change: Floats) -> Floats:
        """Return the cumulated hazard, rising to 1, at coefficients that differ by `change`.

        Raises:
            Collinear: there are no events.
        """
        at_risk, means = self._cumulated()
        used = self._used(at_risk)
        predictor = np.clip(means @ change, -50.0, 50.0)
        rises = np.zeros(len(self.events))
        rises[used] = self.events[used] / at_risk[used] * np.exp(-predictor[used])
        total = float(rises.sum())
        if total <= 0:
            raise Collinear
        return np.minimum(np.cumsum(rises) / total, 1.0)

    def _cumulated(self) -> tuple[Floats, Floats]:
        """Return weight and mean covariates of those at risk in each bucket."""
        at_risk = np.maximum(np.cumsum(self.weights[::-1])[::-1], 0.0)  # noise goes below
        covariates = np.cumsum(self.covariates[::-1], axis=0)[::-1]
        safe = np.where(at_risk > 0, at_risk, 1.0)[:, np.newaxis]
        means = np.where(at_risk[:, np.newaxis] > 0, covariates / safe, 0.0)
        return at_risk, np.clip(means, -1.0, 1.0)

    def _used(self, at_risk: Floats) -> Mask:
        return (self.events > 0) & (at_risk > RISK_LEAST * at_risk[0])

    def _risk_sets(self) -> tuple[Floats, Floats, Floats]:
        """Return events, weight at risk and mean covariates of buckets with events."""
        at_risk, means = self._cumulated()
        used = self._used(at_risk)
        return self.events[used], at_risk[used], means[used]
