"""What runs first in a worker process. Standard library only: no grpc, no service."""

from __future__ import annotations

import importlib
import signal

from cipherward_kit.parent import die_with_parent


def prepare_thread(module: str) -> None:
    """Import the arithmetic in the thread that will run it."""
    importlib.import_module(module)


def prepare_process(module: str, parent_pid: int) -> None:
    """Import the arithmetic, and end when the service ends; its parent decides on SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(parent_pid)
    importlib.import_module(module)
