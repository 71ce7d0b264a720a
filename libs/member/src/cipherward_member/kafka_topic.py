"""The topic of a member's blocks: its name, its messages, and finding a height in it.

One partition; the key of a message is the height, 8 bytes big-endian, and its value a serialised
ProvenBlock. Nothing in a topic is true because it stands there: a key is a claim, which tells where
to look, and the light client judges the value.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

PARTITION: Final = 0
# A message's header with the serialised BlockTraces of its block; only while traces are on.
TRACES_HEADER: Final = "cipherward-traces"
HEIGHT_BYTES: Final = 8
# A block of 2 MiB with all that it led to, as the ledger's own stream bounds it.
VALUE_BYTES_MAX: Final = 8 * 1024 * 1024
# A broker measures the batch: the value, its key, and about a hundred bytes around them.
BATCH_BYTES_MAX: Final = VALUE_BYTES_MAX + 64 * 1024


def topic_name(chain_id: str, member: str) -> str:
    """Return the topic to which `member`'s ledger publishes the blocks of a chain."""
    return f"cipherward.{chain_id}.{member}.blocks"


def key_of(height: int) -> bytes:
    """Return the key of a block's message."""
    return height.to_bytes(HEIGHT_BYTES, "big")


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it lies in the topic; key, value and traces may be anything."""

    offset: int
    key: bytes
    value: bytes
    traces: bytes = b""

    @property
    def height(self) -> int | None:
        """The height that the key claims, at least 1; None if it is no key of a block."""
        if len(self.key) != HEIGHT_BYTES:
            return None
        return int.from_bytes(self.key, "big") or None


ReadAt: TypeAlias = Callable[[int], Awaitable[Sequence[Message]]]


async def offset_of(height: int, first: int, end: int, read_at: ReadAt) -> int:
    """Return the offset at which to begin reading for block `height`: `end` if none claims it yet.

    A binary search for the first claim of at least `height`, as if claims only grew. Where they do
    not (a publisher that came back repeats some, anybody may write anything) the place may be too
    early or too late; a reader skips what it knows, and asks elsewhere for what is missing.

    Args:
        height: wanted, at least 1.
        first, end: offsets of the oldest message and behind the newest.
        read_at: returns messages from an offset on, at least one where there is a readable one.
    """
    best = end
    low, high = first, end
    while low < high:
        middle = (low + high) // 2
        claim = await _first_claim(middle, high, read_at)
        if claim is None:  # nothing but what is no block from here on
            high = middle
        elif claim[1] >= height:
            best, high = claim[0], middle
        else:
            low = claim[0] + 1
    return best


async def _first_claim(start: int, end: int, read_at: ReadAt) -> tuple[int, int] | None:
    """Return offset and height of the first claim found in [start, end).

    Behind what is no block it looks at places ever farther apart: few reads, whatever lies there.
    """
    stride = 1
    while start < end:
        messages = await read_at(start)
        for message in messages:
            if start <= message.offset < end and message.height is not None:
                return message.offset, message.height
        last = messages[-1].offset + 1 if messages else start
        start, stride = max(last, start + stride), stride * 2
    return None
