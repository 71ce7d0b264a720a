"""A child that ends with its parent. Standard library only: workers import this module."""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class ParentGone(SystemExit):
    """The parent named is not (or no longer) the parent of this process: it ends at once."""


def die_with_parent(parent_pid: int) -> None:
    """Make the kernel kill this process (SIGKILL) when its parent ends, however that ends.

    The signal follows the *thread* that started this process, so a parent starts its children
    from a thread that lives as long as it does. Linux only.

    Raises:
        ParentGone: the parent is already another process; the process exits with status 1.
        OSError: the kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # The parent may have ended before the call above, and then no signal ever comes.
    if os.getppid() != parent_pid:
        raise ParentGone(1)
