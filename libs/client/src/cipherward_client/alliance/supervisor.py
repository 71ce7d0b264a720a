"""The processes of an alliance on this machine: started, watched, restarted, stopped.

Each process is `python -m cipherward_<service>`, a child that the kernel kills when this process
ends, however it ends. A child that dies alone starts again; one that refuses to (a port in
use, a data folder of another chain) stops the alliance with its own sentence.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

READY_SECONDS = 60.0  # 14 cold starts without compiled bytecode took 15 s on a busy machine
STOP_SECONDS = 10.0  # longer than a service's own drain and grace in development
RESTART_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)  # before the first, second, … restart in a row
STEADY_SECONDS = 30.0  # a child that lived this long starts again without a wait
REFUSED_TO_START = range(2, 64)  # exit statuses of `CannotStart` in the kit and the services
LOG_BYTES_MAX = 16 * 1024 * 1024  # at a start, a longer log becomes the one old copy


class ProcessRefused(Exception):
    """A process said that it cannot start; the text is its own sentence."""

    reason = "PROCESS_REFUSED"


class ProcessNotReady(Exception):
    """A process did not become ready in time."""

    reason = "PROCESS_NOT_READY"


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """What one process needs to start.

    `stage` orders the stop: the highest stops first, so that nobody loses what it depends on.
    """

    name: str
    module: str
    environment: Mapping[str, str]
    health_address: str
    stage: int


def child_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child: ours without settings of other parts, and `settings`."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CIPHERWARD_")}
    inherited["GRPC_VERBOSITY"] = "NONE"  # its core writes addresses of peers to stderr
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)  # a second start is three times as fast with it
    return {**inherited, **settings, "CIPHERWARD_PARENT_PID": str(os.getpid())}


class Supervisor:
    """Runs the planned processes; see `supervised`."""

    def __init__(self, plans: Sequence[ProcessPlan], logs: Path) -> None:
        self._plans = {plan.name: plan for plan in plans}
        self._logs = logs
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._stopping = False
        self.restarts = 0

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the living children, by name."""
        return {n: c.pid for n, c in self._children.items() if c.returncode is None}

    def log_file(self, name: str) -> Path:
        """Return where the output of a process goes."""
        return self._logs / f"{name.replace('/', '.')}.log"

    async def start(self) -> None:
        """Start every process, all at once: each waits by itself for what it depends on."""
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        for plan in self._plans.values():
            log = self.log_file(plan.name)
            if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
                log.replace(log.with_suffix(".log.1"))
            self._children[plan.name] = await self._spawn(plan)

    async def _spawn(self, plan: ProcessPlan) -> asyncio.subprocess.Process:
        with self.log_file(plan.name).open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                plan.module,
                env=child_environment(plan.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is ours to hand on, in order
            )

    async def watch(self) -> None:
        """Restart what dies, until cancelled.

        Raises:
            ProcessRefused: a process said that it cannot start.
        """
        async with asyncio.TaskGroup() as group:
            for plan in self._plans.values():
                group.create_task(self._keep(plan))

    async def _keep(self, plan: ProcessPlan) -> None:
        loop, in_a_row = asyncio.get_running_loop(), 0
        while True:
            started = loop.time()
            status = await self._children[plan.name].wait()
            if self._stopping:
                return
            if status in REFUSED_TO_START:
                raise ProcessRefused(f"{plan.name}: {last_line(self.log_file(plan.name))}")
            in_a_row = 0 if loop.time() - started > STEADY_SECONDS else in_a_row + 1
            await asyncio.sleep(RESTART_SECONDS[min(in_a_row, len(RESTART_SECONDS) - 1)])
            self.restarts += 1
            self._children[plan.name] = await self._spawn(plan)

    async def wait_ready(self, told: Callable[[str], None] = lambda _: None) -> None:
        """Wait until every process says SERVING; `told` gets each name as it does.

        Raises:
            ProcessNotReady: one took too long; the text names it and its log.
        """
        async with asyncio.TaskGroup() as group:
            for plan in self._plans.values():
                group.create_task(self._wait_one(plan, told))

    async def _wait_one(self, plan: ProcessPlan, told: Callable[[str], None]) -> None:
        try:
            async with asyncio.timeout(READY_SECONDS):
                await serving(plan.health_address)
        except TimeoutError:
            log = self.log_file(plan.name)
            text = f"{plan.name} is not ready after {READY_SECONDS:.0f} s; see {log}"
            raise ProcessNotReady(f"{text}: {last_line(log)}") from None
        told(plan.name)

    async def stop(self) -> None:
        """Stop every process, highest stage first, each stage together; kill what does not."""
        self._stopping = True
        for stage in sorted({plan.stage for plan in self._plans.values()}, reverse=True):
            names = [plan.name for plan in self._plans.values() if plan.stage == stage]
            async with asyncio.TaskGroup() as group:
                for name in names:
                    group.create_task(self._stop_one(self._children.get(name)))

    async def _stop_one(self, child: asyncio.subprocess.Process | None) -> None:
        if child is None or child.returncode is not None:
            return
        with suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await child.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()


async def serving(address: str) -> None:
    """Return once the health service at `address` says SERVING, however often it must be asked."""
    request = health_pb2.HealthCheckRequest()
    while True:
        async with aio.insecure_channel(address) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)  # grpc ships no types for it
            with suppress(aio.AioRpcError):
                async for update in health.Watch(request, wait_for_ready=True):
                    if update.status == health_pb2.HealthCheckResponse.SERVING:
                        return
        await asyncio.sleep(0.05)  # the process restarts: its port is away for a moment


def last_line(log: Path) -> str:
    """Return the last line of a log that says something, or a word that there is none."""
    with suppress(OSError), log.open(encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in deque(file, maxlen=20) if line.strip()]
        if lines:
            return lines[-1]
    return "it said nothing"


@asynccontextmanager
async def supervised(
    plans: Sequence[ProcessPlan],
    logs: Path,
    told: Callable[[str], None] = lambda _: None,
) -> AsyncGenerator[Supervisor]:
    """Run the processes while the context is open; inside it all are ready.

    When a process says that it cannot start, the body is cancelled.

    Raises:
        ProcessRefused, ProcessNotReady: the first cause alone, not wrapped in a group.
    """
    supervisor = Supervisor(plans, logs)
    try:
        await supervisor.start()
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(supervisor.watch())
            await supervisor.wait_ready(told)
            yield supervisor
            watcher.cancel()
    except BaseExceptionGroup as causes:
        raise _first_cause(causes) from None
    finally:
        await supervisor.stop()


def _first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return _first_cause(cast("BaseExceptionGroup[BaseException]", first))
    return first
