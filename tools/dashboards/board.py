"""What a dashboard is before it is Grafana's: sections of panels, and panels of queries.

Queries are PromQL with two short forms: `$of`, the labels that the dashboard's variables choose,
and `$every`, the window of a rate at the resolution that is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

# Every target has these labels beside Prometheus' own: a ServiceMonitor gives them in Kubernetes.
NAMESPACE: Final = "namespace"
MEMBER: Final = "member"
COMPONENT: Final = "component"
STALE_SECONDS: Final = 30  # three heartbeats: rights are silent from then on
# Grafana's own: at least four scrapes, so that a rate has two samples even if one was missed.
EVERY: Final = "$__rate_interval"


class Kind(Enum):
    """How a panel shows its queries."""

    LINES = "lines"
    STACK = "stack"  # lines on top of each other: parts of a whole
    NUMBER = "number"  # the newest value, large
    STATES = "states"  # bars over time of 1 (as it should be) and 0


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and how its series are named: `{{label}}` is a label's value."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture.

    Attributes:
        description: what it shows, and what a bad value means; shown behind the panel's `i`.
        unit: Grafana's id of the unit of all queries: s, reqps, percentunit, bytes, short, ...
        bad_from: values from here on are red; None: no value is bad by itself.
        good_from: values below are red; only where `bad_from` is None.
        ceiling: the largest value that there can be, for shares of a whole.
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = Kind.LINES
    bad_from: float | None = None
    good_from: float | None = None
    ceiling: float | None = None

    @property
    def width(self) -> int:
        """Of the 24 columns of a dashboard."""
        return {Kind.NUMBER: 4, Kind.STATES: 24}.get(self.kind, 8)

    @property
    def height(self) -> int:
        """In rows of 30 pixels."""
        return 4 if self.kind is Kind.NUMBER else 8


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under one headline."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard.

    Attributes:
        name: of its file and its address in Grafana; never changed, or links to it break.
        by_component: whether one can choose single services.
    """

    name: str
    title: str
    description: str
    sections: tuple[Section, ...]
    by_component: bool = False

    @property
    def variables(self) -> tuple[str, ...]:
        """The labels that one can choose by, from the widest to the narrowest."""
        return (NAMESPACE, MEMBER, COMPONENT) if self.by_component else (NAMESPACE, MEMBER)

    def promql(self, expression: str) -> str:
        """Return an expression with its short forms written out."""
        return expression.replace("$of", matchers(self.variables)).replace("$every", EVERY)


def matchers(labels: Sequence[str]) -> str:
    """Return the label matchers of variables that are named like their labels."""
    return ",".join(f'{label}=~"${label}"' for label in labels)
