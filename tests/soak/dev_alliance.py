"""`cipherward dev` as a process to be killed, and its services and nodes by name."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from cipherward_chain.endpoints import Endpoints
from cipherward_client.alliance.create import DEFAULT_COUNT, hospitals
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.parts import ALL_EMBEDDED, SOLO, Parts
from cipherward_client.alliance.plans import services_of
from cipherward_client.alliance.ports import ports_needed
from cipherward_client.alliance.supervisor import serving
from tests.integration.production import options

COMMAND = (sys.executable, "-m", "cipherward_client.cli", "dev", "--json")
DEV = "dev"
READY_SECONDS = 180.0  # 20 cold starts beside a load, on a machine with other work
GONE_SECONDS = 10.0
POLL_SECONDS = 0.02
PORTS_FROM, PORTS_TO = 10_240, 30_000  # below those that the system gives to outgoing connections


def free_base(ports: int) -> int:
    """Return the first of so many free ports in a row."""
    for base in range(PORTS_FROM, PORTS_TO, ports):
        with suppress(OSError):
            for port in range(base, base + ports):
                socket.create_server(("127.0.0.1", port)).close()
            return base
    raise AssertionError("no free ports in a row")


class DevAlliance:
    """One development alliance in a folder, started as often as it is killed."""

    def __init__(
        self, root: Path, parts: Parts = ALL_EMBEDDED, members: int = DEFAULT_COUNT
    ) -> None:
        self.folder = AllianceFolder(root / "alliance")
        self.names = services_of([member for member, _ in hospitals(members)], parts.engine)
        # the same at every start, so that clients find it again
        self._port_base = free_base(ports_needed(self.names, parts.engine))
        self._options = [*options(parts), "--members", str(members)]
        self._engine = parts.engine
        self._errors = root / "dev.stderr"
        self._process: subprocess.Popen[str] | None = None

    async def start(self) -> None:
        """Start it and wait until it says that every service is ready."""
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        place = ("--data", str(self.folder.root), "--port-base", str(self._port_base))
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(
                [*COMMAND, *place, *self._options], stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._errors.read_text()[-3_000:]
        document: dict[str, Any] = json.loads(line)
        assert document.get("ready") is True, line

    @property
    def process(self) -> psutil.Process:
        """The `cipherward dev` process."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def services(self) -> dict[str, psutil.Process]:
        """Return the living services by member/service."""
        found: dict[str, psutil.Process] = {}
        for child in self.process.children():
            with suppress(psutil.Error, LookupError):  # it is gone, or not yet the service
                module, member = child.cmdline()[-1], child.environ()["CIPHERWARD_MEMBER"]
                found[f"{member}/{module.removeprefix('cipherward_')}"] = child
        return found

    def nodes(self) -> dict[str, psutil.Process]:
        """Return the living consensus nodes by member: children of the members' ledgers."""
        if self._engine == SOLO:
            return {}
        found: dict[str, psutil.Process] = {}
        for name, process in self.services().items():
            member, service = name.split("/")
            if service == "ledger":
                with suppress(psutil.Error, IndexError):  # it is gone, or not yet there
                    found[member] = process.children()[0]
        return found

    async def kill(self, name: str) -> float:
        """SIGKILL `dev` or a service; return the seconds until everything is ready again."""
        started = time.monotonic()
        if name == DEV:
            children = list(self.services().values())
            assert len(children) == len(self.names)
            children += self.nodes().values()
            self._end(signal.SIGKILL)
            await until(lambda: not any(map(alive, children)), GONE_SECONDS, "an orphan lives on")
            await self.start()
        else:
            victim = self.services()[name]
            victim.send_signal(signal.SIGKILL)
            await until(lambda: self._replaced(name, victim.pid), READY_SECONDS, f"{name} is away")
            async with asyncio.timeout(READY_SECONDS):
                await serving(self._health(name))
        return time.monotonic() - started

    def _replaced(self, name: str, pid: int) -> bool:
        child = self.services().get(name)
        return child is not None and child.pid != pid

    def _health(self, name: str) -> str:
        member, service = name.split("/")
        endpoints = Endpoints.parse(self.folder.endpoints_file.read_bytes())
        return endpoints.of(member, service).health

    def stop(self) -> int:
        """Stop it as a user does; return its exit status."""
        return self._end(signal.SIGTERM)

    def close(self) -> None:
        """Kill it if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        status = self._process.wait(60)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return status

    def left_over(self) -> list[int]:
        """Return the pids of processes that still use the folder."""
        found: list[int] = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if (
                    process.environ()
                    .get("CIPHERWARD_DATA_DIR", "")
                    .startswith(str(self.folder.root))
                ):
                    found.append(process.pid)
        return found


def alive(process: psutil.Process) -> bool:
    """Return whether a process runs; one that is only waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


async def until(holds: Any, seconds: float, complaint: str) -> None:
    """Poll until it holds, or fail with a complaint."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, complaint
        await asyncio.sleep(POLL_SECONDS)
