"""A channel that is connected anew when what it shows, or whom it trusts, has changed.

gRPC fixes both when a channel is made. Calls that are in flight at a change, endless streams among
them, stay on the channel that they began on; it is closed after the last of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from grpc import ChannelConnectivity, StatusCode, aio

from cipherward_kit.tls import Identity
from cipherward_kit.tracing import TRACEPARENT, Attribute, begin_call

if TYPE_CHECKING:
    from cipherward_kit.trace_export import Span

DEADLINE_SECONDS = 30.0  # of a call with one request and one response that gives none

# What is shown (None: nothing), and the authorities that the peer's certificate must be from, PEM.
Credentials: TypeAlias = tuple[Identity | None, bytes]


class RenewingChannel(aio.Channel):
    """Channels in succession, as the credentials change. On one event loop.

    Calls with one request and one response always have a deadline. Streams have none unless
    given: they live as long as both sides want, and keepalive ends them when a side is dead. It
    wraps methods; grpc's interceptors would make a task for each call.
    """

    def __init__(
        self,
        now: Callable[[], Credentials],
        connect: Callable[[Credentials], aio.Channel],
        *,
        hands_on_traces: bool = False,
    ) -> None:
        """Connect with the credentials of now.

        Args:
            now: returns the current credentials; asked before every call, so it must be quick.
            connect: opens a channel with credentials.
            hands_on_traces: whether the peer learns of which trace a call is part.
        """
        self.hands_on_traces = hands_on_traces
        self._now = now
        self._connect = connect
        credentials = now()
        self._newest = _Connected(credentials, connect(credentials))
        self._older: set[_Connected] = set()
        self._finishing: set[asyncio.Future[None]] = set()

    def newest(self) -> _Connected:
        """Return the channel with the credentials of now."""
        credentials = self._now()
        if credentials != self._newest.credentials:
            older, self._newest = self._newest, _Connected(credentials, self._connect(credentials))
            self._older.add(older)
            self.close_if_over(older)
        return self._newest

    def close_if_over(self, connected: _Connected) -> None:
        """Close a channel that is not the newest, if no call is left on it."""
        if connected in self._older and not connected.calls:
            self._older.discard(connected)
            closing = asyncio.ensure_future(connected.channel.close())
            self._finishing.add(closing)
            closing.add_done_callback(self._finishing.discard)

    def tell_end(self, span: Span, call: Any) -> None:
        """End a call's span when the call is over; its status is told by awaiting it."""
        ended_ns = time.time_ns()

        async def tell() -> None:
            status = await call.code()
            span.tell(Attribute.STATUS, status.name)
            if status is not StatusCode.OK:
                span.fail()
            span.end(ended_ns)

        telling = asyncio.ensure_future(tell())
        self._finishing.add(telling)
        telling.add_done_callback(self._finishing.discard)

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Return the method's callable, with the default deadline."""
        return _DeadlineMethod(self, method, lambda c: c.unary_unary(method, *args, **kwargs))

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Return the method's callable."""
        return _Method(self, method, lambda c: c.unary_stream(method, *args, **kwargs))

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Return the method's callable."""
        return _Method(self, method, lambda c: c.stream_unary(method, *args, **kwargs))

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Return the method's callable."""
        return _Method(self, method, lambda c: c.stream_stream(method, *args, **kwargs))

    async def close(self, grace: float | None = None) -> None:
        """Close every channel; calls in flight get `grace` seconds."""
        older, self._older = self._older, set()
        channels = [self._newest.channel, *(one.channel for one in older)]
        await asyncio.gather(*(channel.close(grace) for channel in channels), *self._finishing)

    def get_state(self, try_to_connect: bool = False) -> ChannelConnectivity:
        """Return the state of the newest connection."""
        return self._newest.channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: ChannelConnectivity) -> None:
        """Return when the state is another."""
        await self._newest.channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Return when the channel is connected."""
        await self.newest().channel.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.close()


class _Connected:
    """One channel, the credentials that it was made with, and how many calls are on it."""

    def __init__(self, credentials: Credentials, channel: aio.Channel) -> None:
        self.credentials = credentials
        self.channel = channel
        self.calls = 0


class _Method(
    aio.UnaryUnaryMultiCallable[Any, Any],
    aio.UnaryStreamMultiCallable[Any, Any],
    aio.StreamUnaryMultiCallable[Any, Any],
    aio.StreamStreamMultiCallable[Any, Any],
):
    """A method of whatever kind, on the channel that is the newest when it is called."""

    def __init__(
        self, channel: RenewingChannel, method: str, bind: Callable[[aio.Channel], Any]
    ) -> None:
        self._channel = channel
        self._name = method.removeprefix("/")
        self._bind = bind
        self._bound: tuple[_Connected, Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        connected = self._channel.newest()
        if self._bound is None or self._bound[0] is not connected:
            self._bound = connected, self._bind(connected.channel)
        span = begin_call(self._name)
        if span is not None and self._channel.hands_on_traces:
            given = kwargs.pop("metadata", None) or ()
            kwargs["metadata"] = (*given, (TRACEPARENT, span.context.to_traceparent()))
        call = self._bound[1](*args, **kwargs)
        connected.calls += 1
        call.add_done_callback(partial(self._over, connected))
        if span is not None:
            call.add_done_callback(partial(self._channel.tell_end, span))
        return call

    def _over(self, connected: _Connected, _call: object) -> None:
        connected.calls -= 1
        self._channel.close_if_over(connected)


class _DeadlineMethod(_Method):
    def __call__(self, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        seconds = DEADLINE_SECONDS if timeout is None else timeout
        return super().__call__(*args, timeout=seconds, **kwargs)
