"""What a query of a dashboard or an alert names, and the queries themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, Final

import yaml

from tools.chart_files import ALERTS, DASHBOARDS

ROOT: Final = DASHBOARDS.parents[1]
PAGE: Final = ROOT / "docs/metrics.md"
# What Prometheus, or the ServiceMonitor, gives every series.
TARGET_LABELS: Final = frozenset({"namespace", "member", "component", "instance", "job"})
# What Prometheus' operator gives every target besides; only in Kubernetes, so that no query asks.
OPERATORS_LABELS: Final = frozenset({"service", "pod", "container", "endpoint"})
HISTOGRAM_PARTS: Final = ("_bucket", "_sum", "_count")

ROW: Final = re.compile(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)
CLIENTS_OWN: Final = re.compile(r"`(process_\w+|python_\w+)`")  # named in one sentence
NAME: Final = re.compile(r"(?<![\w$:])([a-zA-Z_][\w:]*)(?![\w:]*\s*\()")
GROUPED: Final = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
SELECTED: Final = re.compile(r"([a-zA-Z_][\w:]*)\{([^}]*)\}")
MATCHER: Final = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
KEYWORDS: Final = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan"})


@dataclass(frozen=True, slots=True)
class Shown:
    """One query of a dashboard, as Grafana sends it but for the variables."""

    board: str
    panel: str
    expression: str
    legend: str

    def __str__(self) -> str:
        return f"{self.board}: {self.panel}: {self.expression}"


def boards() -> dict[str, Any]:
    """Return the dashboards that are committed, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def panels(board: Any) -> Iterator[Any]:
    """Yield a dashboard's panels, its headlines left out."""
    return (panel for panel in board["panels"] if panel["type"] != "row")


def shown() -> list[Shown]:
    """Return every query of every dashboard."""
    return [
        Shown(name, panel["title"], target["expr"], target["legendFormat"])
        for name, board in boards().items()
        for panel in panels(board)
        for target in panel["targets"]
    ]


def rules() -> list[Mapping[str, Any]]:
    """Return every rule of deploy/alerts, recorded ones too."""
    groups: list[Any] = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def listed() -> dict[str, Set[str]]:
    """Return the labels of each series that docs/metrics.md or a recording rule promises."""
    page = PAGE.read_text(encoding="utf-8")
    found: dict[str, Set[str]] = {name: frozenset() for name in CLIENTS_OWN.findall(page)}
    for name, kind, labels in ROW.findall(page):
        own: Set[str] = frozenset(re.findall(r"\w+", labels))
        names = [name + part for part in HISTOGRAM_PARTS] if kind == "histogram" else [name]
        found |= {one: own | {"le"} if one.endswith("_bucket") else own for one in names}
    recorded = [str(rule["record"]) for rule in rules() if "record" in rule]
    return found | dict.fromkeys([*recorded, "up"], frozenset[str]())  # `up` is Prometheus' own


def metrics(expression: str) -> set[str]:
    """Return the names of the series that an expression reads."""
    bare = QUOTED.sub("", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", GROUPED.sub("", bare))
    bare = re.sub(r"\boffset\s+\w+|\b\d[\w.]*", "", bare)
    return {name for name in NAME.findall(bare) if name.lower() not in KEYWORDS}


def unknown_labels(expression: str, legend: str, known: Mapping[str, Set[str]]) -> set[str]:
    """Return the labels that an expression or its legend names and no series of it has."""
    bare = QUOTED.sub('""', expression)
    unknown: set[str] = set()
    for name, matchers in SELECTED.findall(bare):
        wanted = set(MATCHER.findall(matchers))
        unknown |= wanted - known.get(name, frozenset()) - TARGET_LABELS
    every = TARGET_LABELS.union(*(known.get(name, frozenset()) for name in metrics(expression)))
    used = {one.strip() for group in GROUPED.findall(bare) for one in group.split(",")} - {""}
    return unknown | ((used | set(re.findall(r"\{\{\s*(\w+)", legend))) - every)
