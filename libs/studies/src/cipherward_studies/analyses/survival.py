"""Survival by group: Kaplan-Meier curves with bands, medians, and the log-rank test.

Each member sends how many of its patients leave in each bucket, with and without an event: whole
numbers, so the answer is that of all patients together, to the last digit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from cipherward_studies.analyses.buckets import BUCKETS_MAX, Buckets, Places
from cipherward_studies.analyses.groups import GROUPS_MAX, Groups
from cipherward_studies.analyses.plain import plain
from cipherward_studies.analyses.survival_curves import Curve, LogRank, curve, log_rank
from cipherward_studies.analysis import FRACTION_BITS, Cell, OneRound, Round
from cipherward_studies.errors import AnalysisRefused, TotalsMalformed
from cipherward_studies.forms import Form, variable_name
from cipherward_studies.number_forms import Number, Numbers
from cipherward_studies.variables import Columns, Floats, Integers, Mask, Variable

UNIT = 1 << FRACTION_BITS  # a patient: as large as any other sum's step, so noise treats them alike


@dataclass(frozen=True, slots=True)
class Survival:
    """Time to an event, by group.

    Attributes:
        time: variable with the time under observation, from 0.
        event: flag: its high value if the observation ended with the event, else censored.
        ends: of the time buckets; see `Buckets`.
        group, groups: variable that tells the groups apart and its values; "" and () for one
            group of all patients. Patients of other values are left out.
        confidence: of bands and intervals.
    """

    kind: ClassVar[str] = "survival"
    forms: ClassVar[tuple[Form, ...]] = (
        variable_name("time"),
        variable_name("event"),
        Numbers("ends", 1, BUCKETS_MAX),
        variable_name("group", optional=True),
        Numbers("groups", 0, GROUPS_MAX, default=()),
        Number("confidence", 0.5, 0.999, 0.95),
    )

    time: str
    event: str
    ends: tuple[float, ...]
    group: str = ""
    groups: tuple[float, ...] = ()
    confidence: float = 0.95

    def __post_init__(self) -> None:
        Buckets(self.ends)
        Groups(self.group, self.groups)
        if len(set(self.variables)) < len(self.variables):
            raise AnalysisRefused("time, event and group are different variables")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return `survival`."""
        return ("survival",)

    @property
    def variables(self) -> tuple[str, ...]:
        """Return time, event and, if there is one, group."""
        return (self.time, self.event) + ((self.group,) if self.group else ())

    def plan(self, variables: Mapping[str, Variable]) -> SurvivalPlan:
        """Return the plan.

        Raises:
            AnalysisRefused: the event is no flag, or the time may be negative.
        """
        check_time_and_event(variables[self.time], variables[self.event])
        buckets, groups = Buckets(self.ends), Groups(self.group, self.groups)
        return SurvivalPlan(self, variables[self.time], variables[self.event], buckets, groups)


def check_time_and_event(time: Variable, event: Variable) -> None:
    """Refuse variables that are no time under observation and its end.

    Raises:
        AnalysisRefused: they are not.
    """
    if event.kind != "flag":
        raise AnalysisRefused(f"the event {event.name} is not a flag", variable=event.name)
    if time.kind != "number" or time.low < 0:
        raise AnalysisRefused(f"the time {time.name} may be negative", variable=time.name)


@dataclass(frozen=True, slots=True)
class GroupSurvival:
    """One group's curve; None, with outcome `left_out`, when too few patients are behind it."""

    group: float | None
    outcome: str
    curve: Curve | None


