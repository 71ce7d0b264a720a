"""Traces over real sockets: what is recorded, what is handed on, and to whom it is not."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
from grpc import aio
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from prometheus_client import REGISTRY

from cipherward.rpc_rules import RpcRule
from cipherward_kit import tracing
from cipherward_kit.access import Rules
from cipherward_kit.config import ProcessConfig, TracesConfig
from cipherward_kit.errors import ServiceError
from cipherward_kit.testing import Served, TestAlliance, eventually, serve_in_process
from cipherward_kit.trace_export import (
    BATCH_SPANS_MAX,
    FLUSH_SECONDS,
    QUEUE_SPANS_MAX,
    BoundedExport,
)
from cipherward_kit.tracing import Attribute, Collector, Kind, SpanContext
from tests.servers import collector as otlp
from tests.servers.tls import ServerTls

SERVICE = "cipherward.relay.v1.RelayService"
RULES: Rules = {
    f"/{SERVICE}/{name}": RpcRule("anyone", False, ()) for name in ("Relay", "Tell", "Refuse")
}
METHOD = f"{SERVICE}/Relay"
RESOURCE = {"service.namespace", "service.name", "service.version", "cipherward.member"}
PARENT = SpanContext(0xA1, 0xB2, sampled=True)

Behavior: TypeAlias = Callable[[bytes, Any], Awaitable[bytes]]


class Refused(ServiceError):
    """What the service is asked to answer."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "NOT_TODAY"


class Relay:
    """Tells the header that it got; `Relay` asks another first."""

    def __init__(self) -> None:
        self.ask: Callable[[], Awaitable[object]] | None = None
        self.headers: list[str | bytes | None] = []

    def register(self, server: aio.Server) -> None:
        one: Any = grpc.unary_unary_rpc_method_handler
        handlers = {"Relay": one(self.relay), "Tell": one(self.tell), "Refuse": one(self.refuse)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def relay(self, request: bytes, context: Any) -> bytes:
        if self.ask is not None:
            await self.ask()
        return await self.tell(request, context)

    async def tell(self, _request: bytes, context: Any) -> bytes:
        self.headers.append(dict(context.invocation_metadata()).get("traceparent"))
        return b""

    async def refuse(self, _request: bytes, _context: Any) -> bytes:
        raise Refused("not today", secret="of the frame")


async def ask(channel: aio.Channel, method: str = "Relay", **options: Any) -> Any:
    untyped: Any = channel  # no proto: grpc does not know the types
    call = untyped.unary_unary(f"/{SERVICE}/{method}")
    return await call(b"x", **options)


@pytest.fixture
async def collector() -> AsyncGenerator[otlp.Collector]:
    async with otlp.running_collector() as running:
        yield running


@pytest.fixture
async def served(alliance: TestAlliance) -> AsyncGenerator[tuple[Relay, Served]]:
    relay = Relay()
    async with serve_in_process(
        relay.register, domain="relay", alliance=alliance, service="storage", rules=RULES
    ) as running:
        yield relay, running


def spans_counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("cipherward_trace_spans_total", {"outcome": outcome}) or 0


@pytest.mark.slow  # the first to import OpenTelemetry
async def test_a_request_is_one_trace_over_the_services_of_a_member(
    collector: otlp.Collector, served: tuple[Relay, Served]
) -> None:
    relay, running = served
    relay.ask = lambda: ask(running.channel_as("hospital-a", "storage"), "Tell")
    async with tracing.tracing("storage", "hospital-a", Collector(collector.endpoint)):
        with tracing.span("open record"):
            await ask(running.channel_as("hospital-a", "client"))
    root, *others = await collector.has("open record", "Relay", "Tell")
    assert {span.trace for span in others} == {root.trace}
    by_id = {span.id: span for span in collector.spans}
    innermost = next(span for span in collector.named("Tell") if span.kind == "server")
    way: list[tuple[str, str]] = []
    while True:
        way.append((innermost.kind, innermost.name.split("/")[-1]))
        if not innermost.parent:
            break
        innermost = by_id[innermost.parent]
    hops = [("server", "Tell"), ("client", "Tell"), ("server", "Relay"), ("client", "Relay")]
    assert way == [*hops, ("internal", "open record")]
    assert all(span.attributes["rpc.response.status_code"] == "OK" for span in others)


async def test_a_span_says_only_what_the_list_allows(
    collector: otlp.Collector, served: tuple[Relay, Served]
) -> None:
    _, running = served
    async with tracing.tracing("storage", "hospital-a", Collector(collector.endpoint)):
        with pytest.raises(aio.AioRpcError):
            await ask(running.holder_channel(), "Refuse")
        begun = tracing.begin("block", Kind.CONSUMER, None, {Attribute.INSTRUCTIONS: ("a", "b")})
        assert begun is not None
        begun.end()
    refused, block = await collector.has("Refuse", "block")
    assert refused.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": f"{SERVICE}/Refuse",
        "rpc.response.status_code": "FAILED_PRECONDITION",
        "error.type": "NOT_TODAY",
    }
    assert not refused.failed  # a refusal is what the server is for
    assert block.attributes == {"cipherward.order.instructions": ["a", "b"]}
    for span in collector.spans:
        assert set(span.resource) == RESOURCE
        said = (span.raw.events, span.raw.links, span.raw.trace_state, span.raw.status.message)
        assert not any(said)
        assert set(span.attributes) <= {one.value for one in Attribute}
    shown = [span.raw.SerializeToString() for span in collector.spans]
    assert not any(b"of the frame" in octets or b"127.0.0.1" in octets for octets in shown)


