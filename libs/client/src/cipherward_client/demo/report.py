"""What the demonstration found: checks, times, and the table at its end."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.table import Table

TO_ITS_END = "the story comes to its end"  # its last check, or its only failed one


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold: whether it did, and the figure that shows it."""

    name: str
    passed: bool
    figure: str


@dataclass(slots=True)
class Report:
    """The checks in the order they were made, and how long each part took, in seconds."""

    checks: list[Check] = field(default_factory=list[Check])
    timings: dict[str, float] = field(default_factory=dict[str, float])

    def check(self, name: str, passed: bool, figure: str) -> bool:
        """Note a check and return whether it passed."""
        self.checks.append(Check(name, passed, figure))
        return passed

    @property
    def passed(self) -> bool:
        """Whether every check passed, and there was one."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @contextmanager
    def timed(self, name: str) -> Generator[None]:
        """Note how long the context was open, also when it fails."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.timings[name] = time.perf_counter() - started

    def document(self) -> dict[str, object]:
        """Return the report as JSON takes it."""
        return {
            "checks": [asdict(check) for check in self.checks],
            "timings": {name: round(seconds, 4) for name, seconds in self.timings.items()},
        }

    def write(self, path: Path) -> None:
        """Write the report as a JSON file."""
        path.write_text(json.dumps(self.document(), indent=1) + "\n", encoding="utf-8")

    def table(self) -> Table:
        """Return the checks as a table."""
        table = Table("check", "", "figure", box=None, pad_edge=False, header_style="bold")
        for check in self.checks:
            mark = "[green]passed[/]" if check.passed else "[bold red]FAILED[/]"
            table.add_row(check.name, mark, check.figure)
        return table


def size(octets: float) -> str:
    """Return a number of bytes for people: 512 B, 1.4 kB, 3.2 MB."""
    for unit in ("B", "kB", "MB"):
        if octets < 1000:
            return f"{octets:.0f} B" if unit == "B" else f"{octets:.1f} {unit}"
        octets /= 1000
    return f"{octets:.2f} GB"
