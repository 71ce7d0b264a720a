"""The plan of a study of stored columns: which ciphertexts are computed, and what they say.

A pure function of the study's text, like `plan`. Every ciphertext opens as one integer, the sum of
its slots; f is a column of flags:

| ciphertexts | for each product, in the text's order |
|---|---|
| counts | sum of fx * fy |
| values | 2 * sum of fx * fy; sum of x * fy; sum of fx * y; sum of x * y |

The patients stand in the values once more, doubled: a ciphertext is opened once, and that of the
counts was opened among the members.

Nobody knows which of the patients are its own at the other member, so nothing is subtracted from
the counts: the patients whom both members have are judged against the minimum as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cipherward_studies.analyses.product_sum import Operand, ProductSum, ProductSumResult
from cipherward_studies.analysis import Cell
from cipherward_studies.answer import Answer
from cipherward_studies.columns import VALUE_BITS, ColumnKind, ColumnText
from cipherward_studies.errors import (
    AnalysisRefused,
    CohortTooSmall,
    ColumnsDiffer,
    CountsMalformed,
    TotalsMalformed,
)
from cipherward_studies.plan import Plan, Released
from cipherward_studies.spec import StudySpec
from cipherward_studies.variables import Variable

VALUES_OF_PRODUCT = 4
ColumnStage: TypeAlias = Literal["counts", "values"]


@dataclass(frozen=True, slots=True)
class Factor:
    """All blocks of a member's column."""

    at: str
    variable: str
    kind: ColumnKind


