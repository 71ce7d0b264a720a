"""The server is going away: how endless streams learn of it and end in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Coroutine
from typing import Any, Final, TypeVar

import grpc

from cipherward_kit.errors import ServiceError

T = TypeVar("T")

CALL_AGAIN: Final = "the server is going away; call again"
OPEN_AGAIN: Final = "the server is going away; open the stream again"


class Draining(ServiceError):
    """The server is going away; the stream can be opened again on another or a new one."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "DRAINING"


class Drain:
    """Whether the server has begun to drain. One per process, made where the service is wired."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()

    @property
    def begun(self) -> bool:
        """Whether the server drains."""
        return self._begun.is_set()

    def begin(self) -> None:
        """Tell every stream to end; there is no way back."""
        self._begun.set()

    async def wait(self) -> None:
        """Return when the server begins to drain."""
        await self._begun.wait()

    async def cut(self, answer: Coroutine[Any, Any, T]) -> T:
        """Return what is awaited, unless the server drains first: for calls that wait long.

        Raises:
            Draining: the server drains; what was awaited is given up (cancelled).
        """
        answering = asyncio.ensure_future(answer)
        stop = asyncio.ensure_future(self.wait())
        try:
            return await _before(stop, answering, CALL_AGAIN)
        finally:
            stop.cancel()

    async def until(self, items: AsyncIterable[T]) -> AsyncIterator[T]:
        """Yield `items` until they end or the server drains.

        Raises:
            Draining: the server drains; an item being waited for is given up (cancelled).
        """
        source = aiter(items)
        stop = asyncio.ensure_future(self.wait())
        try:
            while not self.begun:
                upcoming = asyncio.ensure_future(anext(source, _END))
                item = await _before(stop, upcoming, OPEN_AGAIN)
                if isinstance(item, _End):
                    return
                yield item
            raise Draining(OPEN_AGAIN)
        finally:
            stop.cancel()
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()


async def _before(stop: asyncio.Future[None], awaited: asyncio.Future[T], why: str) -> T:
    """Return what is awaited, if it is there before `stop`; else give it up and raise `Draining`.

    Whoever gives up waiting for this gives it up too.
    """
    try:
        await asyncio.wait((awaited, stop), return_when=asyncio.FIRST_COMPLETED)
        if awaited.done():
            return awaited.result()
    finally:
        if not awaited.done():
            awaited.cancel()
            await asyncio.wait((awaited,))
    raise Draining(why)


class _End:
    """What `anext` answers when the items have ended."""


_END = _End()
