"""What every RPC meets before and after its handler, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import structlog
from grpc import aio
from prometheus_client import REGISTRY

from cipherward_kit.access import (
    ALL_RULES,
    ANY_MEMBERS,
    ANY_SERVICE,
    ANYONE,
    OWN,
    OWN_ANY_SERVICE,
)
from cipherward_kit.errors import ServiceError, error_info, reason_of
from cipherward_kit.logging import configure_logging
from cipherward_kit.testing import Served, TestAlliance, eventually, serve_in_process

ECHO = "/cipherward.echo.v1.EchoService/"


def bytes_method(channel: Any, kind: str, method: str) -> Any:
    """Return a method that takes and gives bytes; grpc types one without a proto as unknown."""
    return getattr(channel, kind)(method)


@pytest.fixture
async def served(echo: Any, alliance: TestAlliance) -> AsyncIterator[Served]:
    async with serve_in_process(
        echo.register,
        domain=echo.domain,
        alliance=alliance,
        service="echo",
        rules=echo.rules,
        drain=echo.drain,
        rpcs_max=3,
    ) as served:
        yield served


async def refusal(call: Any) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value


async def unary(channel: aio.Channel, name: str, request: bytes = b"x", **kwargs: Any) -> bytes:
    method = bytes_method(channel, "unary_unary", ECHO + name)
    return await method(request, **kwargs)


@pytest.mark.parametrize(
    ("method", "callers"),
    [
        ("Anyone", "a/ledger a/compute b/ledger b/compute b/storage holder"),
        ("OwnLedger", "a/ledger"),
        ("OwnServices", "a/ledger a/compute"),
        ("AnyServices", "a/ledger a/compute b/ledger b/compute b/storage"),
        ("AnyCompute", "a/compute b/compute"),
        ("AnyStorage", "b/storage"),
        ("Unruled", ""),
    ],
)
async def test_a_method_serves_the_callers_of_its_comment_and_no_other(
    served: Served, method: str, callers: str
) -> None:
    channels = {
        f"{member}/{service}": served.channel_as(f"hospital-{member}", service)
        for member, service in (
            ("a", "ledger"),
            ("a", "compute"),
            ("b", "ledger"),
            ("b", "compute"),
            ("b", "storage"),
        )
    }
    channels["holder"] = served.holder_channel()
    for name, channel in channels.items():
        if name in callers.split():
            expected = b"x" if name == "holder" else f"hospital-{name}".encode()
            assert await unary(channel, method) == expected
        else:
            error = await refusal(unary(channel, method))
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED
            assert reason_of(error) == "CALLER_REFUSED"


async def test_own_includes_the_members_that_the_server_is_told(
    echo: Any, alliance: TestAlliance
) -> None:
    async with serve_in_process(
        echo.register,
        domain=echo.domain,
        alliance=alliance,
        service="echo",
        rules=echo.rules,
        also_own={"hospital-b"},
    ) as served:
        assert await unary(served.channel_as("hospital-b", "storage"), "OwnServices")


async def test_without_room_only_what_needs_room_is_refused(
    echo: Any, alliance: TestAlliance
) -> None:
    async with serve_in_process(
        echo.register,
        domain=echo.domain,
        alliance=alliance,
        service="echo",
        rules=echo.rules,
        growing={"OwnServices", "Both"},
        log_reserve_bytes=1 << 62,
    ) as served:
        channel = served.channel_as("hospital-a", "ledger")
        error = await refusal(unary(channel, "OwnServices"))
        assert (error.code().name, reason_of(error)) == ("RESOURCE_EXHAUSTED", "DISK_RESERVED")
        assert await unary(channel, "OwnLedger") == b"hospital-a/ledger"
        stream = bytes_method(channel, "stream_stream", ECHO + "Both")
        with pytest.raises(aio.AioRpcError) as caught:
            [item async for item in stream(aiter_of(b"1"))]
        assert reason_of(caught.value) == "DISK_RESERVED"


async def aiter_of(*items: bytes) -> AsyncIterator[bytes]:
    for item in items:
        yield item


async def test_a_refusal_carries_its_reason_domain_and_variables(served: Served) -> None:
    error = await refusal(unary(served.holder_channel(), "Anyone", b""))
    info = error_info(error)
    assert info is not None
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "an echo needs at least one byte"
    assert (info.reason, info.domain) == ("ECHO_EMPTY", "echo.cipherward")
    assert dict(info.metadata) == {"size": "0"}


async def test_a_stream_refusal_carries_its_reason(served: Served) -> None:
    stream = bytes_method(served.holder_channel(), "unary_stream", ECHO + "Count")
    with pytest.raises(aio.AioRpcError) as caught:
        [item async for item in stream(b"")]
    assert reason_of(caught.value) == "ECHO_EMPTY"


async def test_every_kind_of_handler_is_served(served: Served) -> None:
    channel = served.holder_channel()
    count = bytes_method(channel, "unary_stream", ECHO + "Count")
    push = bytes_method(channel, "unary_stream", ECHO + "Push")
    join = bytes_method(channel, "stream_unary", ECHO + "Join")
    both = bytes_method(channel, "stream_stream", ECHO + "Both")

    async def requests() -> AsyncIterator[bytes]:
        yield b"1"
        yield b"2"

    assert [item async for item in count(b"3")] == [b"0", b"1", b"2"]
    assert [item async for item in push(b"pushed")] == [b"pushed"]
    assert await join(requests()) == b"12"
    assert [item async for item in both(requests())] == [b"1", b"2"]


async def test_an_unknown_method_is_unimplemented(served: Served) -> None:
    error = await refusal(unary(served.holder_channel(), "Nothing"))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_crash_shows_the_caller_nothing_and_the_log_no_value(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("echo")
    try:
        error = await refusal(unary(served.holder_channel(), "Crash", b"patient-4711"))
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == "internal error"
    assert error_info(error) is None
    out = capsys.readouterr().out
    line = next(x for x in map(json.loads, out.splitlines()) if x["event"] == "rpc_crashed")
    assert line["method"] == ECHO + "Crash"
    assert line["exception"].endswith("KeyError")
    assert "in crashing" in line["exception"] or " crashing" in line["exception"]
    assert "4711" not in out


async def test_a_call_without_a_deadline_is_refused(served: Served, alliance: TestAlliance) -> None:
    credentials = grpc.ssl_channel_credentials(alliance.registry.authority_pem("hospital-a"))
    async with aio.secure_channel(
        f"localhost:{served.ports.holder}", credentials
    ) as bare:  # our own channels always give one
        error = await refusal(unary(bare, "Anyone"))
        stream = bytes_method(bare, "unary_stream", ECHO + "Count")
        assert [item async for item in stream(b"1")] == [b"0"]  # a stream needs none
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(error) == "DEADLINE_MISSING"


async def test_more_calls_than_the_limit_are_refused_and_room_comes_back(
    served: Served, echo: Any
) -> None:
    channel = served.holder_channel()
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(unary(channel, "Wait")) for _ in range(3)]
        await eventually(lambda: echo.waiting == 3)
        error = await refusal(unary(channel, "Anyone"))
        count = bytes_method(channel, "unary_stream", ECHO + "Count")
        assert [item async for item in count(b"1")] == [b"0"]  # streams are counted apart
        echo.release.set()
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason_of(error) == "SERVER_BUSY"
    assert [task.result() for task in waiting] == [b"x"] * 3
    assert await unary(channel, "Anyone") == b"x"


async def test_a_caller_that_goes_away_frees_its_place(served: Served, echo: Any) -> None:
    channel = served.holder_channel()
    method = bytes_method(channel, "unary_unary", ECHO + "Wait")
    calls = [method(b"x") for _ in range(3)]
    await eventually(lambda: echo.waiting == 3)
    for call in calls:
        call.cancel()
    await eventually(lambda: echo.waiting == 0)
    assert await unary(channel, "Anyone") == b"x"


async def test_a_call_is_counted_under_the_status_that_its_handler_gave(served: Served) -> None:
    name = {"grpc_method": f"{ECHO}FlakyUnsafe".removeprefix("/")}

    def counted() -> tuple[float, float]:
        ended = "grpc_server_call_duration_seconds_count"
        away = REGISTRY.get_sample_value(ended, name | {"grpc_status": "UNAVAILABLE"})
        begun = REGISTRY.get_sample_value("grpc_server_call_started_total", name)
        return begun or 0, away or 0

    begun, away = counted()
    await refusal(unary(served.holder_channel(), "FlakyUnsafe"))
    await eventually(lambda: counted() == (begun + 1, away + 1))


async def test_an_endless_stream_ends_when_the_server_drains(served: Served, echo: Any) -> None:
    stream = bytes_method(served.holder_channel(), "unary_stream", ECHO + "Forever")
    call = stream(b"first")
    assert await call.read() == b"first"
    echo.drain.begin()
    with pytest.raises(aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(caught.value) == "DRAINING"


async def test_a_long_refusal_still_arrives(served: Served, echo: Any) -> None:
    class Wordy(ServiceError):
        code = grpc.StatusCode.FAILED_PRECONDITION
        reason = "WORDY"

    def crash() -> None:
        raise Wordy("ü" * 50_000, variable="ü" * 50_000)

    echo.crash = crash
    error = await refusal(unary(served.holder_channel(), "Crash"))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason_of(error) == "WORDY"


async def test_a_message_over_the_limit_is_refused(served: Served) -> None:
    error = await refusal(unary(served.holder_channel(), "Anyone", b"x" * (4 * 1024 * 1024 + 1)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_stream_knows_its_caller_too(served: Served) -> None:
    channel = served.channel_as("hospital-b", "storage")
    who = bytes_method(channel, "unary_stream", ECHO + "Who")
    assert [item async for item in who(b"x")] == [b"hospital-b/storage"]


async def test_readers_that_go_away_end_their_streams_and_free_their_places(
    served: Served, echo: Any
) -> None:
    count = bytes_method(served.holder_channel(), "unary_stream", ECHO + "Count")
    streams = [count(b"100000000") for _ in range(3)]
    for stream in streams:
        assert await stream.read() == b"0"
    error = await refusal(count(b"1").read())
    assert reason_of(error) == "SERVER_BUSY"
    for stream in streams:
        stream.cancel()
    await eventually(lambda: echo.waiting == 0)
    assert [item async for item in count(b"1")] == [b"0"]


@pytest.mark.parametrize(
    ("upstream", "code", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_AWAY"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_AWAY"),
        (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INTERNAL, ""),
    ],
)
async def test_a_service_that_is_away_is_not_our_bug(
    served: Served, echo: Any, upstream: grpc.StatusCode, code: grpc.StatusCode, reason: str
) -> None:
    def crash() -> None:
        raise aio.AioRpcError(upstream, aio.Metadata(), aio.Metadata(), "from upstream")

    echo.crash = crash
    error = await refusal(unary(served.holder_channel(), "Crash"))
    assert (error.code(), reason_of(error)) == (code, reason)
    assert "upstream" not in str(error.details())


def test_every_rule_names_callers_that_the_boundary_knows() -> None:
    known = {ANYONE, OWN_ANY_SERVICE, ANY_SERVICE, *OWN, *ANY_MEMBERS}
    assert {rule.callers for rule in ALL_RULES.values()} <= known
    assert ALL_RULES
