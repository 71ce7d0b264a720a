"""How this process keeps freed memory: for the next message, not for the next heavy job.

A message of 1 MiB is copied several times on its way through protobuf and gRPC. With glibc's
defaults each copy is mapped afresh and given back at once, and the kernel zeroes its pages again
and again: serialising 64 MiB in such messages took 93 ms, and takes 7 ms with the bounds below.

A heavy job, however, works in many times the memory of a message, and leaves it in pieces that no
bound gives back: a service that had encrypted once stayed 100 MB larger. So what jobs leave is
given back by `Leftovers`.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

# <malloc.h>
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
# Well above the largest message (16 MiB between ledger and contract), so that none is mapped.
MAPPED_BYTES_MIN = 32 * 1024 * 1024  # glibc's own maximum
# What may lie free at the end of the heap: some messages' worth, little beside a service's 60 MiB.
KEPT_BYTES_MAX = 32 * 1024 * 1024
# Pages that were given back cost the next job 15 ms to touch again: 3 % of the time at this pause.
PAUSE_SECONDS = 0.5
# glibc gives threads heaps of their own, each with its own leftovers: 35 MB more in a service that
# computes. Python's threads take turns, so they seldom meet in one heap.
ARENAS_MAX = 1


def keep_freed_memory() -> bool:
    """Set the bounds for this process; return whether its C library knows them (glibc does).

    Call it before the first thread starts.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    settings = (
        (M_MMAP_THRESHOLD, MAPPED_BYTES_MIN),
        (M_TRIM_THRESHOLD, KEPT_BYTES_MAX),
        (M_ARENA_MAX, ARENAS_MAX),
    )
    return all([mallopt(name, value) == 1 for name, value in settings])


class Leftovers:
    """What the jobs of this process leave in memory, given back to the kernel now and then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due = clock()

    def give_back(self) -> bool:
        """Give free memory back if the last time is `PAUSE_SECONDS` ago; return whether.

        Takes 0.1 ms where there is little. False also where the C library is not glibc.
        """
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is None or self._clock() < self._due:
            return False
        self._due = self._clock() + PAUSE_SECONDS
        return trim(0) == 1
