"""Two groups' means compared: Welch's test and the one with a pooled variance.

Source: Welch, "The generalization of 'Student's' problem when several different population
variances are involved", Biometrika 34, 1947.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from cipherward_studies.analyses.group_sums import GroupMoments, GroupSums
from cipherward_studies.analyses.groups import Groups
from cipherward_studies.analyses.plain import plain
from cipherward_studies.analysis import Cell, OneRound, Round
from cipherward_studies.distributions import t_quantile, t_two_sided
from cipherward_studies.errors import AnalysisRefused
from cipherward_studies.forms import Form, variable_name
from cipherward_studies.number_forms import Number, Numbers
from cipherward_studies.second_moments import ERROR_OF_SUMS
from cipherward_studies.variables import Columns, Integers, Mask, Variable


@dataclass(frozen=True, slots=True)
class TTest:
    """Whether a variable has one mean in two groups.

    Attributes:
        group, groups: variable that tells the groups apart, and its two values, ascending.
        confidence: of the difference's interval.
    """

    kind: ClassVar[str] = "t_test"
    forms: ClassVar[tuple[Form, ...]] = (
        variable_name("variable"),
        variable_name("group"),
        Numbers("groups", 2, 2),
        Number("confidence", 0.5, 0.999, 0.95),
    )

    variable: str
    group: str
    groups: tuple[float, ...]
    confidence: float = 0.95

    def __post_init__(self) -> None:
        Groups(self.group, self.groups)
        if len(self.groups) != 2:
            raise AnalysisRefused("a t-test compares two groups", have=len(self.groups))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return `t_test`."""
        return ("t_test",)

    @property
    def variables(self) -> tuple[str, ...]:
        """Return the variable and the one of the groups."""
        return (self.variable, self.group)

    def plan(self, variables: Mapping[str, Variable]) -> TTestPlan:
        """Return the plan.

        Raises:
            AnalysisRefused: the groups are told apart by the variable itself.
        """
        groups = Groups(self.group, self.groups)
        return TTestPlan(GroupSums(variables[self.variable], groups), self.confidence)


@dataclass(frozen=True, slots=True)
class GroupMean:
    """One group; None, `left_out`, where too few patients, or one of them, are behind a sum."""

    group: float
    patients: float | None
    mean: float | None
    standard_deviation: float | None
    left_out: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """A test that the difference, first mean minus second, is 0; and its confidence interval."""

    statistic: float
    degrees_of_freedom: float
    p_value: float
    standard_error: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class TTestResult:
    """What is found.

    Attributes:
        outcome: `tested`; `left_out` when a group is; `constant` when the variable varies in no
            group, so that there is nothing to test against.
        difference: first mean minus second.
        welch, pooled: with the groups' own variances, and with one for both.
    """

    kind: ClassVar[str] = "t_test"

    variable: str
    group: str
    confidence: float
    outcome: str
    groups: tuple[GroupMean, ...]
    difference: float | None
    welch: Comparison | None
    pooled: Comparison | None

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return plain(self)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return the two tests."""
        named = (("welch", self.welch), ("pooled", self.pooled))
        return [
            {"test": name, "difference": self.difference} | asdict(test)
            for name, test in named
            if test is not None
        ]


@dataclass(frozen=True, slots=True)
class TTestPlan(OneRound):
    """The sums of both groups."""

    sums: GroupSums
    confidence: float

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Return the sums' cells."""
        return self.sums.cells

    @property
    def slots(self) -> int:
        """Return how many sums there are."""
        return self.sums.slots

    def count(self, rows: Columns) -> Integers:
        """Return the cells' counts over a chunk."""
        return self.sums.count(rows)

    def local(self, rows: Columns, allowed: Mask, parameters: bytes) -> Integers:
        """Return the sums over a chunk."""
        return self.sums.local(rows, allowed)

    def sensitivity(self, parameters: bytes) -> float:
        """Return the L2 effect of one patient, in steps."""
        return self.sums.sensitivity()

    def finish(self, rounds: Sequence[Round], allowed: Mask) -> TTestResult:
        """Return the tests.

        Raises:
            TotalsMalformed: another number of totals.
        """
        moments = self.sums.moments(rounds[0], allowed)
        first, second = moments
        outcome, welch, pooled = "left_out", None, None
        difference = first.mean - second.mean if first and second else None
        if first and second:
            welch, pooled = _welch(first, second, self), _pooled(first, second, self)
            outcome = "tested" if welch and pooled else "constant"
        return TTestResult(
            variable=self.sums.variable.name,
            group=self.sums.groups.variable,
            confidence=self.confidence,
            outcome=outcome,
            groups=tuple(
                group_mean(code, found)
                for code, found in zip(self.sums.groups.codes, moments, strict=True)
            ),
            difference=difference,
            welch=welch,
            pooled=pooled,
        )

    def error_bounds(self) -> Mapping[str, str]:
        """Return the error of the sums, from which all else follows."""
        return {"t_test": ERROR_OF_SUMS}


def group_mean(code: float, found: GroupMoments | None) -> GroupMean:
    """Return what is printed of a group."""
    if found is None:
        return GroupMean(code, None, None, None, True)
    return GroupMean(code, found.patients, found.mean, math.sqrt(found.variance), False)


def _welch(first: GroupMoments, second: GroupMoments, plan: TTestPlan) -> Comparison | None:
    shares = [one.variance / one.patients for one in (first, second)]
    if sum(shares) <= 0:
        return None
    # Welch, Satterthwaite.
    parts = [
        share * share / (one.patients - 1)
        for share, one in zip(shares, (first, second), strict=True)
    ]
    freedom = sum(shares) ** 2 / sum(parts)
    return _compare(first.mean - second.mean, math.sqrt(sum(shares)), freedom, plan.confidence)


def _pooled(first: GroupMoments, second: GroupMoments, plan: TTestPlan) -> Comparison | None:
    freedom = first.patients + second.patients - 2
    variance = (first.squares + second.squares) / freedom
    if variance <= 0:
        return None
    error = math.sqrt(variance * (1 / first.patients + 1 / second.patients))
    return _compare(first.mean - second.mean, error, freedom, plan.confidence)


def _compare(difference: float, error: float, freedom: float, confidence: float) -> Comparison:
    statistic = difference / error
    width = t_quantile((1 + confidence) / 2, freedom) * error
    return Comparison(
        statistic=statistic,
        degrees_of_freedom=freedom,
        p_value=t_two_sided(statistic, freedom),
        standard_error=error,
        lower=difference - width,
        upper=difference + width,
    )
