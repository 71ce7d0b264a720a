"""Whether a service uses a data folder: seen by the lock that it holds there.

The lock is the kernel's. Where it can be seen, SQLite's own locks hold too, between processes and
between containers of one machine; where the service runs under another kernel neither does.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from cipherward_client.backup.errors import ServiceRuns, ServiceUnseen
from cipherward_kit.datafolder import LOCK_NAME


def require_running(folder: Path) -> None:
    """Return if a service holds the folder.

    A service that starts in the microseconds of the look finds the folder locked, and ends.

    Raises:
        ServiceUnseen: none does, or it cannot be seen from here.
    """
    try:
        with held(folder):
            raise ServiceUnseen(f"nobody is seen to hold {folder / LOCK_NAME}")
    except ServiceRuns:
        return


@contextmanager
def held(folder: Path) -> Generator[None]:
    """Hold a folder as a service would, if it is there: none starts in it meanwhile.

    Raises:
        ServiceRuns: a service holds it.
    """
    try:
        lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # no service ever ran here
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ServiceRuns(f"{folder} is used by its service") from None
    try:
        yield
    finally:
        os.close(lock)
