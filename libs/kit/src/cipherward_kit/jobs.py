"""Heavy arithmetic off the event loop: a bounded pool of spawned workers, or one thread."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import grpc
import structlog
from prometheus_client import Gauge

from cipherward_kit.errors import ServiceError
from cipherward_kit.worker import prepare_process, prepare_thread, run_job

P = ParamSpec("P")
R = TypeVar("R")

START_SECONDS = 60.0  # a worker's import takes a second; a machine under load far longer

JOBS = Gauge("cipherward_service_jobs_in_flight", "Heavy jobs running or waiting.", ["module"])

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class WorkersBusy(ServiceError):
    """As many jobs as the bound allows are running or waiting."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "WORKERS_BUSY"


class WorkerLost(ServiceError):
    """A worker process ended in the middle of the job (out of memory, most often)."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "WORKER_LOST"


class WorkerPool:
    """Runs functions of one arithmetic module in `workers` processes, or in one thread.

    Workers are spawned, never forked from a process with a live gRPC server, import only
    `module`, and are killed when this process ends. Functions, arguments and results of process
    workers are pickled, so functions are those of a module that does not import grpc. A lost
    worker costs the jobs in flight, after which the pool is whole again.
    """

    def __init__(self, workers: int, queue_max: int, module: str) -> None:
        """Describe the pool; enter it to start it.

        Args:
            workers: processes, 0..64; 0 is one dedicated thread with the same bound.
            queue_max: jobs that may wait while every worker is taken.
            module: the only module that a worker imports at its start.
        """
        self._workers = workers
        self._jobs_max = max(1, workers) + queue_max
        self._module = module
        self._executor: Executor | None = None
        self._in_flight = 0

    async def __aenter__(self) -> WorkerPool:
        """Start the workers and wait until the first has imported the module.

        Raises:
            WorkerLost: a worker could not start; its own stderr says why.
            TimeoutError: none came up in START_SECONDS.
        """
        self._executor = self._start()
        try:
            async with asyncio.timeout(START_SECONDS):
                await self.run(os.getpid)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Give up the jobs that wait; the running ones, seconds at most, are waited for."""
        executor, self._executor = self._executor, None
        if executor is not None:
            await asyncio.to_thread(executor.shutdown, True, cancel_futures=True)

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `function(*args)` in a worker and return its result, or raise what it raised.

        A caller that is cancelled stops waiting; a job that already runs still takes its place
        until it ends.

        Raises:
            WorkersBusy: the bound is reached.
            WorkerLost: the worker process ended; the job may be tried again.
            RuntimeError: the pool is not open.
        """
        if self._executor is None:
            raise RuntimeError("the pool is not open")
        if self._in_flight >= self._jobs_max:
            raise WorkersBusy(f"{self._in_flight} jobs in flight", jobs_max=self._jobs_max)
        executor, loop = self._executor, asyncio.get_running_loop()
        try:
            future: Future[R] = executor.submit(run_job, function, *args, **kwargs)
        except BrokenExecutor:  # a worker was lost while none of our jobs ran
            executor = self._replace(executor)
            future = executor.submit(run_job, function, *args, **kwargs)
        self._take()
        future.add_done_callback(lambda done: _let_go(executor, done))
        # Also when the caller is gone: the place is free when the job is over, not before.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._release))
        try:
            return await asyncio.wrap_future(future)
        except BrokenExecutor:
            self._replace(executor)
            raise WorkerLost("a worker ended in the middle of the job; try again") from None

    def _start(self) -> Executor:
        if self._workers == 0:
            return ThreadPoolExecutor(
                1, thread_name_prefix="job", initializer=prepare_thread, initargs=(self._module,)
            )
        executor = ProcessPoolExecutor(
            self._workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=prepare_process,
            initargs=(self._module, os.getpid()),
        )
        # The first job starts the processes, from this thread: they die with the thread that
        # started them, so it must not be one of a pool.
        executor.submit(os.getpid)
        return executor

    def _replace(self, broken: Executor) -> Executor:
        """Put a new executor in the place of `broken`, once however many jobs it lost."""
        if self._executor is None:
            raise WorkerLost("the pool is closing")
        if self._executor is broken:
            log.warning("worker_lost", module=self._module)
            broken.shutdown(wait=False)
            self._executor = self._start()
        return self._executor

    def _take(self) -> None:
        self._in_flight += 1
        JOBS.labels(self._module).inc()

    def _release(self) -> None:
        self._in_flight -= 1
        JOBS.labels(self._module).dec()


def _let_go(executor: Executor, done: Future[Any]) -> None:
    """Let the thread that writes to a lost worker go.

    Before 3.11.5 Python keeps the reading end of its own pipe: an argument larger than the pipe is
    then written for ever, and whoever closes the pool waits as long, at the end of the process too
    (cpython gh-94777). Called in the thread that finds the worker lost, before it waits.
    """
    lost = not done.cancelled() and isinstance(done.exception(), BrokenExecutor)
    if lost and isinstance(executor, ProcessPoolExecutor):
        calls: Any = getattr(executor, "_call_queue", None)  # None: given up already
        if calls is not None:
            calls._reader.close()
