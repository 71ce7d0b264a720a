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
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cipherward_kit.config import ENV_PREFIX, TracesConfig, env_name
from cipherward_kit.errors import first_cause
from cipherward_kit.worker import ONE_THREAD

# 20 cold starts without compiled bytecode took 15 s on a free machine, and nodes must find others.
READY_SECONDS = 120.0
STOP_SECONDS = 10.0  # longer than a service's own drain and grace in development
RESTART_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)  # before the first, second, … restart in a row
STEADY_SECONDS = 30.0  # a child that lived this long starts again without a wait
REFUSED_TO_START = range(2, 64)  # exit statuses of `CannotStart` in the kit and the services
TRACES_SETTINGS = frozenset(env_name(field) for field in TracesConfig.model_fields)
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
    `vital`: without it the others cannot go on, so that they stop when it refuses to.
    """

    name: str
    module: str
    environment: Mapping[str, str]
    health_address: str
    stage: int
    vital: bool = True


Lost = Callable[[str, str], None]  # name and last words of a process that others go on without


def child_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child: ours without settings of other parts, and `settings`.

    Where traces go is for all parts alike.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ENV_PREFIX) or name in TRACES_SETTINGS
    }
    inherited |= ONE_THREAD  # fourteen processes share the cores already
    inherited["GRPC_VERBOSITY"] = "NONE"  # its core writes addresses of peers to stderr
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)  # a second start is three times as fast with it
    return {**inherited, **settings, "CIPHERWARD_PARENT_PID": str(os.getpid())}


class Supervisor:
    """Runs processes and restarts what dies; see `supervised`."""

    def __init__(self, logs: Path, watching: asyncio.TaskGroup, lost: Lost) -> None:
        """Describe it.

        Args:
            watching: gets a task for each process; the first that a process fails, fails it.
            lost: is told the name and the last words of a process that others go on without.
        """
        self._logs = logs
        self._watching = watching
        self._lost = lost
        self._plans: dict[str, ProcessPlan] = {}
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._ready: set[str] = set()
        self.restarts = 0

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the living children, by name."""
        return {n: c.pid for n, c in self._children.items() if c.returncode is None}

    def log_file(self, name: str) -> Path:
        """Return where the output of a process goes."""
        return self._logs / f"{name.replace('/', '.')}.log"

    async def start(
        self,
        plans: Sequence[ProcessPlan],
        told: Callable[[str], None] = lambda _: None,
        ready_seconds: float | None = READY_SECONDS,
    ) -> None:
        """Start processes, all at once: each waits by itself for what it depends on.

        Args:
            told: gets the name of each process as it becomes ready.
            ready_seconds: what each may take; None where it depends on people elsewhere.

        Raises:
            ProcessNotReady: one took too long; the text names it and its log.
        """
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        for plan in plans:
            log = self.log_file(plan.name)
            if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
                log.replace(log.with_suffix(".log.1"))
            self._plans[plan.name] = plan
            self._children[plan.name] = await self._spawn(plan)
            self._keepers[plan.name] = self._watching.create_task(self._keep(plan))
        try:
            async with asyncio.TaskGroup() as group:
                for plan in plans:
                    group.create_task(self._wait_one(plan, told, ready_seconds))
        except BaseExceptionGroup as causes:
            raise first_cause(causes) from None

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

    async def _keep(self, plan: ProcessPlan) -> None:
        loop, in_a_row = asyncio.get_running_loop(), 0
        while True:
            started = loop.time()
            status = await self._children[plan.name].wait()
            if status in REFUSED_TO_START:
                words = last_line(self.log_file(plan.name))
                if plan.vital or plan.name not in self._ready:
                    raise ProcessRefused(f"{plan.name}: {words}")
                self._lost(plan.name, words)
                return
            in_a_row = 0 if loop.time() - started > STEADY_SECONDS else in_a_row + 1
            await asyncio.sleep(RESTART_SECONDS[min(in_a_row, len(RESTART_SECONDS) - 1)])
            self.restarts += 1
            self._children[plan.name] = await self._spawn(plan)

    async def _wait_one(
        self, plan: ProcessPlan, told: Callable[[str], None], ready_seconds: float | None
    ) -> None:
        try:
            async with asyncio.timeout(ready_seconds):
                await serving(plan.health_address)
        except TimeoutError:
            log = self.log_file(plan.name)
            text = f"{plan.name} is not ready after {ready_seconds:.0f} s; see {log}"
            raise ProcessNotReady(f"{text}: {last_line(log)}") from None
        self._ready.add(plan.name)
        told(plan.name)

    def dismiss(self, names: Collection[str]) -> None:
        """Watch these no more: they may end, and do not start again."""
        for name in names:
            self._keepers.pop(name).cancel()

    def dismiss_all(self) -> None:
        """Watch nothing any more."""
        self.dismiss(list(self._keepers))

    async def left_alone(self, name: str, seconds: float) -> int | None:
        """Wait until a dismissed process has ended by itself; return its exit status.

        None: it still runs after so many seconds.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self._children[name].wait()
        except TimeoutError:
            return None

    async def end(self, names: Collection[str]) -> None:
        """Stop these for good, whether they still run or not."""
        self.dismiss([name for name in names if name in self._keepers])
        await self._stop([self._plans.pop(name) for name in names])

    async def stop(self) -> None:
        """Stop every process."""
        await self._stop(list(self._plans.values()))

    async def _stop(self, plans: Sequence[ProcessPlan]) -> None:
        """Stop the highest stage first, each stage together; kill what does not."""
        for stage in sorted({plan.stage for plan in plans}, reverse=True):
            async with asyncio.TaskGroup() as group:
                for plan in plans:
                    if plan.stage == stage:
                        group.create_task(self._stop_one(self._children.pop(plan.name, None)))

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
    lost: Lost = lambda _name, _words: None,
) -> AsyncGenerator[Supervisor]:
    """Run the processes while the context is open; inside it all are ready.

    When a process says that it cannot start, the body is cancelled, unless it was ready before and
    is not vital: then `lost` is told.

    Raises:
        ProcessRefused, ProcessNotReady: the first cause alone, not wrapped in a group.
    """
    supervisor: Supervisor | None = None
    try:
        async with asyncio.TaskGroup() as group:
            supervisor = Supervisor(logs, group, lost)
            await supervisor.start(plans, told)
            yield supervisor
            supervisor.dismiss_all()
    except BaseExceptionGroup as causes:
        raise first_cause(causes) from None
    finally:
        if supervisor is not None:
            await supervisor.stop()
