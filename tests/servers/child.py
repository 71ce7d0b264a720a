"""A server's process: it dies with its parent, and its output is in a file."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

# Replaces itself by the program: PR_SET_PDEATHSIG outlives an exec.
LAUNCHER: Final = (
    "import os, sys; from cipherward_kit.parent import die_with_parent; "
    "die_with_parent(int(sys.argv[1])); os.execvp(sys.argv[2], sys.argv[2:])"
)
# A cold JVM takes 10 s on a quiet machine and took 100 beside thirty busy processes.
READY_SECONDS: Final = 180.0
STOP_SECONDS: Final = 10.0  # Kafka's own orderly stop takes 3 s
POLL_SECONDS: Final = 0.05
LOG_TAIL_CHARACTERS: Final = 2_000

# The kernel's death signal follows the *thread* that started a process, and a test may start a
# server from a thread of its event loop: this one lives as long as the interpreter.
_SPAWNER: Final = ThreadPoolExecutor(1, "servers")


def launcher() -> tuple[str, ...]:
    """Return what to put before a command so that it dies with this process, however that ends."""
    return (sys.executable, "-c", LAUNCHER, str(os.getpid()))


class ServerFailed(RuntimeError):
    """A server ended, or was not ready in time; the text ends with the tail of its log."""


class Child:
    """One server process, started as often as it is killed."""

    def __init__(
        self,
        command: Sequence[str],
        log_file: Path,
        *,
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare `command`, to run in `folder` with `environment` added to ours."""
        self._command = tuple(command)
        self._log_file = log_file
        self._folder = folder
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the living process."""
        if self._process is None:
            raise ServerFailed(f"{self._command[0]} was not started")
        return self._process.pid

    def start(self) -> None:
        """Start the process; it must not be running."""
        if self._process is not None:
            raise ServerFailed(f"{self._command[0]} already runs")
        self._process = _SPAWNER.submit(self._spawn).result()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log_file.open("ab") as log:
            return subprocess.Popen(
                [*launcher(), *self._command],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the parent, who stops it in order
            )

    def wait_until_ready(self, probe: Callable[[], None], *failures: type[Exception]) -> None:
        """Call `probe` until it raises none of `failures` any more.

        Raises:
            ServerFailed: the process ended, or was not ready after READY_SECONDS.
        """
        ends = time.monotonic() + READY_SECONDS
        while True:
            try:
                return probe()
            except failures as error:
                if self._process is None or self._process.poll() is not None:
                    raise ServerFailed(self._complaint("ended")) from error
                if time.monotonic() > ends:
                    raise ServerFailed(self._complaint("was not ready in time")) from error
            time.sleep(POLL_SECONDS)

    def _complaint(self, what: str) -> str:
        tail = self._log_file.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:]
        return f"{self._command[0]} {what}; its log ends with:\n{tail}"

    def kill(self) -> None:
        """SIGKILL the process, as a power cut would, and wait until it is gone."""
        self._end(0.0)

    def stop(self, grace_seconds: float = STOP_SECONDS) -> None:
        """SIGTERM the process, SIGKILL it after the grace, and wait until it is gone."""
        self._end(grace_seconds)

    def _end(self, grace_seconds: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if grace_seconds:
            process.terminate()
            try:
                process.wait(grace_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
        else:
            process.kill()
        process.wait(STOP_SECONDS)
