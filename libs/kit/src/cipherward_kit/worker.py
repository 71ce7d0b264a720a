"""What runs first in a worker process. Standard library only: no grpc, no service."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from cipherward_kit.memory import Leftovers
from cipherward_kit.parent import die_with_parent

# A pool has a process for each core it may use. Without this, linear algebra starts as many threads
# again in each of them, which spin while they wait for one another: slower, and no core is left.
ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


P = ParamSpec("P")
R = TypeVar("R")

_leftovers = Leftovers()


def run_job(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a job; what it has left in memory goes back to the machine.

    Not when it fails: its error holds what it worked on until somebody has read it.
    """
    result = function(*args, **kwargs)
    _leftovers.give_back()
    return result


def prepare_thread(module: str) -> None:
    """Import the arithmetic in the thread that will run it."""
    importlib.import_module(module)


def prepare_process(module: str, parent_pid: int) -> None:
    """Import the arithmetic, and end when the service ends; its parent decides on SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(parent_pid)
    os.environ.update(ONE_THREAD)  # read when the libraries are loaded
    importlib.import_module(module)
