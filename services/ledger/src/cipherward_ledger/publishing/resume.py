"""Where publishing goes on: behind the newest message at the topic's end that is truly ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog
from google.protobuf.message import DecodeError

from cipherward.chain.v1 import block_pb2 as chain
from cipherward_ledger.proven import ProvenBlocks
from cipherward_ledger.publishing.metrics import FEED_FOREIGN
from cipherward_member.kafka_reader import TopicReader
from cipherward_member.kafka_topic import Message

TAIL_MESSAGES: Final = 256  # looked at together, from the topic's end backwards
# Of messages that are not ours no more are stepped over: what is published twice harms nobody.
SCAN_MESSAGES_MAX: Final = 65_536

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def newest_published(reader: TopicReader, blocks: ProvenBlocks) -> int:
    """Return the greatest height near the topic's end that is this ledger's own block; 0 if none.

    Anybody who may write can have put anything there, old blocks of ours too. A message counts if
    its header is, byte for byte, the header of our block of that height.

    Raises:
        KafkaAway: the brokers do not answer.
        BlockCorrupt: a block of ours does not read back.
    """
    first, end = await reader.bounds()
    oldest = max(first, end - SCAN_MESSAGES_MAX)
    foreign = height = 0
    while end > oldest and not height:
        start = max(oldest, end - TAIL_MESSAGES)
        height, others = await _newest_of(await _between(reader, start, end), blocks)
        foreign += others
        end = start
    if foreign:
        FEED_FOREIGN.inc(foreign)
        log.warning("topic_has_foreign_messages", messages=foreign)
    return height


async def _between(reader: TopicReader, start: int, end: int) -> list[Message]:
    """Return the readable messages of [start, end)."""
    found: list[Message] = []
    place = start
    while place < end:
        messages = await reader.read_at(place, TAIL_MESSAGES)
        found += [message for message in messages if message.offset < end]
        place = messages[-1].offset + 1 if messages else end
    return found


async def _newest_of(messages: Sequence[Message], blocks: ProvenBlocks) -> tuple[int, int]:
    """Return the greatest height at which one of these is our own block, 0 if none is, and how
    many that claim a greater one are not.
    """
    kept = range(max(blocks.first_height, 1), blocks.tip.position.proven_height + 1)
    claims = [(message.height or 0, message) for message in messages]
    ordered = sorted(claims, key=lambda claim: claim[0], reverse=True)
    for foreign, (height, message) in enumerate(ordered):
        if height in kept and _header_of(message) == (await blocks.get(height)).header:
            return height, foreign
    return 0, len(ordered)


def _header_of(message: Message) -> bytes:
    try:
        return chain.ProvenBlock.FromString(message.value).header
    except DecodeError:
        return b""
