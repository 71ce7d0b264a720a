"""Reading a member's queue together with the other replicas: Kafka gives each its partitions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import aiokafka
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from cipherward_compute.jobs.messages import MESSAGE_BYTES_MAX
from cipherward_compute.jobs.topics import Topics
from cipherward_member.kafka_connection import REQUEST_SECONDS, KafkaConnection
from cipherward_member.kafka_reader import (
    POLL_SECONDS,
    SILENCE_SECONDS,
    UNPACKING_ERRORS,
    KafkaAway,
    apart,
    within,
)

# Of one partition in one answer: some parts of one payload, and not a queue's worth for a worker
# that takes one job at a time.
FETCH_BYTES: Final = 4 * MESSAGE_BYTES_MAX
# A worker that is silent for so long is dead: its partitions go to the others.
SESSION_MS, HEARTBEAT_MS = 10_000, 3_000
RECORDS_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class Record:
    """A message of the queue, and its place in it."""

    partition: int
    offset: int
    value: bytes


class _RawRecord(Protocol):
    offset: int
    value: bytes | None


class _Consumer(Protocol):
    """The part of AIOKafkaConsumer that is used here; the library ships no types."""

    async def start(self) -> None: ...
    async def close(self) -> None: ...
    def subscribe(self, topics: Sequence[str], *, listener: object) -> None: ...
    def assignment(self) -> set[TopicPartition]: ...
    async def position(self, partition: TopicPartition) -> int: ...
    def seek(self, partition: TopicPartition, offset: int) -> None: ...
    def last_poll_timestamp(self, partition: TopicPartition) -> int | None: ...
    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None: ...
    async def getmany(
        self, *, timeout_ms: int, max_records: int | None
    ) -> Mapping[TopicPartition, Sequence[_RawRecord]]: ...


class _ClosableConsumer(aiokafka.AIOKafkaConsumer):
    """A consumer that can be closed while the broker is away, see `kafka_reader`."""

    async def close(self) -> None:
        """Leave the group and close the connections; nothing is raised."""
        stopping = asyncio.ensure_future(self.stop())
        await asyncio.wait([stopping], timeout=REQUEST_SECONDS)
        if not stopping.done() or stopping.cancelled() or stopping.exception() is not None:
            await self._client.close()


class _Shared(aiokafka.ConsumerRebalanceListener):
    """Counts how often the partitions were shared out anew."""

    def __init__(self) -> None:
        self.times = 0

    def on_partitions_revoked(self, revoked: object) -> None:
        """Partitions go to others; what of them is not committed, they read again."""
        self.times += 1

    def on_partitions_assigned(self, assigned: object) -> None:
        """Partitions came."""


class QueueReader:
    """One worker's share of the queue; partitions come and go as workers do."""

    def __init__(self, consumer: _Consumer, topic: str, shared: _Shared) -> None:
        self._consumer = consumer
        self._topic = topic
        self._shared = shared
        self._heard = (time.monotonic(), 0)  # when, and the newest answer's own time stamp

    @property
    def sharings(self) -> int:
        """How often the partitions were shared out anew: what was begun before is void then."""
        return self._shared.times

    async def read(self) -> list[Record]:
        """Return the next messages; none if there is none within a moment.

        What cannot be unpacked is passed over: anybody may have written it.

        Raises:
            KafkaAway: the brokers do not answer.
        """
        try:
            found = await apart(
                REQUEST_SECONDS,
                self._consumer.getmany(
                    timeout_ms=int(POLL_SECONDS * 1000), max_records=RECORDS_AT_ONCE
                ),
            )
        except UNPACKING_ERRORS:
            await self._pass_over()
            return []
        except KafkaError as error:
            raise KafkaAway(type(error).__name__) from error
        if not found:
            self._check_alive()
        return [
            Record(partition.partition, one.offset, one.value or b"")
            for partition, records in found.items()
            for one in records
        ]

    async def commit(self, record: Record) -> bool:
        """Say that a partition is read up to and with a message; return whether it is ours still.

        Raises:
            KafkaAway: the brokers do not answer.
        """
        place = {TopicPartition(self._topic, record.partition): record.offset + 1}
        try:
            await apart(REQUEST_SECONDS, self._consumer.commit(place))
        except KafkaError as error:
            if error.retriable:
                raise KafkaAway(type(error).__name__) from error
            return False  # the partition is another worker's by now
        except ValueError:  # aiokafka's word for a partition that is not assigned to us
            return False
        return True

    def _check_alive(self) -> None:
        mine = self._consumer.assignment()
        answered = max((self._consumer.last_poll_timestamp(one) or 0 for one in mine), default=0)
        if answered != self._heard[1] or not mine:
            self._heard = (time.monotonic(), answered)
        elif time.monotonic() - self._heard[0] > SILENCE_SECONDS:
            raise KafkaAway("the broker is silent")

    async def _pass_over(self) -> None:
        for partition in self._consumer.assignment():
            place = await within(REQUEST_SECONDS, self._consumer.position(partition))
            self._consumer.seek(partition, place + 1)


@asynccontextmanager
async def open_queue(connection: KafkaConnection, topics: Topics) -> AsyncGenerator[QueueReader]:
    """Join the workers that share a member's queue.

    Raises:
        KafkaAway: the brokers cannot be reached, or refuse us.
    """
    arguments: dict[str, Any] = {
        **connection.arguments(),
        "group_id": topics.group,
        # A new group begins with what is there: late jobs are recognised by their deadline.
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "fetch_max_wait_ms": int(POLL_SECONDS * 1000),
        "max_partition_fetch_bytes": FETCH_BYTES,
        "session_timeout_ms": SESSION_MS,
        "heartbeat_interval_ms": HEARTBEAT_MS,
    }
    consumer = cast("_Consumer", _ClosableConsumer(**arguments))
    shared = _Shared()
    async with connection.followed():
        try:
            consumer.subscribe([topics.jobs], listener=shared)
            await within(2 * REQUEST_SECONDS, consumer.start())
            yield QueueReader(consumer, topics.jobs, shared)
        finally:
            await consumer.close()
