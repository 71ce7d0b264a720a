"""A worker replica: takes jobs from the member's queue as long as one of its processes is free.

A job is committed when it is taken, not when it is done: what is lost with a worker the owner sends
again, a bounded number of times, where Kafka would hand it out for ever. A worker keeps nothing.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from aiokafka.errors import KafkaError

from cipherward_compute.jobs import metrics
from cipherward_compute.jobs.intake import Intake, Job
from cipherward_compute.jobs.local import RunJob
from cipherward_compute.jobs.messages import (
    PAYLOAD_BYTES_MAX,
    JobHead,
    ReplyHead,
    Seal,
    State,
    digests_of,
    part_messages,
)
from cipherward_compute.jobs.owner import BACKOFF_SECONDS
from cipherward_compute.jobs.queue_reader import QueueReader, open_queue
from cipherward_compute.jobs.queue_writer import QueueWriter, open_writer
from cipherward_compute.jobs.topics import Topics
from cipherward_kit.jobs import WorkerLost, WorkerPool
from cipherward_kit.readiness import Readiness
from cipherward_member.kafka_connection import KafkaConnection
from cipherward_member.kafka_creation import ensure_topics
from cipherward_member.kafka_reader import KafkaAway

log: structlog.stdlib.BoundLogger = structlog.get_logger()

QUEUE: Final = "queue"  # the condition of readiness


class Replica:
    """Works off a member's queue; `work` goes on for ever."""

    def __init__(
        self,
        connection: KafkaConnection,
        seal: Seal,
        pools: Sequence[WorkerPool],
        run_job: RunJob,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Describe the work.

        Args:
            connection: to the brokers.
            seal: the key shared with the owner.
            pools: open, of one worker each: a job that ends its process ends no other job.
            run_job: what a process runs.
            clock: Unix seconds now.
        """
        self._connection = connection
        self._seal = seal
        self._topics = Topics.of(seal.chain_id, seal.member)
        self._free: asyncio.Queue[WorkerPool] = asyncio.Queue(len(pools))
        for pool in pools:
            self._free.put_nowait(pool)
        self._run_job = run_job
        self._intake = Intake(seal, clock)
        self._writer: QueueWriter | None = None
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Take no further job; `work` returns when those that were taken are ended."""
        self._stopping.set()

    async def work(self, readiness: Readiness) -> None:
        """Take jobs and do them until `stop`; whatever fails on the way to Kafka is tried again."""
        backoff = BACKOFF_SECONDS[0]
        async with asyncio.TaskGroup() as jobs:
            while not self._stopping.is_set():
                try:
                    await ensure_topics(self._connection, self._topics.wanted)
                    async with (
                        open_writer(self._connection, self._topics.replies) as writer,
                        open_queue(self._connection, self._topics) as queue,
                    ):
                        self._writer, backoff = writer, BACKOFF_SECONDS[0]
                        readiness.set(QUEUE, True)
                        metrics.ON_QUEUE.set(1)
                        await self._take_jobs(queue, jobs)
                        if self._stopping.is_set():
                            await self._all_free()  # while there is a queue to answer to
                except (KafkaAway, KafkaError, OSError) as error:
                    log.warning("queue_away", cause=type(error).__name__, why=str(error))
                finally:
                    self._writer = None
                    metrics.ON_QUEUE.set(0)
                    readiness.set(QUEUE, False, "the queue cannot be reached")
                if not self._stopping.is_set():
                    await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                    backoff = min(2 * backoff, BACKOFF_SECONDS[1])

    async def _take_jobs(self, queue: QueueReader, jobs: asyncio.TaskGroup) -> None:
        """Take a job whenever a process is free; return to stop, or when answers do not get out."""
        while self._writer is not None and not self._writer.broken:
            pool = await self._free.get()  # first: what others could do is not taken to wait here
            try:
                job = await self._next(queue)
            except BaseException:
                self._free.put_nowait(pool)
                raise
            if job is None:
                self._free.put_nowait(pool)
                if self._stopping.is_set():
                    return
            else:
                jobs.create_task(self._carry_out(job, pool), name="job")

    async def _next(self, queue: QueueReader) -> Job | None:
        """Return the next job once it is committed as ours; None after a moment without one."""
        while not self._stopping.is_set():
            job = self._intake.next()
            if job is None:
                records = await queue.read()
                if not records:
                    return None
                self._intake.add(queue, records)
            elif await queue.commit(job.last):
                self._intake.remember(job.head)
                return job
        return None

    async def _carry_out(self, job: Job, pool: WorkerPool) -> None:
        head, began, outcome = job.head, time.monotonic(), "done"
        try:
            await self._say(head, "taken")
            result = await pool.run(self._run_job, head.kind, job.arguments)
            if len(result) > PAYLOAD_BYTES_MAX:
                raise OverflowError("a result is too large for the queue")
            await self._say(head, "done", result)
            metrics.JOB_SECONDS.labels(head.kind).observe(time.monotonic() - began)
        except WorkerLost:
            outcome = "worker_lost"
            await self._say(head, "lost")
        except Exception as error:  # this task's boundary: one job must not stop the replica
            outcome = "crashed"
            log.exception("job_crashed", kind=head.kind, cause=type(error).__name__)
            await self._say(head, "crashed")
        finally:
            metrics.JOBS.labels(head.kind, outcome).inc()
            self._free.put_nowait(pool)

    async def _say(self, head: JobHead, state: State, result: bytes | None = None) -> None:
        """Tell the owner; where it cannot be told it finds out by waiting."""
        messages: list[bytes] = []
        digests: tuple[bytes, ...] = ()
        if result is not None:
            digests = await asyncio.to_thread(digests_of, result)
            messages.extend(part_messages(head.id, head.attempt, result))
        messages.insert(0, self._seal.reply(ReplyHead(head.id, head.attempt, state, digests)))
        try:
            if self._writer is None or self._writer.broken:
                raise KafkaAway("no connection")
            await self._writer.write(messages)
        except KafkaAway as error:
            log.warning("reply_not_sent", state=state, why=str(error))

    async def _all_free(self) -> None:
        """Wait until every process is free, and give them back."""
        pools = [await self._free.get() for _ in range(self._free.maxsize)]
        for pool in pools:
            self._free.put_nowait(pool)
