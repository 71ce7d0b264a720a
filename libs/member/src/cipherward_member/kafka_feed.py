"""Blocks from the member's topic; from its ledger when the topic is away, and when it lies.

A topic is read as long as each message is the block that is wanted, or one that was wanted before.
Anything else (no block, a gap, damage, a block that the consumer rejects, silence) ends its credit:
for a while blocks come from the ledger's own stream, then the topic is tried again. So whoever
writes to the topic, or withholds it, can cost the time of one detour, and never the chain's
progress.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

import structlog
from google.protobuf.message import DecodeError
from prometheus_client import Counter, Gauge

from cipherward.chain.v1 import block_pb2 as pb
from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward_chain.feed import (
    BACKOFF_SECONDS_MAX,
    BACKOFF_SECONDS_MIN,
    BlockFeed,
    Traced,
    ignored,
)
from cipherward_member.kafka_reader import KafkaAway, MessagesUnreadable, OffsetGone, TopicReader
from cipherward_member.kafka_topic import Message, offset_of

log: structlog.stdlib.BoundLogger = structlog.get_logger()

BLOCKS = Counter("cipherward_feed_blocks", "Blocks handed to the follower, by source.", ["source"])
DETOURS = Counter("cipherward_feed_detours", "Times the topic was left for the ledger.", ["reason"])
REPEATED = Counter("cipherward_feed_repeated_messages", "Messages of blocks that were known.")
ON_TOPIC = Gauge("cipherward_feed_on_topic", "1 while blocks come from the topic.")

MESSAGES_AT_ONCE: Final = 256  # enough to amortise a read; the next are fetched meanwhile
SEARCH_MESSAGES: Final = 64  # read at a place of a search: as much junk is stepped over at once
TAIL_MESSAGES: Final = 16  # at the end of the topic; one of them says how far the publisher is


# Causes that need no bad will: the publisher, retention or the network are behind them.
HARMLESS: Final = frozenset({"away", "behind", "gap"})


@dataclass(frozen=True, slots=True)
class Patience:
    """For how long a topic is left.

    detour_seconds: at first; a detour costs the ledger little: a stream, as without Kafka.
    detour_seconds_max: of a topic that lies again and again.
    credit_seconds: a topic that was right for so long begins anew.
    """

    detour_seconds: float = 30.0
    detour_seconds_max: float = 600.0
    credit_seconds: float = 600.0


PATIENCE: Final = Patience()

OpenTopic: TypeAlias = Callable[[], AbstractAsyncContextManager[TopicReader]]
# Is told of what is stepped over, and raises if that proves a fork: `Follower.stray`.
Stray: TypeAlias = Callable[[pb.ProvenBlock], None]


class _Detour(Exception):
    """The topic is left; the text is the cause."""


class KafkaBlockFeed:
    """A `BlockFeed` over a topic and a ledger. For one consumer, which asks again for what it
    rejects.

    Args:
        open_topic: connects to the topic.
        ledger: where blocks come from on a detour, and all that the topic does not have.
        silence_seconds: without a block for so long the ledger is asked. Longer than the time after
            which silence ends rights: while Kafka is away, services say so first.
        patience: how long a detour is.
        traced: is told of the traces that stand beside a block, before it is given.
    """

    def __init__(
        self,
        open_topic: OpenTopic,
        ledger: BlockFeed,
        silence_seconds: float,
        patience: Patience = PATIENCE,
        *,
        traced: Traced = ignored,
    ) -> None:
        self._open_topic = open_topic
        self._ledger = ledger
        self._silence_seconds = silence_seconds
        self._traced = traced
        self._stray: Stray | None = None
        self._given: int | None = None  # out of the topic, and not accepted yet
        self._moved_at = time.monotonic()
        self._detour_until = 0.0
        self._patience = patience
        self._detour_seconds = patience.detour_seconds
        self._returning = False  # from a detour; the topic has not shown a block since
        self._backoff = BACKOFF_SECONDS_MIN

    def watched_by(self, stray: Stray) -> None:
        """Show blocks that are stepped over to `stray`, a follower's; what it raises passes."""
        self._stray = stray

    async def blocks_from(self, height: int) -> AsyncGenerator[pb.ProvenBlock, None]:
        """Yield blocks from `height` on, wherever they are to be had; it does not end."""
        if self._given is not None and height <= self._given:
            self._leave("rejected", height)
        self._given = None
        self._moved_at = time.monotonic()
        while True:
            on_topic = time.monotonic() >= self._detour_until
            source = self._topic_blocks(height) if on_topic else self._ledger_blocks(height)
            async with aclosing(source) as blocks:
                async for block in blocks:
                    self._given = height if on_topic else None
                    yield block
                    self._given = None  # asked for the next: this one was accepted
                    self._moved_at = time.monotonic()
                    self._returning = self._returning and not on_topic
                    BLOCKS.labels("topic" if on_topic else "ledger").inc()
                    height += 1

    async def _ledger_blocks(self, height: int) -> AsyncGenerator[pb.ProvenBlock, None]:
        """Yield the ledger's blocks until the detour is over."""
        clock = asyncio.get_running_loop().time
        until = clock() + self._detour_until - time.monotonic()
        async with aclosing(self._ledger.blocks_from(height)) as blocks:
            while clock() < until:
                try:
                    async with asyncio.timeout_at(until):
                        block = await anext(blocks)
                except TimeoutError:
                    return
                yield block

    async def _topic_blocks(self, height: int) -> AsyncGenerator[pb.ProvenBlock, None]:
        """Yield the topic's blocks until one is not what is wanted, or the topic is away."""
        try:
            async with self._open_topic() as reader:
                await self._go_to(reader, height)
                self._backoff = BACKOFF_SECONDS_MIN
                ON_TOPIC.set(1)
                while True:
                    messages = await reader.read(MESSAGES_AT_ONCE)
                    if self._silent():
                        raise _Detour("silent")
                    for message in messages:
                        block = self._block_in(message, height)
                        if block is not None:
                            self._tell_traces(height, message.traces)
                            yield block
                            height += 1
                            await asyncio.sleep(0)  # hundreds may be there: others work too
        except KafkaAway as error:
            log.warning("topic_away", height=height, why=str(error))
            if self._returning:  # the ledger has blocks meanwhile: do not wait for silence again
                self._leave("away", height)
                return
            await asyncio.sleep(self._backoff * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            self._backoff = min(2 * self._backoff, BACKOFF_SECONDS_MAX)
            if self._silent():
                self._leave("away", height)
        except OffsetGone:
            self._leave("gap", height)
        except MessagesUnreadable:
            self._leave("unreadable", height)
        except _Detour as detour:
            self._leave(str(detour), height)
        finally:
            ON_TOPIC.set(0)

    async def _go_to(self, reader: TopicReader, height: int) -> None:
        """Find the place of block `height` in the topic, which must not be behind it."""
        first, end = await reader.bounds()
        newest, place = 0, max(first, end - TAIL_MESSAGES)
        while place < end:
            messages = await reader.read_at(place, TAIL_MESSAGES)
            newest = max([newest, *(message.height or 0 for message in messages)])
            place = messages[-1].offset + 1 if messages else end
        if newest < height - 1:
            raise _Detour("behind")
        if newest < height:
            return reader.seek(end)

        async def read_at(offset: int) -> Sequence[Message]:
            return await reader.read_at(offset, SEARCH_MESSAGES)

        reader.seek(await offset_of(height, first, end, read_at))

    def _block_in(self, message: Message, height: int) -> pb.ProvenBlock | None:
        """Return the wanted block; None if the message is of an earlier one.

        Raises:
            _Detour: it is of neither.
        """
        claimed = message.height
        if claimed is None:
            raise _Detour("no block")
        if claimed > height:
            raise _Detour("gap")
        try:
            block = pb.ProvenBlock.FromString(message.value)
        except DecodeError:
            raise _Detour("no block") from None
        if claimed == height:
            return block
        REPEATED.inc()
        if self._stray is not None:
            self._stray(block)
        return None

    def _tell_traces(self, height: int, octets: bytes) -> None:
        if octets:
            with suppress(DecodeError):  # not worth a detour: nothing depends on it
                self._traced(height, ledger_pb.BlockTraces.FromString(octets))

    def _silent(self) -> bool:
        return time.monotonic() - self._moved_at > self._silence_seconds

    def _leave(self, cause: str, height: int) -> None:
        """Take blocks from the ledger for a while; the longer, the more often the topic lied."""
        now, patience = time.monotonic(), self._patience
        if now > self._detour_until + patience.credit_seconds:
            self._detour_seconds = patience.detour_seconds
        self._returning = True
        seconds = patience.detour_seconds
        if cause not in HARMLESS:
            seconds = self._detour_seconds
            self._detour_seconds = min(2 * seconds, patience.detour_seconds_max)
        self._detour_until = now + seconds
        DETOURS.labels(cause).inc()
        log.warning("topic_left", height=height, cause=cause, seconds=seconds)