@dataclass(frozen=True, slots=True)
class SurvivalResult:
    """What is found.

    Attributes:
        groups: in the order of the text.
        log_rank: None when fewer than two groups have a curve, or nothing can be compared.
    """

    kind: ClassVar[str] = "survival"

    time: str
    event: str
    group: str
    confidence: float
    groups: tuple[GroupSurvival, ...]
    log_rank: LogRank | None

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return plain(self)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return the steps of all curves."""
        return [
            {"group": one.group} | asdict(point)
            for one in self.groups
            if one.curve is not None
            for point in one.curve.points
        ]


@dataclass(frozen=True, slots=True)
class _Published:
    """Which groups have a curve, and where patients of each bucket are counted."""

    groups: Mask
    events: Places
    censored: Places


@dataclass(frozen=True, slots=True)
class SurvivalPlan(OneRound):
    """The numbers of leaving patients: [group, with event or censored, bucket]."""

    analysis: Survival
    time: Variable
    event: Variable
    buckets: Buckets
    groups: Groups

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Return each group, then each group's runs of buckets: with event, then censored."""
        return self.groups.cells + tuple(
            cell
            for label in self.groups.labels
            for what in ("events", "censored")
            for cell in self.buckets.cells(
                f"{label}, {what}", self.analysis.variables, partition=f"{label}, how it ends"
            )
        )

    @property
    def cuts(self) -> Mapping[str, tuple[float, ...]]:
        """Return where time is cut."""
        return {self.time.name: self.buckets.cuts(self.time)}

    @property
    def slots(self) -> int:
        """Return two a group and bucket."""
        return 2 * self.groups.number * len(self.buckets.ends)

    def count(self, rows: Columns) -> Integers:
        """Return the sizes of groups, and the patients who leave in each run."""
        parts = [self.groups.count(rows)]
        for places, happened in self._leaving(rows):
            parts += [self.buckets.count(places[happened]), self.buckets.count(places[~happened])]
        return np.concatenate(parts).astype(np.int64)

    def local(self, rows: Columns, allowed: Mask, parameters: bytes) -> Integers:
        """Return the patients who leave in each published bucket, in units."""
        found = np.zeros((self.groups.number, 2, len(self.buckets.ends)), dtype=np.int64)
        published = self._published(allowed)
        if published is None:
            return found.ravel()
        for group, (places, happened) in enumerate(self._leaving(rows)):
            if published.groups[group]:
                width = len(self.buckets.ends)
                found[group, 0] = np.bincount(published.events[places[happened]], None, width)
                found[group, 1] = np.bincount(published.censored[places[~happened]], None, width)
        return found.ravel() * UNIT

    def sensitivity(self, parameters: bytes) -> float:
        """Return one patient: each leaves once."""
        return float(UNIT)

    def finish(self, rounds: Sequence[Round], allowed: Mask) -> SurvivalResult:
        """Return curves and test.

        Raises:
            TotalsMalformed: not one round of `slots` totals.
        """
        if len(rounds) != 1 or len(rounds[0].totals) != self.slots:
            raise TotalsMalformed("survival has another number of totals", need=self.slots)
        numbers = np.array(rounds[0].totals, dtype=np.float64) / UNIT
        numbers = np.maximum(numbers, 0.0).reshape(self.groups.number, 2, -1)  # noise goes below
        published = self._published(allowed)
        live = np.zeros(self.groups.number, dtype=np.bool_)
        if published is not None:
            live = published.groups & (numbers.sum(axis=(1, 2)) > 0)
        compared = numbers[live]
        return SurvivalResult(
            time=self.analysis.time,
            event=self.analysis.event,
            group=self.analysis.group,
            confidence=self.analysis.confidence,
            groups=tuple(
                self._group(place, numbers[place], bool(live[place]))
                for place in range(self.groups.number)
            ),
            log_rank=(
                log_rank(compared[:, 0], compared[:, 1]) if np.count_nonzero(live) > 1 else None
            ),
        )

    def error_bounds(self) -> Mapping[str, str]:
        """Return that only the buckets are not exact."""
        return {
            "survival": (
                "none beside the buckets: the answer equals the pooled analysis of times that are"
                " rounded up to the end of their bucket, and the pooled analysis itself where"
                " every time is such an end; buckets with too few patients are joined with others;"
                " who stays beyond the last end is censored there; a median is the end of a bucket"
            )
        }

    def _group(self, place: int, numbers: Floats, live: bool) -> GroupSurvival:
        code = self.groups.codes[place] if self.groups.codes else None
        if not live:
            return GroupSurvival(code, "left_out", None)
        found = curve(self.buckets.ends, numbers[0], numbers[1], self.analysis.confidence)
        return GroupSurvival(code, "estimated", found)

    def _leaving(self, rows: Columns) -> list[tuple[Places, Mask]]:
        happened = rows[self.event.name] == self.event.high
        places, happened = self.buckets.leave(rows[self.time.name], happened)
        return [(places[mine], happened[mine]) for mine in self.groups.masks(rows)]

    def _published(self, allowed: Mask) -> _Published | None:
        """Return what may be published: one set of buckets for all groups, so they compare."""
        groups = self.groups.number
        runs = allowed[groups:].reshape(groups, 2, self.buckets.runs)
        live = allowed[:groups] & runs[:, :, 0].all(axis=1)
        events = self.buckets.published(np.logical_and.reduce(runs[live, 0], axis=0))
        censored = self.buckets.published(np.logical_and.reduce(runs[live, 1], axis=0))
        if not live.any() or events is None or censored is None:
            return None
        return _Published(live, events, events[censored])  # one set of ends for both
