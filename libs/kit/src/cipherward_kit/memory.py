"""How this process keeps freed memory: for the next message, instead of giving it back each time.

A message of 1 MiB is copied several times on its way through protobuf and gRPC. With glibc's
defaults each copy is mapped afresh and given back at once, and the kernel zeroes its pages again
and again: serialising 64 MiB in such messages took 93 ms, and takes 7 ms with the bounds below.
"""

from __future__ import annotations

import ctypes

# <malloc.h>
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# Well above the largest message (16 MiB between ledger and contract), so that none is mapped.
MAPPED_BYTES_MIN = 32 * 1024 * 1024  # glibc's own maximum
# What may lie free at the end of the heap: some messages' worth, little beside a service's 60 MiB.
KEPT_BYTES_MAX = 32 * 1024 * 1024


def keep_freed_memory() -> bool:
    """Set the bounds for this process; return whether its C library knows them (glibc does)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    settings = ((M_MMAP_THRESHOLD, MAPPED_BYTES_MIN), (M_TRIM_THRESHOLD, KEPT_BYTES_MAX))
    return all([mallopt(name, value) == 1 for name, value in settings])
