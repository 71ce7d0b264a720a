"""Connections are made anew while calls go on; what never ends is cut so that callers know it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc import aio

from cipherward.rpc_rules import RpcRule
from cipherward_kit.connection_age import ConnectionAge
from cipherward_kit.errors import reason_of
from cipherward_kit.testing import Served, TestAlliance, eventually, serve_in_process

SERVICE = "cipherward.peer.v1.PeerService"
# Calls are not marked safe to retry, so that what is shown holds without any retry.
RULES = {f"/{SERVICE}/{name}": RpcRule("anyone", False, ()) for name in ("Whence", "Forever")}
AGE_SECONDS = 0.2
CALL_SECONDS = 10.0
CALLERS = 4
CONNECTIONS = 4  # as many ages have passed when so many connections were seen


async def whence(_request: bytes, context: Any) -> bytes:
    await asyncio.sleep(AGE_SECONDS / 10)  # some calls are in flight whenever an age is over
    return context.peer().encode()


async def forever(request: bytes, _context: Any) -> AsyncIterator[bytes]:
    yield request
    await asyncio.get_running_loop().create_future()


def register(server: aio.Server) -> None:
    one: Any = grpc.unary_unary_rpc_method_handler
    out: Any = grpc.unary_stream_rpc_method_handler
    handlers = {"Whence": one(whence), "Forever": out(forever)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


def method_of(found: Served, kind: str, name: str) -> Any:
    """Return a method that takes and gives bytes; grpc types one without a proto as unknown."""
    return getattr(found.holder_channel(), kind)(f"/{SERVICE}/{name}")


@asynccontextmanager
async def served(alliance: TestAlliance, grace_seconds: float) -> AsyncGenerator[Served]:
    async with serve_in_process(
        register,
        domain="peer.cipherward",
        alliance=alliance,
        service="peer",
        rules=RULES,
        age=ConnectionAge(AGE_SECONDS, grace_seconds),
    ) as found:
        yield found


@pytest.mark.slow
async def test_no_call_fails_while_its_connection_is_made_anew(alliance: TestAlliance) -> None:
    async with served(alliance, grace_seconds=CALL_SECONDS) as found:
        ask = method_of(found, "unary_unary", "Whence")
        seen: set[bytes] = set()

        async def keep_asking() -> None:
            while len(seen) < CONNECTIONS:
                seen.add(await ask(b"", timeout=CALL_SECONDS))

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(keep_asking())


@pytest.mark.slow
async def test_a_call_that_is_in_flight_has_its_grace(alliance: TestAlliance) -> None:
    async with served(alliance, grace_seconds=CALL_SECONDS) as found:
        stream = method_of(found, "unary_stream", "Forever")
        ask = method_of(found, "unary_unary", "Whence")
        call = stream(b"x")
        assert await call.read() == b"x"
        first = await ask(b"", timeout=CALL_SECONDS)

        async def connected_anew() -> bool:
            return await ask(b"", timeout=CALL_SECONDS) != first

        await eventually(connected_anew, what="another connection")
        assert not call.done()
        call.cancel()


@pytest.mark.slow
async def test_a_stream_that_outlives_the_grace_is_cut_as_by_a_server_that_went_away(
    alliance: TestAlliance,
) -> None:
    async with served(alliance, grace_seconds=AGE_SECONDS) as found:
        stream = method_of(found, "unary_stream", "Forever")
        call = stream(b"x", timeout=CALL_SECONDS)
        assert await call.read() == b"x"
        with pytest.raises(aio.AioRpcError) as cut:
            await call.read()
        assert cut.value.code() is grpc.StatusCode.UNAVAILABLE
        assert not reason_of(cut.value)
