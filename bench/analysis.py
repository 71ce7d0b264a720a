"""Every shipped template analysed as `cipherward contract check` does it: each of its rules, and
all that it can do in the worlds that the analysis explores. The figure is the slowest template's.
"""

from __future__ import annotations

import statistics
import time
from importlib import resources

from bench.results import Row, Spread, Target
from cipherward_contract.analysis.analyse import analyse
from cipherward_contract.templates.shipped import SHIPPED

NAME = "analysis"
ROUNDS = 3
TARGET = Target(5.0, at_least=False)


def measure() -> list[Row]:
    """Return the row."""
    found = {name: statistics.median(_times(name, ROUNDS)) for name in SHIPPED}
    slowest = max(found, key=lambda name: found[name])
    spread = Spread.extremes(list(found.values()), "templates")
    return [Row(NAME, found[slowest], "s", spread, TARGET, f"slowest: {slowest}")]


def _times(name: str, rounds: int) -> list[float]:
    folder = resources.files("cipherward_contract.templates")
    source = folder.joinpath(f"{name}.yaml").read_text("utf-8")
    found: list[float] = []
    for _ in range(rounds):
        started = time.perf_counter()
        analysis = analyse(source)
        found.append(time.perf_counter() - started)
        if not analysis.digest:
            raise AssertionError(f"{name} may not be deployed")
    return found
