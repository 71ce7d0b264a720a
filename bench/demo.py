"""`cipherward demo` as a user runs it: wall time, and the most memory that all its processes take.

Memory is the sum of PSS (proportional set size) over the command and all its descendants.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.results import Row, Spread, Target
from cipherward_client.demo.memory import descendants, pss_bytes

NAMES = SECONDS, MEMORY = "demo-seconds", "demo-memory"
COMMAND = (sys.executable, "-m", "cipherward_client.cli", "demo", "--json")
RUNS = 3
SAMPLE_SECONDS = 0.5  # reading 16 processes takes about 20 ms
RUN_SECONDS = 600.0
GIB = 1 << 30
TARGETS = Target(45, at_least=False), Target(1.2, at_least=False)


class DemoFailed(Exception):
    """The demonstration did not pass its own checks."""


def measure() -> list[Row]:
    """Return both rows."""
    runs = [_run() for _ in range(RUNS)]
    times, peaks = zip(*runs, strict=True)
    return [
        Row(SECONDS, statistics.median(times), "s", Spread.extremes(times), TARGETS[0]),
        Row(MEMORY, statistics.median(peaks), "GiB PSS", Spread.extremes(peaks), TARGETS[1]),
    ]


def _run() -> tuple[float, float]:
    """Return the seconds of one demonstration and its peak in GiB."""
    with tempfile.TemporaryDirectory(prefix="cipherward-bench-") as made:
        report, told = Path(made) / "report.json", Path(made) / "told"
        started, peak = time.perf_counter(), 0
        with told.open("wb") as output:
            pictures = ("--pictures", str(Path(made) / "pictures"))
            command = (*COMMAND, str(report), *pictures)
            process = subprocess.Popen(command, stdout=output, stderr=output)
            try:
                while True:
                    try:
                        process.wait(SAMPLE_SECONDS)
                        break
                    except subprocess.TimeoutExpired:
                        peak = max(peak, sum(map(pss_bytes, descendants(process.pid))))
                    if time.perf_counter() - started > RUN_SECONDS:
                        raise DemoFailed("it did not end in time")
            finally:
                process.kill()  # its services die with it
                process.wait()
        seconds = time.perf_counter() - started
        if process.returncode != 0:
            raise DemoFailed(told.read_text(errors="replace")[-2_000:])
        checks = json.loads(report.read_text())["checks"]
        if not checks or not all(check["passed"] for check in checks):
            raise DemoFailed("a check of the story failed")
        return seconds, peak / GIB
