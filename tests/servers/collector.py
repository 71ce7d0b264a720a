"""A collector of traces: OTLP over gRPC on a free port of this machine, keeping what it gets."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from grpc import aio
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,  # pyright: ignore[reportUnknownVariableType] - generated without types
)
from opentelemetry.proto.common.v1 import common_pb2 as common
from opentelemetry.proto.trace.v1 import trace_pb2

from cipherward_kit import trace_export, tracing
from cipherward_kit.testing import eventually
from tests.servers.tls import ServerTls


def _value(value: common.AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return None if kind is None else getattr(value, kind)


@dataclass(frozen=True, slots=True)
class Seen:
    """A span as it came; ids are hexadecimal, `parent` empty at the root."""

    service: str
    member: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    failed: bool
    seconds: float
    attributes: dict[str, Any]
    resource: dict[str, Any]
    raw: trace_pb2.Span


@dataclass
class Collector(TraceServiceServicer):
    """The spans that came, in order."""

    endpoint: str = ""
    spans: list[Seen] = field(default_factory=list[Seen])

    async def Export(self, request: Any, context: Any) -> Any:
        """Take a batch."""
        for resource_spans in request.resource_spans:
            resource = {a.key: _value(a.value) for a in resource_spans.resource.attributes}
            for scope in resource_spans.scope_spans:
                self.spans.extend(_seen(resource, span) for span in scope.spans)
        return pb.ExportTraceServiceResponse()

    def named(self, name: str) -> list[Seen]:
        """Return the spans of that name; the part behind the last slash is enough."""
        return [span for span in self.spans if name in (span.name, span.name.split("/")[-1])]

    async def has(self, *names: str, seconds: float = 15.0) -> list[Seen]:
        """Return the first span of each name as soon as all came, else fail."""
        await eventually(
            lambda: all(self.named(name) for name in names), seconds=seconds, what=f"{names}"
        )
        return [self.named(name)[0] for name in names]


def _seen(resource: dict[str, Any], span: trace_pb2.Span) -> Seen:
    return Seen(
        service=resource.get("service.name", ""),
        member=resource.get("cipherward.member", ""),
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        attributes={a.key: _value(a.value) for a in span.attributes},
        resource=resource,
        raw=span,
    )


@asynccontextmanager
async def running_collector(tls: ServerTls | None = None) -> AsyncGenerator[Collector]:
    """Serve a collector while the context is open; without `tls` in plaintext."""
    collector, server = Collector(), aio.server()
    add_TraceServiceServicer_to_server(collector, server)
    if tls is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        pair = tls.server_private_key_file.read_bytes(), tls.server_certificate_file.read_bytes()
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    collector.endpoint = f"127.0.0.1:{port}"
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(None)


@asynccontextmanager
async def recording(service: str, member: str) -> AsyncGenerator[Collector]:
    """Record this process's spans while the context is open, and send each at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace_export, "GATHER_SECONDS", 0.0)
        async with (
            running_collector() as collector,
            tracing.tracing(service, member, tracing.Collector(collector.endpoint)),
        ):
            yield collector
