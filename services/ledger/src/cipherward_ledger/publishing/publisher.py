"""Publishing proven blocks to the member's topic.

Consensus does not wait for Kafka: while the brokers are away the chain goes on, the topic lags, a
metric says so, and the rest follows when they are back. Where to go on is read from the topic
itself, so no cursor can disagree with it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from cipherward.chain.v1 import block_pb2 as chain
from cipherward_chain.comet import header_time_ns, parse_header
from cipherward_ledger.errors import BlockCorrupt, BlockPruned
from cipherward_ledger.proven import ProvenBlocks
from cipherward_ledger.publishing.config import PublishingConfig
from cipherward_ledger.publishing.metrics import (
    FEED_CONNECTED,
    FEED_FAILURES,
    FEED_HEIGHT,
    FEED_LAG,
    FEED_REFUSED,
)
from cipherward_ledger.publishing.resume import newest_published
from cipherward_ledger.publishing.topic import REQUESTS, topic_wanted
from cipherward_member.kafka_connection import REQUEST_SECONDS, KafkaConnection
from cipherward_member.kafka_creation import ensure_topics
from cipherward_member.kafka_producer import Producer, open_producer
from cipherward_member.kafka_reader import KafkaAway, open_reader, within
from cipherward_member.kafka_topic import (
    PARTITION,
    TRACES_HEADER,
    VALUE_BYTES_MAX,
    key_of,
    topic_name,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()

BACKOFF_SECONDS: Final = (0.2, 5.0)  # below the heartbeat: a broker that is back is seen soon
# Sent and not acknowledged: enough to fill requests while the topic catches up.
WINDOW_BLOCKS: Final = 512
WINDOW_BYTES: Final = 16 * 1024 * 1024
MILLISECOND_NS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Sending:
    """A block on its way."""

    height: int
    acknowledged: asyncio.Future[object]


class Publisher:
    """Keeps the topic equal to the chain's proven blocks. `run` goes on for ever.

    Args:
        blocks: the ledger's own.
        connection: to the brokers.
        topic: its name; made when it is missing.
        config: what it is made with.
    """

    def __init__(
        self,
        blocks: ProvenBlocks,
        connection: KafkaConnection,
        topic: str,
        config: PublishingConfig,
    ) -> None:
        self._blocks = blocks
        self._connection = connection
        self._topic = topic
        self._config = config
        self._published = 0
        self._window_blocks = WINDOW_BLOCKS
        self._left_out = 0  # the newest block that no message of this topic holds
        FEED_HEIGHT.set_function(lambda: self._published)
        FEED_LAG.set_function(lambda: self._proven_height - self._published)

    @property
    def _proven_height(self) -> int:
        return self._blocks.tip.position.proven_height

    async def run(self) -> None:
        """Publish until cancelled; whatever fails is tried again from the topic's end."""
        backoff = BACKOFF_SECONDS[0]
        while True:
            began = self._published
            try:
                await self._publish()
            except (KafkaAway, KafkaError, BlockPruned, BlockCorrupt) as error:
                cause = type(error).__name__
                FEED_FAILURES.labels(cause).inc()
                log.warning("feed_interrupted", height=self._published, cause=cause, why=str(error))
            except Exception as error:  # a fault in here or in the library: the chain goes on
                FEED_FAILURES.labels(type(error).__name__).inc()
                log.exception("feed_crashed", height=self._published)
            finally:
                FEED_CONNECTED.set(0)
            if self._published > began:
                backoff = BACKOFF_SECONDS[0]
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
            backoff = min(2 * backoff, BACKOFF_SECONDS[1])

    async def _publish(self) -> None:
        """Go on from where the topic ends; returns when a block was refused for its size."""
        await ensure_topics(self._connection, [topic_wanted(self._topic, self._config)])
        async with open_reader(self._connection, self._topic) as reader:
            self._published = max(await newest_published(reader, self._blocks), self._left_out)
        async with open_producer(self._connection, REQUESTS) as producer:
            FEED_CONNECTED.set(1)
            log.info("feed_resumed", height=self._published)
            taken = True
            while taken:
                await self._blocks.tip.proven(self._published + 1)
                # What is pruned here followers cannot get here either: a gap, which they see.
                start = max(self._published + 1, self._blocks.first_height)
                taken = await self._send_window(producer, start)

    async def _send_window(self, producer: Producer, start: int) -> bool:
        """Send some blocks from `start` on, and return when all of them are acknowledged.

        False: one was refused for its size, and the producer, whose messages are numbered without
        a gap, can send no more.
        """
        sending: list[_Sending] = []
        size, height = 0, start
        try:
            while height <= self._proven_height and len(sending) < self._window_blocks:
                block = await self._blocks.get(height)
                value = block.SerializeToString()
                if size and size + len(value) > WINDOW_BYTES:
                    break
                size += len(value)
                if len(value) > VALUE_BYTES_MAX:
                    self._refuse(height, "longer than a message")
                else:
                    sending.append(await self._send(producer, height, block, value))
                height += 1
        except asyncio.CancelledError:
            for one in sending:
                one.acknowledged.cancel()
            raise
        finally:
            too_large = await self._settle(sending)
        if not too_large:
            self._published = height - 1
            return True
        self._published = too_large[0] - 1
        if self._window_blocks > 1:
            # The broker measured what the producer had packed together: each by itself from here.
            self._window_blocks = 1
        else:
            self._left_out = too_large[0]
            self._refuse(self._left_out, "longer than this topic allows")
        return False

    async def _send(
        self, producer: Producer, height: int, block: chain.ProvenBlock, value: bytes
    ) -> _Sending:
        # Retention counts by block time; a broker refuses times that are ahead of its own.
        block_ns = header_time_ns(parse_header(block.header))
        traces = self._blocks.traces.for_topic(height, block)
        acknowledged = await within(
            REQUEST_SECONDS,
            producer.send(
                self._topic,
                value=value,
                key=key_of(height),
                partition=PARTITION,
                timestamp_ms=min(block_ns, time.time_ns()) // MILLISECOND_NS,
                headers=[(TRACES_HEADER, traces)] if traces else [],
            ),
        )
        return _Sending(height, acknowledged)

    async def _settle(self, sending: Sequence[_Sending]) -> list[int]:
        """Wait for every acknowledgement; return the heights that were too large for the topic.

        Raises:
            KafkaError: why one was not acknowledged; all were waited for.
        """
        # The producer itself would try for ever.
        outcomes = await within(
            2 * REQUEST_SECONDS,
            asyncio.gather(*(one.acknowledged for one in sending), return_exceptions=True),
        )
        too_large: list[int] = []
        for one, outcome in zip(sending, outcomes, strict=True):
            if isinstance(outcome, MessageSizeTooLargeError):
                too_large.append(one.height)
            elif isinstance(outcome, Exception):
                raise outcome
        return too_large

    @staticmethod
    def _refuse(height: int, why: str) -> None:
        """Say that a block is not in the topic; followers see the gap and ask the ledger."""
        FEED_REFUSED.inc()
        log.error("block_not_published", height=height, why=why)


async def open_publisher(
    config: PublishingConfig, chain_id: str, blocks: ProvenBlocks
) -> Publisher | None:
    """Return the publisher that the settings ask for; None without the feed `kafka`.

    Raises:
        KafkaUnusable: a file that the settings name for Kafka cannot be used.
    """
    if config.feed != "kafka":
        return None
    connection = await asyncio.to_thread(KafkaConnection.read, config)
    return Publisher(blocks, connection, topic_name(chain_id, config.member), config)
