"""What a load costs: processor time, memory and disk, by kind of process."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.load.target import Cost

LOADER = "loader"
BLOCK = 512  # bytes in the unit of st_blocks


@dataclass(frozen=True, slots=True)
class Reading:
    """Processor seconds and bytes on disk so far, by kind; `others`: of the whole machine."""

    at: float
    processor: Mapping[str, float]
    disk: Mapping[str, int]
    machine: float


def read(cost: Cost) -> Reading:
    """Return where things stand now."""
    processor = {kind: sum(_seconds(pid) for pid in pids) for kind, pids in cost.processes.items()}
    own = time.process_time()
    disk = {kind: sum(map(_used, folders)) for kind, folders in cost.folders.items()}
    inside = _nested(cost)
    disk = {kind: size - inside.get(kind, 0) for kind, size in disk.items()}
    busy = psutil.cpu_times()
    machine = busy.user + busy.system + busy.nice + busy.irq + busy.softirq
    return Reading(time.perf_counter(), {**processor, LOADER: own}, disk, machine)


def peak_megabytes(cost: Cost) -> dict[str, float]:
    """Return the most memory that any process of each kind has held, resident."""
    return {kind: max(map(_peak, pids)) for kind, pids in cost.processes.items() if pids}


def _seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def _peak(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1000


def _used(folder: Path) -> int:
    """Return the bytes that a folder's files take on disk; files may vanish meanwhile."""
    used = 0
    for path in folder.rglob("*"):
        try:
            used += path.stat().st_blocks * BLOCK
        except FileNotFoundError:
            continue
    return used


def _nested(cost: Cost) -> dict[str, int]:
    """Return how much of each kind's folders belongs to another kind's, which lie inside."""
    return {
        kind: sum(
            _used(inner)
            for other, inners in cost.folders.items()
            if other != kind
            for inner in inners
            if any(outer in inner.parents for outer in folders)
        )
        for kind, folders in cost.folders.items()
    }
