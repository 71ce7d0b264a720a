"""How much memory the whole alliance takes: the sum of PSS over a process and its descendants.

PSS (proportional set size) counts a page that n processes share as 1/n in each, so the sum is what
the alliance takes of the machine. Source: Linux's Documentation/filesystems/proc.rst, smaps_rollup.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SAMPLE_SECONDS = 0.5  # reading 20 processes takes about 20 ms: 4 % of one core
KIB = 1024


def descendants(pid: int) -> Iterator[int]:
    """Yield `pid` and every living process below it."""
    yield pid
    with suppress(OSError):  # it ended while we looked
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from descendants(int(child))


def pss_bytes(pid: int) -> int:
    """Return a process's PSS; 0 when it has ended."""
    with suppress(OSError), Path(f"/proc/{pid}/smaps_rollup").open(encoding="ascii") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * KIB
    return 0


class MemoryWatch:
    """Samples this process and its descendants in a thread; `peak_bytes` is the most seen."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self.peak_processes = 0

    def sample(self) -> None:
        """Take one sample now."""
        pids = list(descendants(os.getpid()))
        total = sum(map(pss_bytes, pids))
        if total > self.peak_bytes:
            self.peak_bytes, self.peak_processes = total, len(pids)


@contextmanager
def watched_memory() -> Generator[MemoryWatch]:
    """Sample memory while the context is open."""
    watch = MemoryWatch()
    with sampling(watch.sample, SAMPLE_SECONDS):
        yield watch


@contextmanager
def sampling(sample: Callable[[], None], seconds: float) -> Generator[None]:
    """Call `sample` every `seconds` in a thread while the context is open, and once at its end."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(seconds):
            sample()

    thread = threading.Thread(target=run, name="memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        sample()
