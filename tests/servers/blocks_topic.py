"""A topic of blocks in a real broker, into which a test writes what it likes."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from cipherward.chain.v1 import block_pb2 as pb
from cipherward_member.kafka_connection import KafkaConnection
from cipherward_member.kafka_topic import BATCH_BYTES_MAX, PARTITION, key_of


@dataclass(frozen=True, slots=True)
class BlocksTopic:
    """One topic, and how its broker is reached."""

    connection: KafkaConnection
    name: str

    @asynccontextmanager
    async def producer(self, **options: Any) -> AsyncGenerator[Any]:
        """Connect a producer with aiokafka's `options`."""
        arguments = {**self.connection.arguments(), "max_request_size": 2 * BATCH_BYTES_MAX}
        producer: Any = AIOKafkaProducer(**arguments, **options)
        try:
            await producer.start()
            yield producer
        finally:
            await producer.stop()

    async def write(self, *messages: tuple[bytes | None, bytes | None]) -> None:
        """Append messages, each (key, value)."""
        async with self.producer() as producer:
            sent = [
                await producer.send(self.name, value=value, key=key, partition=PARTITION)
                for key, value in messages
            ]
            for one in sent:
                await one

    async def publish(self, blocks: Iterable[pb.ProvenBlock], first: int = 1) -> None:
        """Append blocks of heights from `first` on, as a ledger does."""
        await self.write(
            *((key_of(h), block.SerializeToString()) for h, block in enumerate(blocks, first))
        )


def topic_of(connection: KafkaConnection) -> BlocksTopic:
    """Return a topic with a name of its own, which is not made yet."""
    return BlocksTopic(connection, f"cipherward.test-chain.{secrets.token_hex(4)}.blocks")


async def make_topic(connection: KafkaConnection, name: str = "", **settings: str) -> BlocksTopic:
    """Make a topic; without a name it gets one of its own."""
    topic = BlocksTopic(connection, name) if name else topic_of(connection)
    admin: Any = AIOKafkaAdminClient(**connection.arguments())
    try:
        await admin.start()
        options = {"max.message.bytes": str(2 * BATCH_BYTES_MAX), **settings}
        await admin.create_topics([NewTopic(topic.name, 1, 1, topic_configs=options)])
    finally:
        await admin.close()
    return topic
