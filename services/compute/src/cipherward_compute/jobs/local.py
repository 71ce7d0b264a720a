"""Jobs in this process's own workers: what is embedded, and what a shared queue falls back to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

from cipherward_compute.jobs.kinds import Kind, run_job
from cipherward_compute.jobs.metrics import JOB_SECONDS, JOBS
from cipherward_compute.jobs.public import JobCrashed
from cipherward_kit.errors import ServiceError
from cipherward_kit.jobs import WorkerPool

RunJob: TypeAlias = Callable[[str, bytes], bytes]  # what a process runs: `run_job`


class PoolRunner:
    """A `JobRunner` over a pool, whose bound and whose refusals it has."""

    def __init__(self, pool: WorkerPool, work: RunJob = run_job) -> None:
        self._pool = pool
        self._work = work

    async def run(self, kind: Kind, arguments: bytes) -> bytes:
        """Return what the job gives, from a worker of the pool.

        Raises:
            WorkersBusy, WorkerLost: as `WorkerPool.run`.
            JobCrashed: it raised what no job may raise.
        """
        began, outcome = time.monotonic(), "cancelled"
        try:
            result = await self._pool.run(self._work, kind, arguments)
            outcome = "done"
        except ServiceError as error:
            outcome = error.reason.lower()
            raise
        except Exception as error:
            outcome = "crashed"
            raise JobCrashed(f"{kind}: {type(error).__name__}") from error
        finally:
            JOBS.labels(kind, outcome).inc()
        JOB_SECONDS.labels(kind).observe(time.monotonic() - began)
        return result
