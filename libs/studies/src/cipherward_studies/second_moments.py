"""Sums and sums of products of variables, on -1..1: what moments and linear regression are from.

Slots: the sum of each variable, then the products of the pairs that are asked for. A variable whose
cells fail has zeros in all its slots; a pair of flags also in the slot of its product, whose four
numbers of patients are cells of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from cipherward_studies.analysis import FRACTION_BITS, Cell, Round
from cipherward_studies.errors import TotalsMalformed
from cipherward_studies.magnitudes import MAGNITUDE_CELLS, count_magnitudes, magnitude_cells
from cipherward_studies.variables import Columns, Integers, Mask, Variable

PAIR_CELLS = 4  # of two flags
STEPS = 1 << FRACTION_BITS
# Patients of one matrix product: small enough that the linear algebra starts no threads, which on a
# loaded machine wait for each other ten times longer than they work.
_BLOCK = 1_024

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class SecondMoments:
    """Which sums of variables are taken; `pairs` are by place, the first at most the second."""

    variables: tuple[Variable, ...]
    pairs: tuple[Pair, ...]

    @property
    def slots(self) -> int:
        """How many sums there are."""
        return len(self.variables) + len(self.pairs)

    @property
    def flag_pairs(self) -> tuple[Pair, ...]:
        """The pairs of two different flags."""
        return tuple(
            (i, j)
            for i, j in self.pairs
            if i != j and self.variables[i].kind == self.variables[j].kind == "flag"
        )

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Two cells a variable, then four a pair of flags."""
        found = [cell for variable in self.variables for cell in magnitude_cells(variable)]
        for i, j in self.flag_pairs:
            a, b = self.variables[i], self.variables[j]
            found += [
                Cell(f"{a.name} = {x:g}, {b.name} = {y:g}", by=(a.name, b.name))
                for x in (a.low, a.high)
                for y in (b.low, b.high)
            ]
        return tuple(found)

    def count(self, rows: Columns) -> Integers:
        """Return the counts of the cells over a chunk."""
        columns = [rows[variable.name] for variable in self.variables]
        counts = [
            number
            for variable, column in zip(self.variables, columns, strict=True)
            for number in count_magnitudes(variable, column)
        ]
        for i, j in self.flag_pairs:
            first = columns[i] == self.variables[i].high
            second = columns[j] == self.variables[j].high
            for x in (~first, first):
                counts += [int(np.count_nonzero(x & y)) for y in (~second, second)]
        return np.array(counts, dtype=np.int64)

    def local(self, rows: Columns, allowed: Mask) -> Integers:
        """Return the sums over a chunk in steps of 2^-FRACTION_BITS, rounded once a chunk."""
        if not self.variables:
            return np.zeros(0, dtype=np.int64)
        scaled = np.stack([v.scaled(rows[v.name]) for v in self.variables])
        products = np.zeros((len(scaled), len(scaled)))
        for at in range(0, scaled.shape[1], _BLOCK) if self.pairs else ():
            block = scaled[:, at : at + _BLOCK]
            products += block @ block.T
        sums = [scaled.sum(axis=1), np.array([products[i, j] for i, j in self.pairs])]
        steps = np.rint(np.concatenate(sums) * STEPS).astype(np.int64)
        return np.where(self.published(allowed), steps, 0)

    def published(self, allowed: Mask) -> Mask:
        """Say which slots may be published."""
        own = self.variables_published(allowed)
        flags = iter(allowed[MAGNITUDE_CELLS * len(self.variables) :].reshape(-1, PAIR_CELLS))
        joint = {pair: bool(next(flags).all()) for pair in self.flag_pairs}
        pairs = [bool(own[i] and own[j]) and joint.get((i, j), True) for i, j in self.pairs]
        return np.concatenate([own, np.array(pairs, dtype=np.bool_)])

    def variables_published(self, allowed: Mask) -> Mask:
        """Say which variables may be published."""
        own = allowed[: MAGNITUDE_CELLS * len(self.variables)]
        return np.logical_and.reduce(own.reshape(-1, MAGNITUDE_CELLS), axis=1)

    def sensitivity(self) -> float:
        """Return the L2 effect of one patient: at most 1 in every slot, and a step of rounding."""
        return float(np.sqrt(self.slots)) * (STEPS + 1)

    def totals(self, released: Round) -> Totals:
        """Return the released sums.

        Raises:
            TotalsMalformed: another number of totals.
        """
        if len(released.totals) != self.slots:
            raise TotalsMalformed("another number of totals", need=self.slots)
        values = [Fraction(total, STEPS) for total in released.totals]
        width = len(self.variables)
        products = dict(zip(self.pairs, values[width:], strict=True))
        return Totals(self.variables, released.patients, tuple(values[:width]), products)


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all patients, exact from the released steps on: nothing cancels.

    Attributes:
        count: patients, at least 1 for every method.
        sums, products: of the values on -1..1.
    """

    variables: Sequence[Variable]
    count: int
    sums: tuple[Fraction, ...]
    products: dict[Pair, Fraction]

    def total(self, i: int) -> Fraction:
        """Return the sum of a variable's values."""
        variable = self.variables[i]
        return self.count * Fraction(variable.middle) + Fraction(variable.half) * self.sums[i]

    def mean(self, i: int) -> Fraction:
        """Return the mean of a variable's values."""
        return self.total(i) / self.count

    def centred(self, i: int, j: int) -> Fraction:
        """Return the sum of (a - mean a)(b - mean b)."""
        product = self.products[min(i, j), max(i, j)] - self.sums[i] * self.sums[j] / self.count
        return Fraction(self.variables[i].half) * Fraction(self.variables[j].half) * product

    def covariance(self, i: int, j: int) -> Fraction:
        """Return the unbiased covariance of two variables; at least two patients."""
        return self.centred(i, j) / (self.count - 1)


def all_pairs(width: int) -> tuple[Pair, ...]:
    """Return every pair of places, the upper triangle by rows."""
    return tuple((i, j) for i in range(width) for j in range(i, width))


ERROR_OF_SUMS = (
    "each sum is off by at most 2^-34 of half its plausible range (products: of both) for every "
    "hospital and 65,536 patients of it, plus the rounding of doubles; all after it is exact"
)
