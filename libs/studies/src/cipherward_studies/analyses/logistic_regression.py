"""Logistic regression by Newton's method: in each round the members send, at the coefficients of
the researcher's last step, likelihood, gradient and information of their patients.

Source: Hosmer, Lemeshow, Sturdivant, "Applied Logistic Regression", 3rd ed., 1.2 and 2.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cipherward_chain.canonical import encode
from cipherward_studies.analyses import points
from cipherward_studies.analyses.blocks import linear_predictors, product
from cipherward_studies.analyses.estimates import chi_square, coefficient, estimate, units, wald
from cipherward_studies.analyses.logistic_result import LogisticResult
from cipherward_studies.analyses.newton import Collinear, Look, Separated, Step, search
from cipherward_studies.analysis import FRACTION_BITS, Cell, Round
from cipherward_studies.errors import AnalysisRefused, TotalsMalformed
from cipherward_studies.forms import Form, variable_name, variable_names
from cipherward_studies.number_forms import Number
from cipherward_studies.second_moments import SecondMoments, all_pairs
from cipherward_studies.variables import Columns, Floats, Integers, Mask, Variable

STEPS = 1 << FRACTION_BITS
ROUNDS = 25  # of Newton's method, which needs 5 to 8; separation is told after about 15
PREDICTORS_MAX = 32  # 595 sums a round
# A linear predictor is taken as at most this: odds of 1e13, where a patient tells nothing more.
PREDICTOR_MAX = 30.0
LIKELIHOOD_SCALE = 32.0  # no patient's logarithm of likelihood is below -32


@dataclass(frozen=True, slots=True)
class LogisticRegression:
    """How covariates go with the odds of an outcome.

    Attributes:
        outcome: flag; its high value is what the odds are of.
        predictors: numbers or flags.
        confidence: of intervals.
    """

    kind: ClassVar[str] = "logistic_regression"
    forms: ClassVar[tuple[Form, ...]] = (
        variable_name("outcome"),
        variable_names("predictors", 1, PREDICTORS_MAX),
        Number("confidence", 0.5, 0.999, 0.95),
    )

    outcome: str
    predictors: tuple[str, ...]
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if len(set(self.variables)) < len(self.variables):
            raise AnalysisRefused("outcome and predictors are different variables")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return `logistic_regression`."""
        return ("logistic_regression",)

    @property
    def variables(self) -> tuple[str, ...]:
        """Return the outcome and the predictors."""
        return (self.outcome, *self.predictors)

    def plan(self, variables: Mapping[str, Variable]) -> LogisticPlan:
        """Return the plan.

        Raises:
            AnalysisRefused: the outcome is no flag.
        """
        outcome = variables[self.outcome]
        if outcome.kind != "flag":
            raise AnalysisRefused(f"the outcome {outcome.name} is not a flag")
        used = tuple(variables[name] for name in self.variables)
        products = SecondMoments(used, all_pairs(len(used)))
        return LogisticPlan(outcome, used[1:], self.confidence, products)


