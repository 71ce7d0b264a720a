"""An open file whose work runs in threads and which is never closed under a running thread."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Descriptor:
    """A file descriptor for blocking calls in threads.

    A cancelled caller leaves its thread running; if the number were closed then, another file
    could get it and be written by that thread. So the number is closed when the last call ends.
    """

    def __init__(self, number: int) -> None:
        """Own the open descriptor `number`."""
        self._number = number
        self._running: set[asyncio.Future[Any]] = set()
        self._closing = False

    async def run(
        self, function: Callable[Concatenate[int, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Return `function(number, ...)`, run in a thread, also to its end if we are cancelled."""
        return await asyncio.shield(self.start(function, *args, **kwargs))

    def start(
        self, function: Callable[Concatenate[int, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[R]:
        """As `run`, without waiting. Shield what it returns when awaiting it."""
        call = asyncio.to_thread(function, self._number, *args, **kwargs)
        running: asyncio.Future[R] = asyncio.ensure_future(call)
        self._running.add(running)
        running.add_done_callback(self._ended)
        return running

    async def idle(self) -> None:
        """Return when no call runs, however it ended."""
        if self._running:
            await asyncio.wait(set(self._running))

    def close(self) -> None:
        """Close the file now, or when the last running call ends."""
        self._closing = True
        self._close_if_idle()

    def _ended(self, running: asyncio.Future[Any]) -> None:
        self._running.discard(running)
        if not running.cancelled():
            running.exception()  # whoever still waits gets it; nobody else misses it
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._closing and not self._running and self._number >= 0:
            os.close(self._number)
            self._number = -1
