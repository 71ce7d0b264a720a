"""What our client channels add: deadlines, and retries only where the proto says safe."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import aio

from cipherward_kit.channels import service_config
from cipherward_kit.renewing import DEADLINE_SECONDS
from cipherward_kit.testing import Served, TestAlliance, serve_in_process

ECHO = "/cipherward.echo.v1.EchoService/"


def bytes_method(channel: Any, kind: str, method: str) -> Any:
    """Return a method that takes and gives bytes; grpc types one without a proto as unknown."""
    return getattr(channel, kind)(method)


@pytest.fixture
async def served(echo: Any, alliance: TestAlliance) -> AsyncIterator[Served]:
    async with serve_in_process(
        echo.register, domain=echo.domain, alliance=alliance, service="echo", rules=echo.rules
    ) as served:
        yield served


async def test_a_call_without_a_deadline_gets_the_default(served: Served) -> None:
    deadline = bytes_method(served.holder_channel(), "unary_unary", ECHO + "Deadline")
    assert DEADLINE_SECONDS - 5 < float(await deadline(b"")) <= DEADLINE_SECONDS


async def test_a_given_deadline_is_kept_also_a_longer_one(served: Served) -> None:
    deadline = bytes_method(served.holder_channel(), "unary_unary", ECHO + "Deadline")
    assert 295 < float(await deadline(b"", timeout=300)) <= 300


async def test_a_call_that_takes_too_long_ends(served: Served) -> None:
    wait = bytes_method(served.holder_channel(), "unary_unary", ECHO + "Wait")
    with pytest.raises(aio.AioRpcError) as caught:
        await wait(b"", timeout=0.05)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_safe_method_is_tried_again(served: Served, echo: Any) -> None:
    flaky = bytes_method(served.holder_channel(), "unary_unary", ECHO + "Flaky")
    assert await flaky(b"x") == b"x"
    assert echo.attempts == 3


async def test_any_other_method_is_tried_once(served: Served, echo: Any) -> None:
    flaky = bytes_method(served.holder_channel(), "unary_unary", ECHO + "FlakyUnsafe")
    with pytest.raises(aio.AioRpcError):
        await flaky(b"x")
    assert echo.attempts == 1


def test_a_service_config_names_safe_methods_only(echo: Any) -> None:
    (policy,) = json.loads(service_config(echo.rules))["methodConfig"]
    assert policy["name"] == [{"service": "cipherward.echo.v1.EchoService", "method": "Flaky"}]
    assert "methodConfig" not in json.loads(service_config({}))


async def test_a_channel_as_a_context_closes_itself(served: Served) -> None:
    async with served.holder_channel() as channel:
        await channel.channel_ready()
        assert channel.get_state() is grpc.ChannelConnectivity.READY
    with pytest.raises(aio.UsageError):
        await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
