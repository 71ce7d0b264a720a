"""Receiving what a peer sends in chunks, never more than was asked for."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Protocol, TypeVar

from cipherward_chain.batches import BATCH_BYTES_MAX, CHUNK_BYTES_MAX
from cipherward_compute.arithmetic.peer import PeerWrong


class Chunk(Protocol):
    """A message of a stream of chunks."""

    @property
    def chunk(self) -> bytes: ...


C = TypeVar("C", bound=Chunk)


async def received(member: str, stream: AsyncIterable[C]) -> tuple[C, bytes]:
    """Return the first message of a member's stream, and all its chunks together.

    Raises:
        PeerWrong: it sends nothing, or more than any message has.
    """
    first: C | None = None
    pieces: list[bytes] = []
    size = 0
    async for message in stream:
        first = first or message
        size += len(message.chunk)
        if len(message.chunk) > CHUNK_BYTES_MAX or size > BATCH_BYTES_MAX:
            raise PeerWrong(member, "it sends more than any message has")
        pieces.append(message.chunk)
    if first is None:
        raise PeerWrong(member, "it sends nothing")
    return first, b"".join(pieces)