@pytest.mark.parametrize("who", ["holder", "hospital-b"])
async def test_a_trace_handed_in_from_outside_is_not_joined(
    collector: otlp.Collector, served: tuple[Relay, Served], who: str
) -> None:
    _, running = served
    outside = running.holder_channel() if who == "holder" else running.channel_as(who, "compute")
    handed_in = (("traceparent", PARENT.to_traceparent()),)
    async with tracing.tracing("storage", "hospital-a", Collector(collector.endpoint)):
        await ask(outside, metadata=handed_in)
        await ask(outside, metadata=handed_in)
    await collector.has("Relay")
    first, second = collector.named("Relay")
    assert (first.parent, second.parent) == ("", "")
    assert len({first.trace, second.trace, f"{PARENT.trace_id:032x}"}) == 3


async def test_a_holders_and_other_members_calls_carry_no_trace(
    collector: otlp.Collector, served: tuple[Relay, Served]
) -> None:
    relay, running = served
    async with tracing.tracing("storage", "hospital-b", Collector(collector.endpoint)):
        with tracing.within(PARENT):
            await ask(running.holder_channel())
            await ask(running.channel_as("hospital-b", "storage"))
            await ask(running.channel_as("hospital-a", "identity"))
    withheld, other, handed_on = relay.headers
    assert (withheld, other) == (None, None)
    assert str(handed_on).startswith(f"00-{PARENT.trace_id:032x}-")


async def test_calls_that_belong_to_no_request_begin_no_trace(
    collector: otlp.Collector, served: tuple[Relay, Served]
) -> None:
    relay, running = served
    async with tracing.tracing("storage", "hospital-a", Collector(collector.endpoint)):
        await ask(running.channel_as("hospital-a", "ledger"), "Tell")
        await ask(running.channel_as("hospital-a", "client"), "Relay")
    await collector.has("Relay")
    assert [span.name for span in collector.spans] == [METHOD]
    assert relay.headers == [None, None]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00-" + "0" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "1" * 32 + "-" + "0" * 16 + "-01",
        "01-" + "1" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "G" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "1" * 32 + "-" + "1" * 16 + "-01\n",
        b"00-" + b"1" * 32 + b"-" + b"1" * 16 + b"-01",
    ],
)
def test_a_damaged_name_of_a_span_is_none(text: str | bytes) -> None:
    assert SpanContext.from_traceparent(text) is None


@pytest.mark.parametrize("sampled", [True, False])
def test_the_name_of_a_span_reads_back(sampled: bool) -> None:
    context = SpanContext(2**127 + 1, 2**63 + 1, sampled)
    assert SpanContext.from_traceparent(context.to_traceparent()) == context


