"""The machine that the figures are of: they mean nothing without it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def describe(load_before: float) -> dict[str, Any]:
    """Return the machine as results.json has it.

    Args:
        load_before: `load` when the run began. A load above what the run itself makes means that
            something else had a part of the cores.
    """
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(load_before, 2),
        "load_after": round(load(), 2),
        "python": platform.python_version(),
    }


def load() -> float:
    """Return how many tasks have wanted a core, on average over the last minute."""
    return os.getloadavg()[0]


def _cpu() -> str:
    """Return the processor's model name; Linux says it in /proc/cpuinfo."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
