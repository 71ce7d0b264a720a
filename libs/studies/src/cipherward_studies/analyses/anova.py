"""One-way analysis of variance: whether a variable has one mean in all groups.

Source: Fisher, "Statistical Methods for Research Workers", 1925, ch. 7; eta squared: Cohen,
"Statistical Power Analysis for the Behavioral Sciences", 2nd ed., 8.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from cipherward_studies.analyses.group_sums import GroupMoments, GroupSums
from cipherward_studies.analyses.groups import GROUPS_MAX, Groups
from cipherward_studies.analyses.plain import plain
from cipherward_studies.analyses.t_test import GroupMean, group_mean
from cipherward_studies.analysis import Cell, OneRound, Round
from cipherward_studies.distributions import f_sf
from cipherward_studies.forms import Form, variable_name
from cipherward_studies.number_forms import Numbers
from cipherward_studies.second_moments import ERROR_OF_SUMS
from cipherward_studies.variables import Columns, Integers, Mask, Variable


@dataclass(frozen=True, slots=True)
class Anova:
    """Whether a variable has one mean in all groups.

    Attributes:
        group, groups: variable that tells the groups apart, and its values, ascending. Patients
            of other values are left out.
    """

    kind: ClassVar[str] = "anova"
    forms: ClassVar[tuple[Form, ...]] = (
        variable_name("variable"),
        variable_name("group"),
        Numbers("groups", 2, GROUPS_MAX),
    )

    variable: str
    group: str
    groups: tuple[float, ...]

    def __post_init__(self) -> None:
        Groups(self.group, self.groups)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return `anova`."""
        return ("anova",)

    @property
    def variables(self) -> tuple[str, ...]:
        """Return the variable and the one of the groups."""
        return (self.variable, self.group)

    def plan(self, variables: Mapping[str, Variable]) -> AnovaPlan:
        """Return the plan.

        Raises:
            AnalysisRefused: the groups are told apart by the variable itself.
        """
        return AnovaPlan(GroupSums(variables[self.variable], Groups(self.group, self.groups)))


@dataclass(frozen=True, slots=True)
class Source:
    """A row of the table: where variance comes from."""

    source: str
    sum_of_squares: float
    degrees_of_freedom: float
    mean_square: float


@dataclass(frozen=True, slots=True)
class AnovaResult:
    """What is found, over the groups that are not left out.

    Attributes:
        outcome: `tested`; `left_out` when fewer than two groups remain; `constant` when the
            variable varies in no group.
        eta_squared: share of the variance that lies between the groups, 0..1.
    """

    kind: ClassVar[str] = "anova"

    variable: str
    group: str
    outcome: str
    groups: tuple[GroupMean, ...]
    between: Source | None
    within: Source | None
    f_statistic: float | None
    p_value: float | None
    eta_squared: float | None

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return plain(self)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return the groups."""
        return [asdict(one) for one in self.groups]


@dataclass(frozen=True, slots=True)
class AnovaPlan(OneRound):
    """The sums of all groups."""

    sums: GroupSums

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

    def finish(self, rounds: Sequence[Round], allowed: Mask) -> AnovaResult:
        """Return the table.

        Raises:
            TotalsMalformed: another number of totals.
        """
        moments = self.sums.moments(rounds[0], allowed)
        used = [one for one in moments if one is not None]
        between, within = _sources(used) if len(used) > 1 else (None, None)
        total = between.sum_of_squares + within.sum_of_squares if between and within else 0.0
        statistic = None
        if between and within and within.mean_square > 0:
            statistic = between.mean_square / within.mean_square
        outcome = "left_out" if between is None else "constant" if statistic is None else "tested"
        return AnovaResult(
            variable=self.sums.variable.name,
            group=self.sums.groups.variable,
            outcome=outcome,
            groups=tuple(
                group_mean(code, found)
                for code, found in zip(self.sums.groups.codes, moments, strict=True)
            ),
            between=between,
            within=within,
            f_statistic=statistic,
            p_value=(
                f_sf(statistic, between.degrees_of_freedom, within.degrees_of_freedom)
                if statistic is not None and between and within
                else None
            ),
            eta_squared=between.sum_of_squares / total if between and total > 0 else None,
        )

    def error_bounds(self) -> Mapping[str, str]:
        """Return the error of the sums, from which all else follows."""
        return {"anova": ERROR_OF_SUMS}


def _sources(used: Sequence[GroupMoments]) -> tuple[Source, Source]:
    patients = sum(one.patients for one in used)
    mean = sum(one.patients * one.mean for one in used) / patients
    between = sum(one.patients * (one.mean - mean) ** 2 for one in used)
    within = sum(one.squares for one in used)
    freedom = len(used) - 1
    rest = patients - len(used)  # above 0: every group has more than one patient
    return (
        Source("between", between, freedom, between / freedom),
        Source("within", within, rest, within / rest),
    )
