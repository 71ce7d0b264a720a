"""Writing to a topic of the queue: each payload's messages side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from cipherward_compute.jobs.messages import MESSAGE_BYTES_MAX
from cipherward_member.kafka_connection import REQUEST_SECONDS, KafkaConnection
from cipherward_member.kafka_producer import Producer, Requests, open_producer
from cipherward_member.kafka_reader import KafkaAway, within

# Parts on their way and not acknowledged, of one payload.
WINDOW_PARTS: Final = 8
REQUESTS: Final = Requests(MESSAGE_BYTES_MAX, 2 * MESSAGE_BYTES_MAX)


class QueueWriter:
    """Writes heads and their parts to one topic, each partition's one payload after another."""

    def __init__(self, producer: Producer, topic: str, partitions: Sequence[int]) -> None:
        self._producer = producer
        self._topic = topic
        self._partitions = list(partitions)
        self._locks = [asyncio.Lock() for _ in partitions]
        self._sending: set[asyncio.Task[KafkaAway | None]] = set()
        self._turn = 0
        self.broken = False

    async def write(self, messages: Sequence[bytes]) -> None:
        """Append messages to the next partition, side by side, and wait until all are there.

        A caller that is cancelled stops waiting; what it gave is written nevertheless.

        Raises:
            KafkaAway: they were not acknowledged; some may be there. The writer is broken then.
        """
        self._turn = (self._turn + 1) % len(self._partitions)
        task = asyncio.ensure_future(self._write(messages, self._turn))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        await asyncio.wait((task,))  # our own cancellation does not reach it
        if task.cancelled():
            raise KafkaAway("the connection was given up")
        away = task.result()
        if away is not None:
            raise away

    async def close(self) -> None:
        """Give up what is on its way."""
        self.broken = True
        for task in self._sending:
            task.cancel()
        if self._sending:
            await asyncio.wait(self._sending)

    async def _write(self, messages: Sequence[bytes], turn: int) -> KafkaAway | None:
        async with self._locks[turn]:
            try:
                for at in range(0, len(messages), WINDOW_PARTS):
                    sent = [
                        await within(
                            REQUEST_SECONDS,
                            self._producer.send(
                                self._topic, value=one, partition=self._partitions[turn]
                            ),
                        )
                        for one in messages[at : at + WINDOW_PARTS]
                    ]
                    await within(2 * REQUEST_SECONDS, _acknowledged(sent))
            except KafkaAway as away:
                self.broken = True
                return away
        return None


async def _acknowledged(sent: Sequence[asyncio.Future[object]]) -> None:
    """Wait for all, and raise what one of them raised."""
    await asyncio.wait(sent)
    errors = [one.exception() for one in sent]
    for error in errors:
        if error is not None:
            raise error


@asynccontextmanager
async def open_writer(connection: KafkaConnection, topic: str) -> AsyncGenerator[QueueWriter]:
    """Connect a writer of a topic that is there.

    Raises:
        KafkaAway: the brokers cannot be reached, or refuse us.
    """
    async with open_producer(connection, REQUESTS) as producer:
        found = await within(REQUEST_SECONDS, producer.partitions_for(topic))
        writer = QueueWriter(producer, topic, sorted(found))
        try:
            yield writer
        finally:
            await writer.close()
