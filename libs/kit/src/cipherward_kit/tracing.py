"""Traces: what a request led to, in this process and in the other services of the same member.

Off unless a collector is named; then `trace_export` is imported, and with it OpenTelemetry. Until
then every function here returns at once.

A trace begins where a request comes from outside: at the client, or at the first service of ours
that a holder, or another member, asks. Its name is handed on to services of the same member only,
as the header `traceparent` of W3C Trace Context; what a holder or another member hands in is not
looked at. Calls of our own services that belong to no request (executing blocks, following, looking
after keys) begin no trace.

Attributes are `Attribute`, a closed list, so that nothing personal can be told: what happened to
whom is on the chain, and who may ask is decided there.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import structlog

if TYPE_CHECKING:
    from cipherward_kit.tls import Caller
    from cipherward_kit.trace_export import Recorder, Span

log: structlog.stdlib.BoundLogger = structlog.get_logger()

TRACEPARENT = "traceparent"
# Version 00: only processes of ours are heard, and they write no other.
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 1
# Of a member's own systems, who have its certificate: their requests are requests from outside.
_CLIENT = "client"


# A server's refusals are what it is for; these are what its operator looks for.
_OUR_FAULT = frozenset(("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNKNOWN", "DEADLINE_EXCEEDED"))


class Kind(Enum):
    """What a span is to its parent; as in OpenTelemetry."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    CONSUMER = "consumer"


class Attribute(Enum):
    """Everything that a span can say besides its name and its times; docs/traces.md has each."""

    SYSTEM = "rpc.system.name"
    METHOD = "rpc.method"
    STATUS = "rpc.response.status_code"
    REASON = "error.type"
    HEIGHT = "cipherward.block.height"
    INSTRUCTIONS = "cipherward.order.instructions"


Value: TypeAlias = str | int | Sequence[str]
Attributes: TypeAlias = Mapping[Attribute, Value]
Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class SpanContext:
    """A span's name: of its trace (128 bits) and its own (64 bits), neither 0; is it recorded."""

    trace_id: int
    span_id: int
    sampled: bool

    def to_traceparent(self) -> str:
        """Return the value of the header `traceparent`."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"

    @classmethod
    def from_traceparent(cls, text: str | bytes) -> SpanContext | None:
        """Return what a header says, or None: a trace is never worth refusing anything."""
        found = _TRACEPARENT.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            return None
        trace_id, span_id, flags = (int(part, 16) for part in found.groups())
        return cls(trace_id, span_id, bool(flags & _SAMPLED)) if trace_id and span_id else None


@dataclass(frozen=True, slots=True)
class Collector:
    """Where spans go: host:port, by OTLP over gRPC.

    ca_file: authorities of its certificate, PEM; None: plaintext.
    ratio: of the traces that begin here, which part is recorded, 0 to 1.
    """

    endpoint: str
    ca_file: Path | None = None
    ratio: float = 1.0


_recorder: Recorder | None = None
_current: ContextVar[SpanContext | None] = ContextVar("cipherward_span", default=None)


def current() -> SpanContext | None:
    """Return the span that what runs here belongs to; None outside of traces."""
    return _current.get()


def on() -> bool:
    """Tell whether this process records traces."""
    return _recorder is not None


@asynccontextmanager
async def tracing(service: str, member: str, collector: Collector | None) -> AsyncGenerator[None]:
    """Record traces while the context is open, if there is a collector.

    One that cannot be used is a line in the log: no service stays away because of its traces.

    Args:
        service: this process's name, as in logs.
        member: whose process it is; empty for a holder's.
        collector: None records nothing.
    """
    global _recorder
    async with AsyncExitStack() as stack:
        if collector is not None:
            from cipherward_kit.trace_export import open_recorder  # only here: it costs memory

            try:
                opened = open_recorder(service, member, collector)
                _recorder = await stack.enter_async_context(opened)
            except OSError as error:
                log.warning("traces_off", setting="otlp_ca_file", why=error.strerror)
        try:
            yield
        finally:
            _recorder = None


def begin(
    name: str,
    kind: Kind,
    parent: SpanContext | None,
    attributes: Attributes | None = None,
    *,
    start_ns: int | None = None,
) -> Span | None:
    """Begin a span, which the caller ends; None while traces are off.

    Args:
        name: from a short list: a method, or what is done; never of whom.
        kind: of span.
        parent: None begins a trace.
        attributes: known at the beginning.
        start_ns: Unix time in nanoseconds if it began before.
    """
    if _recorder is None:
        return None
    return _recorder.begin(name, kind, parent, attributes or {}, start_ns)


@contextmanager
def span(name: str) -> Generator[None]:
    """Make what runs in the context part of one span: of the current trace, or of a new one."""
    with ended(begin(name, Kind.INTERNAL, _current.get())):
        yield


@contextmanager
def ended(span: Span | None) -> Generator[None]:
    """Make what runs in the context part of a span, and end it with the context."""
    if span is None:
        yield
        return
    try:
        with within(span.context):
            yield
    except BaseException:
        span.fail()
        raise
    finally:
        span.end()


@contextmanager
def within(context: SpanContext | None) -> Generator[None]:
    """Make what runs in the context belong to a span; to none for None."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)


def begin_served(
    method: str, caller: Caller | None, member: str, metadata: Metadata, start_ns: int
) -> Span | None:
    """Begin the span of a call that is served, and make it this task's; None if it has none.

    Args:
        method: without its first slash.
        caller: as verified; None for a holder.
        member: whose server this is.
        metadata: of the call.
        start_ns: when it came, Unix time in nanoseconds.
    """
    if _recorder is None:
        return None
    parent = None
    if caller is not None and caller.member == member:
        parent = _handed_on(metadata)
        if parent is None and caller.service != _CLIENT:
            return None
    told: Attributes = {Attribute.SYSTEM: "grpc", Attribute.METHOD: method}
    begun = _recorder.begin(method, Kind.SERVER, parent, told, start_ns)
    _current.set(begun.context)
    return begun


def end_served(span: Span, status: str, reason: str) -> None:
    """End the span of a call that was served.

    Args:
        span: the call's.
        status: the name of gRPC's status.
        reason: of a refusal, from the closed list of the proto's `Errors:`; else empty.
    """
    span.tell(Attribute.STATUS, status)
    if reason:
        span.tell(Attribute.REASON, reason)
    if status in _OUR_FAULT:
        span.fail()
    span.end()


def begin_call(method: str) -> Span | None:
    """Begin the span of a call that is made; None if it belongs to no trace."""
    parent = _current.get()
    if _recorder is None or parent is None:
        return None
    told: Attributes = {Attribute.SYSTEM: "grpc", Attribute.METHOD: method}
    return _recorder.begin(method, Kind.CLIENT, parent, told, None)


def _handed_on(metadata: Metadata) -> SpanContext | None:
    values = [value for name, value in metadata if name == TRACEPARENT]
    return SpanContext.from_traceparent(values[0]) if len(values) == 1 else None
