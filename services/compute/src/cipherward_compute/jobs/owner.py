"""Jobs on the member's queue: what the compute service asks of its worker replicas.

An attempt is written once. A worker says when it takes it and what came of it. One that is not
taken in time is given up: there are no workers, and the caller hears so. One that was taken and not
ended is sent again, since its worker is gone, a few times: a job that ends every worker shall not
end all of them. Whichever attempt is done first counts; results are functions of their arguments.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import grpc
import structlog
from aiokafka.errors import KafkaError

from cipherward_compute.jobs import metrics
from cipherward_compute.jobs.kinds import Kind
from cipherward_compute.jobs.local import PoolRunner
from cipherward_compute.jobs.messages import (
    ID_BYTES,
    PAYLOAD_BYTES_MAX,
    Assembly,
    JobHead,
    NotOurs,
    ReplyHead,
    Seal,
    digests_of,
    is_head,
    parse_part,
    part_messages,
)
from cipherward_compute.jobs.public import JobCrashed
from cipherward_compute.jobs.queue_writer import QueueWriter, open_writer
from cipherward_compute.jobs.topics import Topics
from cipherward_kit.jobs import WorkerLost, WorkersBusy
from cipherward_member.kafka_connection import KafkaConnection
from cipherward_member.kafka_creation import ensure_topics
from cipherward_member.kafka_reader import (
    KafkaAway,
    MessagesUnreadable,
    OffsetGone,
    TopicReader,
    open_reader,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()

ATTEMPTS_MAX: Final = 3  # two workers may be lost for reasons of their own, three are not
MESSAGES_AT_ONCE: Final = 8  # of up to 0.9 MB each
BACKOFF_SECONDS: Final = (0.2, 5.0)


class WorkersAway(WorkerLost):
    """The queue cannot be reached, or nobody takes jobs from it; the job may be tried again."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "WORKERS_AWAY"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is asked for at once, and how long it may take.

    jobs_max: in the queue or at a worker; further ones are refused. queue_seconds: until a worker
    takes a job; a full queue of 64 jobs is done by one worker in less. job_seconds: from there to
    the result; the longest take a few.
    """

    jobs_max: int = 64
    queue_seconds: float = 60.0
    job_seconds: float = 60.0


@dataclass(slots=True)
class _Attempt:
    """One attempt at a job. moved: it was taken, or ended."""

    moved: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class _Pending:
    """A job that somebody waits for. results: those of which not all parts are here, by attempt."""

    attempts: list[_Attempt] = field(default_factory=list[_Attempt])
    results: dict[int, Assembly] = field(default_factory=dict[int, Assembly])
    result: bytes | None = None
    crashed: bool = False


class KafkaRunner:
    """A `JobRunner` over the member's queue; `listen` beside it, or every job is refused."""

    def __init__(
        self,
        connection: KafkaConnection,
        seal: Seal,
        local: PoolRunner,
        limits: Limits,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Describe the queue.

        Args:
            connection: to the brokers.
            seal: the key shared with the workers.
            local: runs the jobs that are too large for the queue.
            limits: of jobs and time.
            clock: Unix seconds now; the workers' clocks must agree with it within seconds.
        """
        self._connection = connection
        self._seal = seal
        self._topics = Topics.of(seal.chain_id, seal.member)
        self._local = local
        self._limits = limits
        self._clock = clock
        self._writer: QueueWriter | None = None
        self._pending: dict[bytes, _Pending] = {}

    async def run(self, kind: Kind, arguments: bytes) -> bytes:
        """Return what a worker gives for the job.

        Raises:
            WorkersBusy: as many jobs as the bound allows are waited for.
            WorkersAway: no worker took it in time, or the brokers are away.
            JobCrashed: it failed, or ended ATTEMPTS_MAX workers.
        """
        if len(arguments) > PAYLOAD_BYTES_MAX:
            return await self._local.run(kind, arguments)
        if len(self._pending) >= self._limits.jobs_max:
            metrics.JOBS.labels(kind, "workers_busy").inc()
            raise WorkersBusy(
                f"{len(self._pending)} jobs in flight", jobs_max=self._limits.jobs_max
            )
        job, pending = secrets.token_bytes(ID_BYTES), _Pending()
        self._pending[job] = pending
        began, outcome = time.monotonic(), "cancelled"
        try:
            result = await self._done(job, pending, kind, arguments)
            outcome = "done"
        except WorkersAway:
            outcome = "workers_away"
            raise
        except JobCrashed:
            outcome = "crashed" if pending.crashed else "poisoned"
            raise
        finally:
            del self._pending[job]
            metrics.JOBS.labels(kind, outcome).inc()
        metrics.JOB_SECONDS.labels(kind).observe(time.monotonic() - began)
        return result

    async def _done(self, job: bytes, pending: _Pending, kind: Kind, arguments: bytes) -> bytes:
        digests = await asyncio.to_thread(digests_of, arguments)
        for number in range(1, ATTEMPTS_MAX + 1):
            if number > 1:
                metrics.REDELIVERED.inc()
                log.warning("job_redelivered", kind=str(kind), attempt=number)
            attempt = _Attempt()
            pending.attempts.append(attempt)
            deadline_ms = int((self._clock() + self._limits.queue_seconds) * 1000)
            head = JobHead(job, number, kind, deadline_ms, digests)
            await self._written([self._seal.job(head), *part_messages(job, number, arguments)])
            await self._ended(attempt)
            if pending.result is not None:
                return pending.result
            if pending.crashed:
                raise JobCrashed(f"{kind} crashed at a worker; its log says where")
        raise JobCrashed(f"{kind}: {ATTEMPTS_MAX} workers took the job and were lost")

    async def _written(self, messages: list[bytes]) -> None:
        if self._writer is None or self._writer.broken:
            raise WorkersAway("the queue of jobs cannot be reached")
        try:
            await self._writer.write(messages)
        except KafkaAway as error:
            raise WorkersAway(f"the queue of jobs cannot be reached: {error}") from None

    async def _ended(self, attempt: _Attempt) -> None:
        """Wait until an attempt has ended, or was taken and is overdue."""
        with metrics.WAITING.track_inprogress():
            try:
                async with asyncio.timeout(self._limits.queue_seconds):
                    await attempt.moved.wait()
            except TimeoutError:
                raise WorkersAway("no worker took the job in time") from None
        with metrics.TAKEN.track_inprogress():
            try:
                async with asyncio.timeout(self._limits.job_seconds):
                    await attempt.ended.wait()
            except TimeoutError:
                return

    async def listen(self) -> None:
        """Keep the queue open and take what the workers say, until cancelled."""
        backoff, place = BACKOFF_SECONDS[0], -1
        while True:
            try:
                await ensure_topics(self._connection, self._topics.wanted)
                async with (
                    open_reader(self._connection, self._topics.replies) as reader,
                    open_writer(self._connection, self._topics.jobs) as writer,
                ):
                    # What was said before this process began is about nobody's jobs.
                    place = place if place >= 0 else (await reader.bounds())[1]
                    reader.seek(place)
                    self._writer, backoff = writer, BACKOFF_SECONDS[0]
                    metrics.ON_QUEUE.set(1)
                    while not writer.broken:
                        place = await self._hear(reader, place)
            except OffsetGone:
                place = -1
            except (KafkaAway, KafkaError, OSError) as error:
                log.warning("queue_away", cause=type(error).__name__, why=str(error))
            finally:
                self._writer = None
                metrics.ON_QUEUE.set(0)
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            backoff = min(2 * backoff, BACKOFF_SECONDS[1])

    async def _hear(self, reader: TopicReader, place: int) -> int:
        """Take the next messages; return the place behind them."""
        try:
            messages = await reader.read(MESSAGES_AT_ONCE)
        except MessagesUnreadable:
            metrics.REFUSED.labels("unreadable").inc()
            reader.seek(place + 1)
            return place + 1
        for message in messages:
            try:
                self._take(message.value)
            except NotOurs:
                metrics.REFUSED.labels("not_ours").inc()
            place = message.offset + 1
            await asyncio.sleep(0)  # each may be a megabyte: others work too
        return place

    def _take(self, message: bytes) -> None:
        """Take one message of a worker, or raise `NotOurs`; of jobs that are over, nothing."""
        if is_head(message):
            head = self._seal.open_reply(message)
            pending = self._pending.get(head.id)
            if pending is not None and 1 <= head.attempt <= len(pending.attempts):
                self._said(pending, head)
            return
        part = parse_part(message)
        pending = self._pending.get(part.id)
        result = pending.results.get(part.attempt) if pending is not None else None
        if pending is None or result is None:
            return
        result.add(part)
        if result.complete:
            pending.result = result.payload()
            _end(pending)

    @staticmethod
    def _said(pending: _Pending, head: ReplyHead) -> None:
        attempt = pending.attempts[head.attempt - 1]
        attempt.moved.set()
        match head.state:
            case "taken":
                pass
            case "done":  # said twice by two workers: the parts of either fit
                pending.results.setdefault(head.attempt, Assembly(head.parts))
            case "crashed":
                pending.crashed = True
                _end(pending)
            case "lost":
                attempt.ended.set()


def _end(pending: _Pending) -> None:
    """Wake whoever waits for the job, in whichever attempt."""
    for attempt in pending.attempts:
        attempt.moved.set()
        attempt.ended.set()
