"""The results as people read them: in the terminal, and in the README."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

# What a reader of the README wants to know first.
HEADLINES = frozenset(
    (
        "demo-seconds",
        "ledger-throughput",
        "comet-4",
        "key-release",
        "revocation",
        "receipts",
        "record-get",
        "study-survival",
        "study-cox",
        "study-sums",
    )
)
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


class MarkersMissing(ValueError):
    """A page has no lines between which the table belongs."""


def terminal_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the rows as a table."""
    table = Table("what", "measured", "spread", "target", "", "peer", "ratio", box=None)
    for row in rows:
        mark = "[green]met[/]" if row["met"] else "[bold red]MISSED[/]"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        measured = f"{_figure(row['value'])} {row['unit']}"
        table.add_row(row["name"], measured, _spread(row), row["target"], mark, row["peer"], ratio)
    return table


def headlines(document: Mapping[str, Any]) -> str:
    """Return what the README shows of a results document: what people ask for, and every miss."""
    results = document["results"]
    shown = [row for row in results if row["name"] in HEADLINES or not row["met"]]
    return "\n".join(
        [
            *_lines(shown),
            "",
            f"{len(results)} figures are measured, those that miss their target are all here: "
            "[docs/performance.md](docs/performance.md) has the others, and says what they mean.",
        ]
    )


def markdown(document: Mapping[str, Any]) -> str:
    """Return the whole table of a results document, and the machine."""
    machine = document["machine"]
    return "\n".join(
        [
            *_lines(document["results"]),
            "",
            f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}; load before "
            f"the last run {machine['load_before']}. `make bench` measures again.",
        ]
    )


def _lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["| what | measured | spread | target | |", "|---|---|---|---|---|"]
    for row in rows:
        measured = f"{_figure(row['value'])} {row['unit']}"
        if row["ratio"] is not None and "peer" in row["target"]:
            measured += f" ({row['ratio']:.0%} of {row['peer']})".replace("%", " %")
        elif row["peer"]:
            measured += f" ({row['peer']})"
        mark = "met" if row["met"] else "**missed**"
        lines.append(f"| {row['name']} | {measured} | {_spread(row)} | {row['target']} | {mark} |")
    return lines


def with_table(page: str, table: str, markers: tuple[str, str] = (BEGIN, END)) -> str:
    """Return a page with `table` between its two marker lines.

    Raises:
        MarkersMissing: the page has not both, in order.
    """
    first, last = markers
    before, begin, rest = page.partition(f"{first}\n")
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise MarkersMissing(f"the page has no {first} and {last}")
    return f"{before}{begin}{table}\n{end}{after}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def _spread(row: Mapping[str, Any]) -> str:
    spread = row["spread"]
    return f"{_figure(spread['low'])}..{_figure(spread['high'])} ({spread['of']})"