@dataclass(frozen=True, slots=True)
class LogisticPlan:
    """Likelihood, gradient (intercept first) and information (upper triangle by rows).

    Attributes:
        products: whose cells are behind the sums: at coefficients of 0 they are sums of products.
    """

    outcome: Variable
    covariates: tuple[Variable, ...]
    confidence: float
    products: SecondMoments

    @property
    def rounds(self) -> int:
        """Return the most rounds of Newton's method."""
        return ROUNDS

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Return the cells behind sums of products of outcome and covariates."""
        return self.products.cells

    @property
    def width(self) -> int:
        """How many coefficients there are."""
        return 1 + len(self.covariates)

    @property
    def slots(self) -> int:
        """Return how many sums there are."""
        return 1 + self.width + self.width * (self.width + 1) // 2

    def count(self, rows: Columns) -> Integers:
        """Return the cells' counts over a chunk."""
        return self.products.count(rows)

    def check(self, parameters: bytes) -> None:
        """Accept coefficients within their bounds.

        Raises:
            IterateRefused: others.
        """
        self._point(parameters)

    def local(self, rows: Columns, allowed: Mask, parameters: bytes) -> Integers:
        """Return the sums over a chunk, rounded once a chunk.

        Raises:
            IterateRefused: a few of many patients carry them.
        """
        if not allowed.all():
            return np.zeros(self.slots, dtype=np.int64)
        point = self._point(parameters)
        columns = [one.scaled(rows[one.name]) for one in self.covariates]
        design = np.column_stack([np.ones(len(columns[0])), *columns])
        happened = rows[self.outcome.name] == self.outcome.high
        predictor = np.clip(linear_predictors(design, point), -PREDICTOR_MAX, PREDICTOR_MAX)
        odds = np.exp(-np.abs(predictor))  # of the less likely end: never overflows
        chance = np.where(predictor >= 0, 1.0, odds) / (1.0 + odds)
        residual = happened - chance
        weights = chance * (1.0 - chance)
        points.refuse_singled_out(weights)
        points.refuse_singled_out(np.abs(residual))
        agrees = happened == (predictor >= 0)
        likelihood = -np.log1p(odds) - np.where(agrees, 0.0, np.abs(predictor))
        information = product(design, design * weights[:, np.newaxis])
        sums = np.concatenate(
            [
                [likelihood.sum() / LIKELIHOOD_SCALE],
                (design * residual[:, np.newaxis]).sum(axis=0),
                information[np.triu_indices(self.width)],
            ]
        )
        return np.rint(sums * STEPS).astype(np.int64)

    def sensitivity(self, parameters: bytes) -> float:
        """Return the L2 effect of one patient: 1 in likelihood and gradient, 1/4 elsewhere."""
        quarters = self.slots - 1 - self.width
        return math.sqrt(1 + self.width + quarters / 16) * (STEPS + 1)

    def advance(self, rounds: Sequence[Round], allowed: Mask) -> bytes | None:
        """Return the next coefficients, or None: there is nothing more to find.

        Raises:
            TotalsMalformed: another number of totals.
        """
        if not allowed.all():
            return None
        try:
            basis = self._basis(rounds[0])
            found = search(self._looks(rounds, basis))
        except (Collinear, Separated):
            return None
        if isinstance(found, Step) or not points.fits(basis @ found):
            return None
        return encode({"point": points.steps(basis @ found)})

    def finish(self, rounds: Sequence[Round], allowed: Mask) -> LogisticResult:
        """Return the estimates.

        Raises:
            TotalsMalformed: another number of totals.
        """
        names = LogisticResult.nothing(
            self.outcome.name, self.confidence, rounds[0].patients, len(rounds)
        )
        if not allowed.all():
            return names
        try:
            basis = self._basis(rounds[0])
            looks = self._looks(rounds, basis)
        except Collinear:
            return names.ended("collinear")
        # At coefficients of 0 everybody's chance is one half.
        events = looks[0].gradient[0] + rounds[0].patients / 2
        ending = estimate(looks, basis)
        if ending.found is None:
            return names.ended(ending.outcome, events)
        natural = self._natural() @ basis
        point = natural @ ending.found.point
        covariance: Floats = natural @ ending.found.covariance @ natural.T
        errors = np.sqrt(np.diag(covariance))
        labels = [("intercept", ""), *((one.name, one.unit) for one in self.covariates)]
        null = _null_likelihood(events, rounds[0].patients)
        likelihood = ending.found.likelihood
        return names.estimated(
            ending.outcome,
            events,
            [
                coefficient(name, unit, float(point[i]), float(errors[i]), self.confidence)
                for i, (name, unit) in enumerate(labels)
            ],
            likelihood,
            null,
            None if null is None else chi_square(2 * (likelihood - null), self.width - 1),
            wald(point[1:], covariance[1:, 1:]),
        )

    def error_bounds(self) -> Mapping[str, str]:
        """Return what sums and the search leave."""
        return {
            "logistic_regression": (
                "estimates within 1e-6 standard errors of the maximum, standard errors within 1e-4"
                " of themselves; each sum is off by at most 2^-34 for every hospital and chunk of"
                " its patients; a linear predictor beyond 30 counts as 30"
            )
        }

    def _point(self, parameters: bytes) -> Floats:
        if not parameters:
            return np.zeros(self.width)
        fields = points.read_map(parameters)
        bound = float(points.COEFFICIENT_MAX)
        point = points.read_steps(fields, "point", self.width, -bound, bound)
        points.read_end(fields)
        return point

    def _sums(self, released: Round) -> tuple[float, Floats, Floats]:
        """Return likelihood, gradient and information, on -1..1."""
        if len(released.totals) != self.slots:
            raise TotalsMalformed("another number of totals", need=self.slots)
        sums = np.array(released.totals, dtype=np.float64) / STEPS
        information = np.zeros((self.width, self.width))
        information[np.triu_indices(self.width)] = sums[1 + self.width :]
        information = information + np.triu(information, 1).T
        return float(sums[0] * LIKELIHOOD_SCALE), sums[1 : 1 + self.width], information

    def _basis(self, first: Round) -> Floats:
        """Return the coefficients of standardised covariates as those of covariates on -1..1.

        Raises:
            Collinear: a covariate does not vary.
        """
        information = self._sums(first)[2]
        size = information[0, 0]  # a quarter of the patients
        if size <= 0:
            raise Collinear
        means = information[0, 1:] / size
        variances = np.diag(information)[1:] / size - means**2
        if (variances <= points.VARIES**2).any():
            raise Collinear
        basis = np.eye(self.width)
        basis[1:, 1:] /= np.sqrt(variances)
        basis[0, 1:] = -means / np.sqrt(variances)
        return basis

    def _looks(self, rounds: Sequence[Round], basis: Floats) -> list[Look]:
        return [
            Look.standardised(basis, self._point(one.parameters), *self._sums(one))
            for one in rounds
        ]

    def _natural(self) -> Floats:
        """Return what makes coefficients of covariates on -1..1 those of the covariates' units."""
        natural = np.eye(self.width)
        half = units(self.covariates)
        natural[1:, 1:] /= half
        natural[0, 1:] = -np.array([one.middle for one in self.covariates]) / half
        return natural


def _null_likelihood(events: float, patients: int) -> float | None:
    """Return the likelihood with an intercept alone; None when noise leaves no such chance."""
    if not 0 < events < patients:
        return None
    chance = events / patients
    return patients * (chance * math.log(chance) + (1 - chance) * math.log1p(-chance))
