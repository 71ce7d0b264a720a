"""Reading a topic at places of the reader's choice: no group, and nothing is committed.

With the ledger's publisher the only code that knows aiokafka. Everything has a deadline; a topic
that cannot be read is `KafkaAway` whatever the cause, since all a reader can do is come back later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, TypeAlias, TypeVar, cast

import aiokafka
from aiokafka.errors import (
    CorruptRecordException,
    KafkaError,
    OffsetOutOfRangeError,
    RecordTooLargeError,
    UnsupportedCodecError,
)
from aiokafka.structs import TopicPartition

from cipherward_member.kafka_connection import REQUEST_SECONDS, KafkaConnection
from cipherward_member.kafka_topic import PARTITION, TRACES_HEADER, Message

T = TypeVar("T")

# A client of ours says once that Kafka is away, and why; aiokafka says it twice a second.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

# The broker answers a reader at the end of the topic this often, if only to say: nothing new.
POLL_SECONDS: Final = 0.25
# Not even such an answer for so long: the broker, or the way to it, is gone.
SILENCE_SECONDS: Final = 5.0
# A broker that answers, but shows no message at a place for so long, has none there.
PLACE_SECONDS: Final = 3.0
# Small blocks come by the hundreds in one answer; a large one comes whatever this says.
FETCH_BYTES: Final = 1024 * 1024
# What aiokafka itself says of a batch that it cannot unpack.
UNPACKING_ERRORS: Final = (CorruptRecordException, UnsupportedCodecError, RecordTooLargeError)


class KafkaAway(Exception):
    """The brokers cannot be reached, refuse us, or have no such topic; the text says which."""


class OffsetGone(Exception):
    """The topic no longer has, or does not have yet, the message at a reader's place."""


class MessagesUnreadable(Exception):
    """The messages at a reader's place are damaged, or packed in a way that is not supported."""


class _Record(Protocol):
    """What aiokafka says of one message."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


Records: TypeAlias = Mapping[TopicPartition, Sequence[_Record]]


class _Consumer(Protocol):
    """The part of AIOKafkaConsumer that is used here; the library ships no types."""

    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def topics(self) -> set[str]: ...
    def assign(self, partitions: Sequence[TopicPartition]) -> None: ...
    def seek(self, partition: TopicPartition, offset: int) -> None: ...
    def last_poll_timestamp(self, partition: TopicPartition) -> int | None: ...
    async def beginning_offsets(
        self, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, int]: ...
    async def end_offsets(
        self, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, int]: ...
    async def getmany(self, *, timeout_ms: int, max_records: int | None) -> Records: ...


class _ClosableConsumer(aiokafka.AIOKafkaConsumer):
    """A consumer that can be closed while the broker is away.

    `stop` cancels what waits for a broker, and then raises that cancellation itself: whoever calls
    it would end as if cancelled, silently, and the connections would stay.
    """

    async def close(self) -> None:
        """Close the connections; nothing is raised."""
        stopping = asyncio.ensure_future(self.stop())
        await asyncio.wait([stopping], timeout=REQUEST_SECONDS)
        if not stopping.done() or stopping.cancelled() or stopping.exception() is not None:
            await self._client.close()


async def apart(seconds: float, work: Awaitable[T]) -> T:
    """Return what `work` of aiokafka's returns, or raise what it raises.

    In a task of its own: where the library cancels what it waits for, that shall not look like a
    cancellation of its caller.

    Raises:
        KafkaAway: it took longer, or was cancelled from within.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task], timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not task.done():
        task.cancel()
        raise KafkaAway("no answer in time")
    if task.cancelled():
        raise KafkaAway("the connection was given up")
    return task.result()


async def within(seconds: float, work: Awaitable[T]) -> T:
    """As `apart`; where Kafka or the network fails it is `KafkaAway` too."""
    try:
        return await apart(seconds, work)
    except (KafkaError, OSError) as error:
        raise KafkaAway(type(error).__name__) from error


