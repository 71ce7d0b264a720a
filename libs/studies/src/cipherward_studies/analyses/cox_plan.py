"""The plan of a Cox regression: its cells, its rounds and what follows from them.

A run of buckets may be published if those who leave in it with an event, or those who leave in it
without, are enough, and so are the cells of every covariate among them: the patients with each
value of a flag, the spread of a number. Buckets that may not be are joined as `buckets` says, those
without an event by themselves first, then to the ends of those with one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cipherward_studies.analyses import points
from cipherward_studies.analyses.blocks import linear_predictors, product
from cipherward_studies.analyses.buckets import Buckets, Places
from cipherward_studies.analyses.cox_iterate import HEADROOM_MAX, CoxIterate, decode
from cipherward_studies.analyses.cox_result import CoxResult
from cipherward_studies.analyses.cox_sums import CoxSums
from cipherward_studies.analyses.estimates import chi_square, coefficient, estimate, units, wald
from cipherward_studies.analyses.newton import Collinear, Look, Separated, Step, search
from cipherward_studies.analysis import DOMINANCE_STEPS, FRACTION_BITS, Cell, Round
from cipherward_studies.errors import TotalsMalformed
from cipherward_studies.magnitudes import MAGNITUDE_CELLS, magnitude_cells
from cipherward_studies.second_moments import SecondMoments
from cipherward_studies.variables import Columns, Floats, Integers, Mask, Variable

STEPS = 1 << FRACTION_BITS
ROUNDS = 25  # of Newton's method, which needs 4 to 7


@dataclass(frozen=True, slots=True)
class CoxPlan:
    """See `CoxSums` for the slots.

    Attributes:
        products: event and covariates, whose cells over all patients are counted too.
    """

    time: Variable
    event: Variable
    products: SecondMoments
    buckets: Buckets
    confidence: float

    @property
    def covariates(self) -> tuple[Variable, ...]:
        """The covariates."""
        return self.products.variables[1:]

    @property
    def width(self) -> int:
        """How many coefficients there are."""
        return len(self.covariates)

    @property
    def rounds(self) -> int:
        """Return the most rounds of Newton's method."""
        return ROUNDS

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Return the products' cells, then each run's: with an event, then without."""
        found = list(self.products.cells)
        for what in ("events", "censored"):
            by = (self.time.name, self.event.name)
            found += self.buckets.cells(what, by, partition="how it ends")
            for one in self.covariates:
                for cell in magnitude_cells(one):
                    label = f"{what}, {cell.label}"
                    found += self.buckets.cells(label, (*by, *cell.by), dominance=cell.dominance)
        return tuple(found)

    @property
    def cuts(self) -> Mapping[str, tuple[float, ...]]:
        """Return where time is cut."""
        return {self.time.name: self.buckets.cuts(self.time)}

    @property
    def slots(self) -> int:
        """Return how many sums there are."""
        buckets, width = len(self.buckets.ends), self.width
        return buckets * (2 + width) + width + width * (width + 1) // 2

    def count(self, rows: Columns) -> Integers:
        """Return the cells' counts over a chunk."""
        parts = [self.products.count(rows)]
        places, happened = self._leave(rows)
        for mine in (happened, ~happened):
            parts.append(self.buckets.count(places[mine]))
            for one in self.covariates:
                high, whole = _magnitudes(one, rows[one.name][mine])
                parts.append(self.buckets.count(places[mine], high))
                parts.append(self.buckets.count(places[mine], whole - high))
        return np.concatenate(parts)

    def check(self, parameters: bytes) -> None:
        """Accept parameters within their bounds.

        Raises:
            IterateRefused: others.
        """
        self._where(parameters)

    def local(self, rows: Columns, allowed: Mask, parameters: bytes) -> Integers:
        """Return the sums over a chunk, rounded once a chunk.

        Raises:
            IterateRefused: a few of many patients carry them.
        """
        published = self._published(allowed)
        if published is None:
            return np.zeros(self.slots, dtype=np.int64)
        where = self._where(parameters)
        leave, happened = self._leave(rows)
        places = np.where(happened, published[0][leave], published[1][leave])
        design = np.column_stack([one.scaled(rows[one.name]) for one in self.covariates])
        predictor = linear_predictors(design, where.point) - where.shift
        weights = np.exp(np.minimum(predictor - where.headroom, 0.0))
        points.refuse_singled_out(weights)
        buckets = len(self.buckets.ends)
        weighted: Floats = design * weights[:, np.newaxis]
        products = product(weighted, design * where.hazard[places][:, np.newaxis])
        sums = np.concatenate(
            [
                np.bincount(places, weights, buckets),
                *(np.bincount(places, weighted[:, i], buckets) for i in range(self.width)),
                np.bincount(places[happened], None, buckets),
                design[happened].sum(axis=0),
                products[np.triu_indices(self.width)],
            ]
        )
        return np.rint(sums * STEPS).astype(np.int64)

    def sensitivity(self, parameters: bytes) -> float:
        """Return the L2 effect of one patient, who leaves in one bucket."""
        touched = 2 + 2 * self.width + self.width * (self.width + 1) // 2
        return math.sqrt(touched) * (STEPS + 1)

    def advance(self, rounds: Sequence[Round], allowed: Mask) -> bytes | None:
        """Return the next parameters, or None: there is nothing more to find.

        Raises:
            TotalsMalformed: another number of totals.
        """
        if self._published(allowed) is None:
            return None
        try:
            basis = self._basis(rounds[0])
            found = search(self._looks(rounds, basis))
            if isinstance(found, Step) or not points.fits(basis @ found):
                return None
            return self._parameters(rounds, basis @ found)
        except (Collinear, Separated):
            return None

    def finish(self, rounds: Sequence[Round], allowed: Mask) -> CoxResult:
        """Return the estimates.

        Raises:
            TotalsMalformed: another number of totals.
        """
        result = CoxResult(
            self.time.name,
            self.event.name,
            self.confidence,
            "left_out",
            rounds[0].patients,
            len(rounds),
        )
        published = self._published(allowed)
        if published is None:
            return result
        result = replace(
            result,
            events=float(self._sums(rounds[0]).events.sum()),
            ends=tuple(self.buckets.ends[int(last)] for last in np.unique(published[0])),
        )
        if not result.events:
            return result.ended("no_events")
        try:
            basis = self._basis(rounds[0])
            looks = self._looks(rounds, basis)
        except Collinear:
            return result.ended("collinear")
        ending = estimate(looks, basis)
        if ending.found is None:
            return result.ended(ending.outcome)
        natural = basis / units(self.covariates)[:, np.newaxis]
        point = natural @ ending.found.point
        covariance: Floats = natural @ ending.found.covariance @ natural.T
        errors = np.sqrt(np.diag(covariance))
        ratio = 2 * (ending.found.likelihood - looks[0].likelihood)  # from coefficients of 0
        return result.ended(ending.outcome).estimated(
            [
                coefficient(one.name, one.unit, float(value), float(error), self.confidence)
                for one, value, error in zip(self.covariates, point, errors, strict=True)
            ],
            (looks[0].likelihood, ending.found.likelihood),
            chi_square(ratio, self.width),
            wald(point, covariance),
        )

    def error_bounds(self) -> Mapping[str, str]:
        """Return what buckets, sums and the search leave."""
        return {
            "cox": (
                "estimates within 1e-4 standard errors of the maximum for times rounded up to the"
                " end of their bucket (Breslow's ties), standard errors within 1e-3 of themselves;"
                " buckets with too few patients are joined; a patient's hazard counts as at most"
                " e^6 = 403 average ones"
            )
        }

    def _leave(self, rows: Columns) -> tuple[Places, Mask]:
        return self.buckets.leave(rows[self.time.name], rows[self.event.name] == self.event.high)

    def _published(self, allowed: Mask) -> tuple[Places, Places] | None:
        """Return where those with and those without an event are counted."""
        first = len(self.products.cells)
        if not allowed[:first].all():
            return None
        kinds = allowed[first:].reshape(2, 1 + MAGNITUDE_CELLS * self.width, self.buckets.runs)
        events, censored = (
            self.buckets.published(np.logical_and.reduce(runs, axis=0)) for runs in kinds
        )
        return None if events is None or censored is None else (events, events[censored])

    def _where(self, parameters: bytes) -> CoxIterate:
        return decode(parameters, self.width, len(self.buckets.ends))

    def _parameters(self, rounds: Sequence[Round], point: Floats) -> bytes:
        """Return the next round's parameters."""
        latest = self._sums(rounds[-1])
        hazard = latest.hazard_at(point - self._where(rounds[-1].parameters).point)
        shift = float(point @ self._sums(rounds[0]).mean)
        # No linear predictor on -1..1 is above the sum of the coefficients' sizes.
        room = min(max(float(np.abs(point).sum()) - shift, 0.0), HEADROOM_MAX)
        return CoxIterate(point, shift, room, hazard).encode()

    def _sums(self, released: Round) -> CoxSums:
        if len(released.totals) != self.slots:
            raise TotalsMalformed("another number of totals", need=self.slots)
        buckets, width = len(self.buckets.ends), self.width
        sums = np.array(released.totals, dtype=np.float64) / STEPS
        ends = np.cumsum([buckets, buckets * width, buckets, width])
        weights, covariates, events, events_covariates, upper = np.split(sums, ends)
        products = np.zeros((width, width))
        products[np.triu_indices(width)] = upper
        where = self._where(released.parameters)
        return CoxSums(
            weights,
            covariates.reshape(width, buckets).T,
            np.maximum(events, 0.0),
            events_covariates,
            products + np.triu(products, 1).T,
            where.hazard,
            where.shift + where.headroom,
        )

    def _basis(self, first: Round) -> Floats:
        """Return the coefficients of standardised covariates as those of covariates on -1..1.

        Raises:
            Collinear: a covariate does not vary.
        """
        variances = self._sums(first).variance()
        if (variances <= points.VARIES**2).any():
            raise Collinear
        return np.diag(1 / np.sqrt(variances))

    def _looks(self, rounds: Sequence[Round], basis: Floats) -> list[Look]:
        looks: list[Look] = []
        for one in rounds:
            point = self._where(one.parameters).point
            found = self._sums(one).derivatives(point)
            looks.append(Look.standardised(basis, point, *found))
        return looks


def _magnitudes(variable: Variable, column: Floats) -> tuple[Integers, int]:
    """Return what each patient adds to the first of a variable's cells, and to both together."""
    if variable.kind == "flag":
        return (column == variable.high).astype(np.int64), 1
    share = (variable.scaled(column) + 1.0) / 2.0
    return np.rint(share * DOMINANCE_STEPS).astype(np.int64), DOMINANCE_STEPS
