"""Writing to topics: a producer of the library's that can be given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, cast

import aiokafka

from cipherward_member.kafka_connection import REQUEST_SECONDS, KafkaConnection
from cipherward_member.kafka_reader import within


class Producer(Protocol):
    """The part of AIOKafkaProducer that is used here; the library ships no types."""

    async def start(self) -> None:
        """Connect."""
        ...

    async def partitions_for(self, topic: str) -> set[int]:
        """Return the numbers of a topic's partitions."""
        ...

    async def send(
        self,
        topic: str,
        *,
        value: bytes,
        partition: int,
        key: bytes | None = None,
        timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] | None = None,
    ) -> asyncio.Future[object]:
        """Append a message; what is returned is done when the brokers have acknowledged it."""
        ...

    async def abandon(self) -> None:
        """Close the connections, whatever was sent and not acknowledged."""
        ...


@dataclass(frozen=True, slots=True)
class Requests:
    """What one request to a broker holds. batch_bytes: of messages put together; largest_bytes."""

    batch_bytes: int
    largest_bytes: int


class _AbandonableProducer(aiokafka.AIOKafkaProducer):
    """A producer that can be closed while the broker is away.

    `stop` waits for what was sent until it is acknowledged: for ever, if the broker does not come
    back, and whoever publishes could not end.
    """

    async def abandon(self) -> None:
        self._closed = True
        sending: asyncio.Task[None] | None = self._sender.sender_task
        if sending is not None:
            sending.cancel()
            await asyncio.wait([sending], timeout=2 * REQUEST_SECONDS)
        await self.client.close()


@asynccontextmanager
async def open_producer(
    connection: KafkaConnection, requests: Requests
) -> AsyncGenerator[Producer]:
    """Connect a producer that writes every message once and in order, on all copies in sync.

    Raises:
        KafkaAway: the brokers cannot be reached, or refuse us.
    """
    producer = cast(
        "Producer",
        _AbandonableProducer(
            **connection.arguments(),
            enable_idempotence=True,
            acks="all",
            max_batch_size=requests.batch_bytes,
            max_request_size=requests.largest_bytes,
        ),
    )
    async with connection.followed():
        try:
            await within(2 * REQUEST_SECONDS, producer.start())
            yield producer
        finally:
            await producer.abandon()
