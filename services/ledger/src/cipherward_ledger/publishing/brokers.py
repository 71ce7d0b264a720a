"""The publisher's clients of Kafka: one that makes the topic, one that writes to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, cast

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from cipherward_ledger.publishing.config import PublishingConfig
from cipherward_member.kafka_connection import REQUEST_SECONDS, KafkaConnection
from cipherward_member.kafka_reader import KafkaAway, within
from cipherward_member.kafka_topic import BATCH_BYTES_MAX

COPIES_WANTED: Final = 3  # one may be lost, and one be restarted, without losing a block
HOUR_MS: Final = 3_600_000
# What one request to the broker holds when many blocks are ready: some hundred small ones.
BATCH_BYTES: Final = 1024 * 1024
CREATED: Final = 0  # Kafka's code of success


class Producer(Protocol):
    """The part of AIOKafkaProducer that is used here; the library ships no types."""

    async def start(self) -> None: ...
    async def send(
        self, topic: str, *, value: bytes, key: bytes, partition: int, timestamp_ms: int
    ) -> asyncio.Future[object]: ...
    async def abandon(self) -> None: ...


class _AbandonableProducer(aiokafka.AIOKafkaProducer):
    """A producer that can be closed while the broker is away.

    `stop` waits for what was sent until it is acknowledged: for ever, if the broker does not come
    back, and the ledger could not end.
    """

    async def abandon(self) -> None:
        """Close the connections, whatever was sent and not acknowledged."""
        self._closed = True
        sending: asyncio.Task[None] | None = self._sender.sender_task
        if sending is not None:
            sending.cancel()
            await asyncio.wait([sending], timeout=2 * REQUEST_SECONDS)
        await self.client.close()


class _TopicsMade(Protocol):
    topic_errors: Sequence[Sequence[Any]]  # name, code and text


class _Admin(Protocol):
    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def list_topics(self) -> list[str]: ...
    async def describe_cluster(self) -> Mapping[str, Any]: ...
    async def create_topics(self, new_topics: Sequence[NewTopic]) -> _TopicsMade: ...


@asynccontextmanager
async def open_producer(connection: KafkaConnection) -> AsyncGenerator[Producer]:
    """Connect a producer that writes every message once and in order, on all copies in sync.

    Raises:
        KafkaAway: the brokers cannot be reached, or refuse us.
    """
    producer: Producer = _AbandonableProducer(
        **connection.arguments(),
        enable_idempotence=True,
        acks="all",
        max_batch_size=BATCH_BYTES,
        max_request_size=BATCH_BYTES_MAX,
    )
    try:
        await within(2 * REQUEST_SECONDS, producer.start())
        yield producer
    finally:
        await producer.abandon()


async def ensure_topic(connection: KafkaConnection, topic: str, config: PublishingConfig) -> None:
    """Make the topic, of one partition, unless it is there.

    Raises:
        KafkaAway: the brokers cannot be reached, or refuse to make it.
    """
    admin = cast("_Admin", AIOKafkaAdminClient(**connection.arguments()))
    try:
        await within(2 * REQUEST_SECONDS, admin.start())
        if topic in await within(REQUEST_SECONDS, admin.list_topics()):
            return
        cluster = await within(REQUEST_SECONDS, admin.describe_cluster())
        copies = config.kafka_copies or min(COPIES_WANTED, len(cluster["brokers"]))
        made = await within(
            REQUEST_SECONDS, admin.create_topics([_new_topic(topic, copies, config)])
        )
        for _, code, *_ in made.topic_errors:
            if code not in (CREATED, TopicAlreadyExistsError.errno):
                raise KafkaAway(f"the topic cannot be made: {for_code(code).__name__}")
    finally:
        await admin.close()


def _new_topic(topic: str, copies: int, config: PublishingConfig) -> NewTopic:
    acknowledged = config.kafka_copies_acknowledged or max(1, copies - 1)
    settings = {
        "cleanup.policy": "delete",
        "compression.type": "gzip" if config.kafka_compression == "gzip" else "uncompressed",
        "max.message.bytes": str(BATCH_BYTES_MAX),
        "min.insync.replicas": str(acknowledged),
        "retention.bytes": "-1",
        "retention.ms": str(config.kafka_retention_hours * HOUR_MS),
    }
    return NewTopic(topic, num_partitions=1, replication_factor=copies, topic_configs=settings)
