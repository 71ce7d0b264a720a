"""Rows of the memory of pods, and the table of docs/operations.md that is made from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.chart_memory import pod_memory
from bench.load.ledgers import NODE
from bench.pods import MIB, Peaks
from bench.results import Row, Spread, Target
from cipherward_client.alliance.layout import CHAIN_SERVICES, MEMBER_SERVICES

WORKER: Final = "worker"
# Each with the service in whose pod it is.
KINDS: Final[Mapping[str, str]] = {
    **{service: service for service in CHAIN_SERVICES},
    NODE: "ledger",
    **{service: service for service in MEMBER_SERVICES},
    WORKER: WORKER,
}
REST, LOAD = "at rest", "under load"
TABLE_HEAD: Final = ("| pod | at rest | under load | request | limit |", "|---|---|---|---|---|")


def row_name(kind: str, when: str) -> str:
    """Return the name of a kind's row; `when` is REST or LOAD."""
    return f"service-memory: {kind}, {when}"


def names_of(*kinds: str) -> tuple[str, ...]:
    """Return the names of the rows of these kinds, in the order of `rows`."""
    return tuple(row_name(kind, when) for kind in KINDS if kind in kinds for when in (REST, LOAD))


def rows(rest: Peaks, loads: Mapping[str, Peaks]) -> list[Row]:
    """Return a row for each kind of pod, at rest and under all loads: the greatest pod's figure.

    Args:
        rest: what every pod held at rest; loads: at most under each load, by its name.
    """
    most = {pod: max(peaks[pod] for peaks in loads.values()) for pod in rest}
    found: list[Row] = []
    for kind in KINDS:
        if not of_kind(kind, rest):
            continue
        heaviest = max(loads, key=lambda name: max(of_kind(kind, loads[name])))
        limit = Target(pod_memory(KINDS[kind]).limit, at_least=False)
        for when, peaks, why in ((REST, rest, ""), (LOAD, most, f", most under {heaviest}")):
            values = of_kind(kind, peaks)
            spread = Spread.extremes(values, f"pods{why}")
            found.append(Row(row_name(kind, when), max(values), "MiB", spread, limit))
    return found


def of_kind(kind: str, peaks: Peaks) -> list[float]:
    """Return what the pods of a kind held, in MiB."""
    return [octets / MIB for pod, octets in peaks.items() if pod.kind == kind]


def table(document: Mapping[str, Any]) -> str:
    """Return what a results document says of each pod, beside what the chart gives it."""
    value = {row["name"]: f"{row['value']:.0f} Mi" for row in document["results"]}
    lines: list[str] = [*TABLE_HEAD]
    for kind, service in KINDS.items():
        given, title = pod_memory(service), kind
        bounds = f"{given.request} Mi", f"{given.limit} Mi"
        if kind != service:
            title, bounds = f"of it, the {kind}", ("", "")
        measured = (value[row_name(kind, when)] for when in (REST, LOAD))
        lines.append(f"| {' | '.join((title, *measured, *bounds))} |")
    return "\n".join(lines)
