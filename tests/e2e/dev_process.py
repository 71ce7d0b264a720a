"""`cipherward dev` as a process, as whoever uses it starts it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "cipherward_client.cli"]
READY_SECONDS = 180  # 20 cold starts on a machine with other work


class Dev:
    """A running `cipherward dev --json`."""

    def __init__(self, data: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "dev", "--data", str(data), "--json", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> dict[str, Any]:
        """Return the document that says the alliance is ready."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()  # the process ends itself when a child is not ready
        document = json.loads(line)
        assert document.get("ready"), line
        return document

    def refused(self) -> dict[str, str]:
        """Return why it did not start."""
        out, err = self.process.communicate(timeout=READY_SECONDS)
        assert self.process.returncode == 1, out + err
        assert "Traceback" not in out + err
        return json.loads(out)["error"]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout=60)

    def end(self) -> None:
        """Let go of it; it is killed if it still lives."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=60)


@contextmanager
def dev(data: Path, *options: str) -> Generator[Dev]:
    """Run it; it is killed at the end if it still lives."""
    running = Dev(data, *options)
    try:
        yield running
    finally:
        running.end()


class Home:
    """An alliance that runs, and may be killed and started again.

    data: its folder. said: what it said when it was ready.
    """

    def __init__(self, data: Path, *options: str) -> None:
        self.data = data
        self._options = options
        self.start()

    def start(self) -> None:
        """Start it; return when it is ready."""
        self._dev = Dev(self.data, *self._options)
        self.said = self._dev.ready()

    def kill(self) -> None:
        """Kill the process that looks after the services."""
        self._dev.stop(signal.SIGKILL)
        self._dev.end()

    def stop(self) -> None:
        """End it in order."""
        assert self._dev.stop() == 0

    def end(self) -> None:
        """Let go of it; it is killed if it still lives."""
        self._dev.end()
