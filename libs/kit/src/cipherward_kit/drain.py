"""The server is going away: how endless streams learn of it and end in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Coroutine
from typing import Any, TypeVar

import grpc

from cipherward_kit.errors import ServiceError

T = TypeVar("T")


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
            await asyncio.wait((answering, stop), return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                return answering.result()
        finally:
            answering.cancel()
            stop.cancel()
            await asyncio.wait((answering, stop))
        raise Draining("the server is going away; call again")

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
                try:
                    await asyncio.wait((upcoming, stop), return_when=asyncio.FIRST_COMPLETED)
                    if not upcoming.done():
                        break
                finally:
                    if not upcoming.done():
                        upcoming.cancel()
                        await asyncio.wait((upcoming,))
                item = upcoming.result()
                if isinstance(item, _End):
                    return
                yield item
            raise Draining("the server is going away; open the stream again")
        finally:
            stop.cancel()
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()


class _End:
    """What `anext` answers when the items have ended."""


_END = _End()
