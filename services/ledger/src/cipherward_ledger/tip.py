"""Where the chain stands, and waiting for it to move."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cipherward.contract.v1 import contract_service_pb2 as pb


@dataclass(frozen=True, slots=True)
class Position:
    """The newest committed block.

    height: 0 before the first block.
    time_ns: the block's time; the genesis time before the first block.
    app_hash: the state's root after the newest executed block.
    next_timer_ns: block time at which the next timer falls due, as of the newest executed block.
    next_deadline: the height after which a ceremony's next window is closed, as of the newest
        executed block; 0 while none is open, and while the newest block is being executed.
    """

    height: int
    time_ns: int
    app_hash: bytes
    next_timer_ns: int | None
    next_deadline: int = 0

    @classmethod
    def after(cls, height: int, time_ns: int, executed: pb.ExecuteBlockResponse) -> Position:
        """Return where the chain stands on a block that contract has executed."""
        timer_ns = next_timer(executed)
        return cls(height, time_ns, executed.app_hash, timer_ns, executed.next_deadline)

    @property
    def proven_height(self) -> int:
        """Height of the newest block whose successor is committed; 0 if there is none."""
        return max(self.height - 1, 0)


class Tip:
    """The chain's position; one writer (the engine), any number of waiters, all on one loop."""

    def __init__(self, start: Position) -> None:
        self._position = start
        self.catching_up = False  # set by an engine that fetches what others have decided
        self.snapshot_height = 0  # set by an engine that offers others a snapshot of the state
        self._moved = asyncio.Event()

    @property
    def position(self) -> Position:
        """The newest position."""
        return self._position

    def move(self, position: Position) -> None:
        """Set the position and wake every waiter."""
        self._position = position
        self._moved.set()  # wakes those who wait on this one; later ones wait on the next
        self._moved = asyncio.Event()

    async def moved_from(self, position: Position) -> None:
        """Return when the position is another than `position`."""
        while self._position is position:
            await self._moved.wait()

    async def proven(self, height: int) -> None:
        """Return when the block of `height` is proven."""
        while self._position.proven_height < height:
            await self._moved.wait()


def next_timer(answer: pb.ExecuteBlockResponse | pb.GetCommittedResponse) -> int | None:
    """Return the block time, in Unix nanoseconds, at which the next timer falls due, if any."""
    return answer.next_timer.ToNanoseconds() if answer.HasField("next_timer") else None