@pytest.mark.slow  # at the end a process tries for two seconds to send what it has
async def test_a_dead_collector_costs_a_counter_and_no_time(
    served: tuple[Relay, Served], capfd: pytest.CaptureFixture[str]
) -> None:
    _, running = served
    before = spans_counted("refused")
    calls = 20
    async with tracing.tracing("storage", "hospital-a", Collector("127.0.0.1:1")):
        client = running.channel_as("hospital-a", "client")
        begun = time.perf_counter()
        for _ in range(calls):
            await ask(client)
        # A call takes a millisecond or two; one that waited for the collector would take seconds.
        assert time.perf_counter() - begun < 2.0
        begun = time.perf_counter()
    assert time.perf_counter() - begun < FLUSH_SECONDS + 2.0  # to close a connection
    await eventually(lambda: spans_counted("refused") == before + calls, what="the counter")
    assert "opentelemetry" not in capfd.readouterr().err


class Stuck(SpanExporter):
    """A collector that takes nothing until it is let go."""

    def __init__(self) -> None:
        self.free = threading.Event()

    def export(self, spans: object) -> SpanExportResult:
        self.free.wait()
        return SpanExportResult.SUCCESS


def test_spans_that_find_no_room_are_dropped_and_counted() -> None:
    before, stuck, more = spans_counted("dropped"), Stuck(), 10
    export = BoundedExport(stuck)
    for _ in range(BATCH_SPANS_MAX + QUEUE_SPANS_MAX + more):
        export.on_end(ReadableSpan("transaction"))
    assert spans_counted("dropped") >= before + more
    stuck.free.set()
    export.close()


async def test_only_the_wanted_part_of_traces_is_recorded(collector: otlp.Collector) -> None:
    async with tracing.tracing("storage", "hospital-a", Collector(collector.endpoint, ratio=0.0)):
        for parent in (None, PARENT):
            begun = tracing.begin("transaction", Kind.INTERNAL, parent)
            assert begun is not None
            assert begun.context.sampled is (parent is not None)
            begun.end()
    assert [span.parent for span in collector.spans] == [f"{PARENT.span_id:016x}"]


@pytest.mark.slow  # who is not believed is tried for two seconds at the end
@pytest.mark.parametrize("known", [True, False])
async def test_spans_go_to_a_collector_that_the_authorities_vouch_for(
    tmp_path: Path, known: bool
) -> None:
    tls, stranger = ServerTls.make(tmp_path / "a"), ServerTls.make(tmp_path / "b")
    authorities = (tls if known else stranger).ca_file
    async with otlp.running_collector(tls) as collector:
        wanted = Collector(collector.endpoint, authorities)
        async with tracing.tracing("storage", "hospital-a", wanted):
            begun = tracing.begin("transaction", Kind.INTERNAL, None)
            assert begun is not None
            begun.end()
        assert bool(collector.spans) is known


async def test_authorities_that_cannot_be_read_turn_traces_off_only(tmp_path: Path) -> None:
    wanted = Collector("collector:4317", ca_file=tmp_path / "missing.pem")
    async with tracing.tracing("storage", "hospital-a", wanted):
        assert not tracing.on()
        assert tracing.begin("transaction", Kind.INTERNAL, None) is None


@pytest.mark.slow  # starts a process
def test_a_process_without_a_collector_does_not_import_opentelemetry() -> None:
    program = (
        "import sys, cipherward_kit.process, cipherward_kit.server, cipherward_kit.channels;"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_no_endpoint_or_an_empty_one_is_no_collector(
    monkeypatch: pytest.MonkeyPatch, no_settings: Path
) -> None:
    assert TracesConfig().collector is None
    monkeypatch.setenv("CIPHERWARD_OTLP_ENDPOINT", "")
    assert TracesConfig().collector is None
    monkeypatch.setenv("CIPHERWARD_OTLP_ENDPOINT", "collector:4317")
    assert TracesConfig().collector == Collector("collector:4317")


@pytest.mark.parametrize(
    ("endpoint", "authorities", "refused"),
    [
        ("collector.monitoring:4317", None, True),
        ("10.0.0.7:4317", None, True),
        ("collector.monitoring:4317", "ca.pem", False),
        ("localhost:4317", None, False),
        ("127.0.0.1:4317", None, False),
        ("[::1]:4317", None, False),
        (None, None, False),
    ],
)
def test_production_sends_traces_in_plaintext_to_this_host_only(
    no_settings: Path, endpoint: str | None, authorities: str | None, refused: bool
) -> None:
    config = ProcessConfig(
        member="hospital-a",
        genesis_file=no_settings / "genesis.json",
        otlp_endpoint=endpoint,
        otlp_ca_file=None if authorities is None else Path(authorities),
    )
    assert any("otlp_endpoint" in fault for fault in config.faults()) is refused
