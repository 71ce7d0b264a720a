"""What each cell of the fault matrix measured: a line of JSON, and the table made of the lines.

`python -m tests.soak.fault_report FILE` prints the table of docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.soak.fault_oracle import Oracle

# Where the lines go, one file for all runs; without it they are only printed.
RESULTS = "CIPHERWARD_FAULT_RESULTS"


@dataclass(slots=True)
class Cell:
    """One fault, what it did and what was measured, in seconds.

    seconds: of each step, by its name. longest_gap: between two proven blocks of anybody.
    repeated: acts that a second block held, where they were refused.
    """

    name: str
    what: str = ""
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    counts: dict[str, int] = field(default_factory=dict[str, int])
    longest_gap: float = 0.0
    acknowledged: int = 0
    interrupted: int = 0
    repeated: int = 0
    height: int = 0
    load_average: float = 0.0


@asynccontextmanager
async def cell(oracle: Oracle, name: str) -> AsyncGenerator[Cell]:
    """Measure one cell; at its end everything acknowledged is held against every chain."""
    found = Cell(name)
    began = time.monotonic()
    repeated = max(len(view.repeated) for view in oracle.views.values())
    acknowledged, interrupted = len(oracle.acknowledged), oracle.interrupted
    yield found
    ended = time.monotonic()
    times = [began, *(at for at in oracle.arrivals if began <= at <= ended), ended]
    gaps = [later - at for at, later in pairwise(times)]
    found.longest_gap = round(max(gaps), 2)
    found.acknowledged = len(oracle.acknowledged) - acknowledged
    found.interrupted = oracle.interrupted - interrupted
    found.height, _ = await oracle.settled()
    found.repeated = max(len(view.repeated) for view in oracle.views.values()) - repeated
    found.load_average = round(os.getloadavg()[0], 1)
    found.seconds = {step: round(seconds, 2) for step, seconds in found.seconds.items()}
    line = json.dumps(asdict(found))
    print(line, flush=True)
    if path := os.environ.get(RESULTS):
        await asyncio.to_thread(_append, Path(path), line)


def _append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")


def table(lines: list[dict[str, Any]]) -> str:
    """Return the markdown table of the newest line of each cell, in the order of the first."""
    newest = {line["name"]: line for line in lines}
    rows = ["| fault | what happened | measured (s) | longest gap (s) |", "|---|---|---|---|"]
    for line in newest.values():
        steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in line["seconds"].items())
        counts = ", ".join(f"{count} {what}" for what, count in line["counts"].items())
        if line.get("repeated"):
            counts = ", ".join(filter(None, (counts, f"{line['repeated']} acts repeated, refused")))
        what = ". ".join(part for part in (line["what"], counts) if part)
        rows.append(f"| {line['name']} | {what} | {steps} | {line['longest_gap']:.1f} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table([json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]))
