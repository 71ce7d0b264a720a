"""An event loop in a thread of its own, so that plain code, and notebooks, may wait for results."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")

END_SECONDS = 10.0  # what is under way is cancelled, and closes its connections


class LoopThread:
    """Runs coroutines for callers that have no loop, or one that must not be blocked twice."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="cipherward-research", daemon=True
        )
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._loop.is_closed()

    def wait(self, work: Coroutine[Any, Any, R]) -> R:
        """Run it to its end and return what it returns; an interrupt cancels it."""
        if self.closed:
            work.close()
            raise RuntimeError("the connection is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the thread; a second time does nothing."""
        if self.closed:
            return
        self.wait(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(END_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()
