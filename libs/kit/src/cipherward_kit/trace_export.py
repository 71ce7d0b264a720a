"""Recording spans and sending them to a collector, by OTLP over gRPC.

Imported only where traces are on: OpenTelemetry costs memory and time to start. Spans wait in a
bounded queue for a thread of their own, so a collector that is slow or away costs spans, which are
counted, and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Final

import grpc
from opentelemetry import trace as otel
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from prometheus_client import Counter

from cipherward_kit.tracing import Attribute, Attributes, Collector, Kind, SpanContext, Value

# The exporter logs every failure, with the collector's address; the counter says it.
logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

SPANS = Counter(
    "cipherward_trace_spans",
    "Spans recorded here: taken by the collector, refused by it, or dropped for want of room.",
    ["outcome"],
)

# A span of ours takes about 2 KiB: at most 4 MiB wait.
QUEUE_SPANS_MAX: Final = 2_048
# Sent together; some 50 KiB.
BATCH_SPANS_MAX: Final = 256
# From the first span of a batch to its sending: long enough to fill it, short for who looks on.
GATHER_SECONDS: Final = 1.0
# A collector is near. One that does not take a batch for so long gets the next one instead.
EXPORT_SECONDS: Final = 5.0
# At the end, for what waits; a pod's termination must not hang on its collector.
FLUSH_SECONDS: Final = 2.0

_KINDS: Final = {
    Kind.INTERNAL: otel.SpanKind.INTERNAL,
    Kind.SERVER: otel.SpanKind.SERVER,
    Kind.CLIENT: otel.SpanKind.CLIENT,
    Kind.CONSUMER: otel.SpanKind.CONSUMER,
}


class Span:
    """A span under way. Ended once; then it is on its way to the collector."""

    def __init__(self, span: otel.Span) -> None:
        self._span = span
        named = span.get_span_context()
        self.context = SpanContext(named.trace_id, named.span_id, named.trace_flags.sampled)

    def tell(self, attribute: Attribute, value: Value) -> None:
        """Add an attribute."""
        self._span.set_attribute(attribute.value, value)

    def fail(self) -> None:
        """Mark it as failed; why, only an attribute says."""
        self._span.set_status(otel.StatusCode.ERROR)

    def end(self, end_ns: int | None = None) -> None:
        """End it, now or at a Unix time in nanoseconds."""
        self._span.end(end_ns)


class Recorder:
    """Makes spans; one a process."""

    def __init__(self, service: str, member: str, ratio: float, processor: SpanProcessor) -> None:
        """Describe the process.

        Args:
            service: its name, as in logs.
            member: whose it is.
            ratio: of the traces that begin here, which part is recorded, 0 to 1; those that come
                from another service are recorded if they are there.
            processor: takes what is ended.
        """
        told = {
            "service.namespace": "cipherward",
            "service.name": service,
            "service.version": version("cipherward-kit"),
            "cipherward.member": member,
        }
        # All is given, so that no variable of OpenTelemetry's own adds to what is told.
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            resource=Resource(told),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_span_attributes=len(Attribute), max_events=0, max_links=0),
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("cipherward")

    def begin(
        self,
        name: str,
        kind: Kind,
        parent: SpanContext | None,
        attributes: Attributes,
        start_ns: int | None,
    ) -> Span:
        """Begin a span; see `tracing.begin`."""
        around = otel.set_span_in_context(otel.INVALID_SPAN if parent is None else _named(parent))
        told = {attribute.value: value for attribute, value in attributes.items()}
        return Span(
            self._tracer.start_span(
                name,
                around,
                _KINDS[kind],
                told,
                start_time=start_ns,
                record_exception=False,  # its text and places could quote anything
                set_status_on_exception=False,
            )
        )


class BoundedExport(SpanProcessor):
    """Hands ended spans to an exporter on a thread of its own; never waits, never raises."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._waiting: queue.Queue[ReadableSpan | None] = queue.Queue(QUEUE_SPANS_MAX)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span, or count it as dropped."""
        try:
            self._waiting.put_nowait(span)
        except queue.Full:
            SPANS.labels("dropped").inc()

    def close(self) -> None:
        """Send what waits, within `FLUSH_SECONDS`; blocks that long at most."""
        self._ending.set()
        with suppress(queue.Full):  # then it is not asleep
            self._waiting.put_nowait(None)  # wakes the thread
        self._thread.join(FLUSH_SECONDS)
        self._exporter.shutdown()  # ends a sending that is under way, and refuses others

    def _run(self) -> None:
        while not (self._ending.is_set() and self._waiting.empty()):
            batch = self._gathered()
            if batch:
                self._send(batch)

    def _gathered(self) -> list[ReadableSpan]:
        """Wait for a span, and a moment more for others."""
        first = self._waiting.get()
        batch = [] if first is None else [first]
        until = time.monotonic() + GATHER_SECONDS
        while len(batch) < BATCH_SPANS_MAX:
            seconds = 0.0 if self._ending.is_set() else until - time.monotonic()
            try:
                one = (
                    self._waiting.get(timeout=seconds) if seconds > 0 else self._waiting.get(False)
                )
            except queue.Empty:
                break
            if one is not None:
                batch.append(one)
        return batch

    def _send(self, batch: Sequence[ReadableSpan]) -> None:
        try:
            taken = self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception:  # the library's own: this thread must go on
            taken = False
        SPANS.labels("sent" if taken else "refused").inc(len(batch))


@asynccontextmanager
async def open_recorder(
    service: str, member: str, collector: Collector
) -> AsyncGenerator[Recorder]:
    """Record and send spans while the context is open.

    Raises:
        OSError: the file of the collector's authorities cannot be read.
    """
    export = BoundedExport(await asyncio.to_thread(_exporter, collector))
    try:
        yield Recorder(service, member, collector.ratio, export)
    finally:
        await asyncio.to_thread(export.close)


def _exporter(collector: Collector) -> OTLPSpanExporter:
    credentials = None
    if collector.ca_file is not None:
        credentials = grpc.ssl_channel_credentials(collector.ca_file.read_bytes())
    return OTLPSpanExporter(
        endpoint=collector.endpoint,
        insecure=credentials is None,
        credentials=credentials,
        timeout=EXPORT_SECONDS,
        compression=grpc.Compression.NoCompression,
    )


def _named(parent: SpanContext) -> otel.Span:
    flags = otel.TraceFlags(otel.TraceFlags.SAMPLED if parent.sampled else 0)
    named = otel.SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
    return otel.NonRecordingSpan(named)