@dataclass(frozen=True, slots=True)
class Term:
    """A ciphertext: `times` times the sum over all slots of the product of two columns."""

    first: Factor
    second: Factor
    times: int = 1


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """The plan of one study of stored columns; make it with `of`."""

    spec: StudySpec
    products: tuple[ProductSum, ...]

    @classmethod
    def of(cls, spec: StudySpec) -> ColumnPlan:
        """Return the plan of a study.

        Raises:
            AnalysisRefused: it asks for something that is computed over rows, or for nothing; or
                for products of a column of two values.
        """
        products = tuple(one for one in spec.analyses if isinstance(one, ProductSum))
        if not products or len(products) < len(spec.analyses):
            raise AnalysisRefused("a study of stored columns has analyses of product_sum alone")
        declared = {variable.name: variable for variable in spec.variables}
        for one in products:
            for operand in (one.x, one.y):
                _refuse_two_values(operand, declared[operand.variable])
        return cls(spec, products)

    def terms(self, stage: ColumnStage) -> tuple[Term, ...]:
        """Return the ciphertexts of a stage, in order."""
        found: list[Term] = []
        for one in self.products:
            fx, fy = _factor(one.x, "flag"), _factor(one.y, "flag")
            if stage == "counts":
                found.append(Term(fx, fy))
                continue
            x, y = _factor(one.x, "value"), _factor(one.y, "value")
            found += [Term(fx, fy, 2), Term(x, fy), Term(fx, y), Term(x, y)]
        return tuple(found)

    def check_columns(self, text: ColumnText, members: Sequence[str]) -> None:
        """Accept the columns that the study is to be computed on.

        Args:
            text: of the data key.
            members: who store columns under it.

        Raises:
            ColumnsDiffer: a column is not there, or not as the study's text says.
        """
        if text.data_set != self.spec.data_set:
            raise ColumnsDiffer("the columns are of another data set than the study")
        declared = {variable.name: variable for variable in self.spec.variables}
        for one in self.products:
            for operand in (one.x, one.y):
                if operand.at not in members:
                    raise ColumnsDiffer(f"{operand.at} stores no columns under this key")
                _check_operand(operand, declared[operand.variable], text)

    def bound(self, slots: int) -> int:
        """Return the most that a sum over so many slots can be, of either sign."""
        return slots << 2 * VALUE_BITS

    def verdict(self, counts: Sequence[int], slots: int) -> tuple[int, ...]:
        """Return the cells that are left out: none, since the study fails as a whole.

        Args:
            counts: opened, one for each product.
            slots: of the columns.

        Raises:
            CountsMalformed: counts that no patients have.
            CohortTooSmall: fewer patients than the minimum have both values.
        """
        if len(counts) != len(self.products) or any(not 0 <= one <= slots for one in counts):
            raise CountsMalformed("the counts are none of patients with a slot")
        if min(counts) < self.spec.minimum:
            raise CohortTooSmall(
                "fewer patients than the minimum have a value at both members",
                minimum=self.spec.minimum,
            )
        return ()

    @property
    def rounds(self) -> int:
        """The rounds of values that are released: one."""
        return 1

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells that may be left out: none, since the study fails as a whole."""
        return ()

    def advance(self, rounds: Sequence[Released], left_out: Sequence[int]) -> bytes | None:
        """Return None: there is one round."""
        return None

    def finish(self, rounds: Sequence[Released], left_out: Sequence[int]) -> Answer:
        """Return the study's answer, from its one round.

        Raises:
            TotalsMalformed: totals that no patients have.
        """
        if len(rounds) != 1 or left_out:
            raise TotalsMalformed("a study of stored columns has one round, and leaves nothing out")
        totals = rounds[0].totals
        if len(totals) != VALUES_OF_PRODUCT * len(self.products):
            raise TotalsMalformed("another number of totals", need=len(self.terms("values")))
        results: list[ProductSumResult] = []
        for place, one in enumerate(self.products):
            at = place * VALUES_OF_PRODUCT
            doubled, sum_x, sum_y, product = totals[at : at + VALUES_OF_PRODUCT]
            if doubled % 2 or doubled < 2 * self.spec.minimum:
                raise TotalsMalformed("the number of patients is none that may be published")
            results.append(one.finish(doubled // 2, sum_x, sum_y, product))
        return Answer(
            patients=min(one.patients for one in results),
            excluded=None,
            minimum=self.spec.minimum,
            private=False,
            rounds=1,
            left_out=(),
            results=tuple(results),
        )


def plan_for(spec: StudySpec) -> Plan | ColumnPlan:
    """Return the plan of a study of either kind.

    Raises:
        AnalysisRefused, TooManySlots, UnknownProfile: as the plans' own `of`.
    """
    return ColumnPlan.of(spec) if is_of_columns(spec) else Plan.of(spec)


def is_of_columns(spec: StudySpec) -> bool:
    """Return whether a study is computed on stored columns; its text mixes nothing."""
    return any(isinstance(one, ProductSum) for one in spec.analyses)


def _factor(operand: Operand, kind: ColumnKind) -> Factor:
    return Factor(operand.at, operand.variable, kind)


def _refuse_two_values(operand: Operand, declared: Variable) -> None:
    """Refuse a column that can hold two values only.

    Its sums and products would be numbers of patients (or sums over them) that nobody has held
    against the minimum, as a table's cells are.
    """
    scale = 1 << operand.fraction_bits
    if round(declared.high * scale) - round(declared.low * scale) <= 1:
        raise AnalysisRefused(
            f"{declared.name} has two values: a sum of its products counts patients of a cell that "
            "nobody has held against the minimum",
            variable=declared.name,
        )


def _check_operand(operand: Operand, declared: Variable, text: ColumnText) -> None:
    name = operand.variable
    if name not in text.names:
        raise ColumnsDiffer(f"no column of {name} is stored under this key")
    stored = text.variable(name)
    if stored.fraction_bits != operand.fraction_bits:
        raise ColumnsDiffer(f"{name} is stored with {stored.fraction_bits} fraction bits")
    if stored.unit != declared.unit:
        raise ColumnsDiffer(f"{name} is stored in another unit than the study has it in")
    if (stored.low, stored.high) != (declared.low, declared.high):
        raise ColumnsDiffer(f"{name} is stored for {stored.low:g} to {stored.high:g}")