class TopicReader:
    """One connection to one topic; `open_reader` makes it."""

    def __init__(self, consumer: _Consumer, topic: str) -> None:
        self._consumer = consumer
        self._partition = TopicPartition(topic, PARTITION)
        self._heard = (time.monotonic(), 0)  # when, and the answer's own time stamp

    async def bounds(self) -> tuple[int, int]:
        """Return the offset of the oldest message, and the one behind the newest.

        Raises:
            KafkaAway: Kafka does not answer.
        """
        places = [self._partition]
        first = await within(REQUEST_SECONDS, self._consumer.beginning_offsets(places))
        end = await within(REQUEST_SECONDS, self._consumer.end_offsets(places))
        return first[self._partition], end[self._partition]

    def seek(self, offset: int) -> None:
        """Go on reading at `offset`."""
        self._consumer.seek(self._partition, offset)

    async def read(self, limit: int) -> list[Message]:
        """Return up to `limit` messages from the place on; none if there is none within a moment.

        Raises:
            KafkaAway: nothing was heard of the broker for a while.
            OffsetGone: there is no such place any more.
            MessagesUnreadable: what is there cannot be decoded; the place stays.
        """
        try:
            found = await apart(
                REQUEST_SECONDS,
                self._consumer.getmany(timeout_ms=int(POLL_SECONDS * 1000), max_records=limit),
            )
        except OffsetOutOfRangeError as error:
            raise OffsetGone("the offset is out of range") from error
        except UNPACKING_ERRORS as error:
            raise MessagesUnreadable(type(error).__name__) from error
        except KafkaError as error:
            raise KafkaAway(type(error).__name__) from error
        except KafkaAway:
            raise
        except Exception as error:  # anybody's bytes were decoded: there is no list of what breaks
            raise MessagesUnreadable(type(error).__name__) from error
        records = found.get(self._partition, ())
        if not records:
            self._check_alive()
        return [
            Message(one.offset, one.key or b"", one.value or b"", _traces(one)) for one in records
        ]

    async def read_at(self, offset: int, limit: int = 1) -> list[Message]:
        """Return messages from `offset` on; none if they cannot be read, or are none of anybody's.

        A topic has places without a message: where a transaction ended, or what was compacted.

        Raises:
            KafkaAway: nothing was heard of the broker for a while.
            OffsetGone: there is no such place.
        """
        self.seek(offset)
        deadline = time.monotonic() + PLACE_SECONDS
        while time.monotonic() < deadline:
            try:
                messages = await self.read(limit)
            except MessagesUnreadable:
                break
            if messages:
                return messages
        return []

    def _check_alive(self) -> None:
        answered = self._consumer.last_poll_timestamp(self._partition) or 0
        if answered != self._heard[1]:
            self._heard = (time.monotonic(), answered)
        elif time.monotonic() - self._heard[0] > SILENCE_SECONDS:
            raise KafkaAway("the broker is silent")


def _traces(record: _Record) -> bytes:
    return next((value for name, value in record.headers if name == TRACES_HEADER), b"")


@asynccontextmanager
async def open_reader(connection: KafkaConnection, topic: str) -> AsyncGenerator[TopicReader]:
    """Connect and yield a reader of the topic, without a place yet; `seek` gives it one.

    Raises:
        KafkaAway: the brokers cannot be reached, refuse us, or do not have the topic.
    """
    arguments: dict[str, Any] = {
        **connection.arguments(),
        "group_id": None,  # the place is kept in the service's own store
        "auto_offset_reset": "none",
        "enable_auto_commit": False,
        "fetch_max_wait_ms": int(POLL_SECONDS * 1000),
        "max_partition_fetch_bytes": FETCH_BYTES,
    }
    consumer = cast("_Consumer", _ClosableConsumer(**arguments))
    async with connection.followed():
        try:
            await within(2 * REQUEST_SECONDS, consumer.start())
            # All topics are listed first: to ask for one by name may make it, with a broker's
            # defaults.
            if topic not in await within(REQUEST_SECONDS, consumer.topics()):
                raise KafkaAway("there is no such topic")
            consumer.assign([TopicPartition(topic, PARTITION)])
            yield TopicReader(consumer, topic)
        finally:
            await consumer.close()
