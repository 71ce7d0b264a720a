"""A tiny service with one method of every kind, and an alliance to serve it in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from cipherward.rpc_rules import RpcRule
from cipherward_kit.access import Rules, current_caller
from cipherward_kit.drain import Drain
from cipherward_kit.errors import ServiceError
from cipherward_kit.testing import TestAlliance

PACKAGE = "cipherward.echo.v1.EchoService"


CALLERS = {
    "OwnLedger": "own ledger",
    "OwnServices": "own member's services",
    "AnyServices": "any member's services",
    "AnyCompute": "any member's compute",
    "AnyStorage": "any member's storage",
}
FOR_ANYONE = ("Anyone", "Crash", "Wait", "Flaky", "FlakyUnsafe", "Deadline")
STREAMS = ("Count", "Push", "Join", "Both", "Forever", "Who")
RULES: Rules = {
    f"/{PACKAGE}/{name}": RpcRule(callers, name == "Flaky", ("INVALID_ARGUMENT/ECHO_EMPTY",))
    for name, callers in {**CALLERS, **dict.fromkeys((*FOR_ANYONE, *STREAMS), "anyone")}.items()
}


class EchoEmpty(ServiceError):
    """The request is empty."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "ECHO_EMPTY"


class EchoService:
    """Echoes bytes. Its requests and responses are plain bytes: there is no proto."""

    domain = "echo.cipherward"
    rules = RULES

    def __init__(self) -> None:
        self.drain = Drain()
        self.release = asyncio.Event()
        self.waiting = 0
        self.attempts = 0
        self.crash: Callable[[], None] = lambda: None

    def register(self, server: aio.Server) -> None:
        """Add every method; "Unruled" has none of the rules above."""
        one: Any = grpc.unary_unary_rpc_method_handler
        out: Any = grpc.unary_stream_rpc_method_handler
        handlers: dict[str, Any] = {
            name: one(self.echo) for name in (*CALLERS, "Anyone", "Unruled")
        }
        handlers |= {"Crash": one(self.crashing), "Wait": one(self.wait)}
        handlers |= {"Flaky": one(self.flaky), "FlakyUnsafe": one(self.flaky)}
        handlers |= {"Deadline": one(self.deadline)}
        handlers |= {
            "Who": out(self.who),
            "Count": out(self.count),
            "Push": out(self.push),
            "Forever": out(self.forever),
        }
        join: Any = self.join
        both: Any = self.both
        handlers["Join"] = grpc.stream_unary_rpc_method_handler(join)
        handlers["Both"] = grpc.stream_stream_rpc_method_handler(both)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(PACKAGE, handlers),))

    async def echo(self, request: bytes, _context: Any) -> bytes:
        if not request:
            raise EchoEmpty("an echo needs at least one byte", size=0)
        caller = current_caller()
        return request if caller is None else f"{caller.member}/{caller.service}".encode()

    async def crashing(self, request: bytes, _context: Any) -> bytes:
        secret_of_the_frame = request
        self.crash()
        raise KeyError(secret_of_the_frame.decode())

    async def wait(self, request: bytes, _context: Any) -> bytes:
        self.waiting += 1
        try:
            await self.release.wait()
        finally:
            self.waiting -= 1
        return request

    async def flaky(self, request: bytes, context: Any) -> bytes:
        self.attempts += 1
        if self.attempts < 3:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return request

    async def deadline(self, _request: bytes, context: Any) -> bytes:
        return str(context.time_remaining()).encode()

    async def count(self, request: bytes, _context: Any) -> AsyncIterator[bytes]:
        if not request:
            raise EchoEmpty("an echo needs at least one byte", size=0)
        self.waiting += 1
        try:
            for number in range(int(request)):
                yield str(number).encode()
        finally:
            self.waiting -= 1

    async def who(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield await self.echo(request, context)

    async def push(self, request: bytes, context: Any) -> None:
        await context.write(request)

    async def join(self, requests: AsyncIterator[bytes], _context: Any) -> bytes:
        return b"".join([request async for request in requests])

    async def both(self, requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    async def forever(self, request: bytes, _context: Any) -> AsyncIterator[bytes]:
        async def never() -> AsyncIterator[bytes]:
            yield request
            await asyncio.get_running_loop().create_future()

        async for item in self.drain.until(never()):
            yield item


@pytest.fixture(scope="session")
def alliance(tmp_path_factory: pytest.TempPathFactory) -> TestAlliance:
    return TestAlliance(tmp_path_factory.mktemp("alliance"), ("hospital-a", "hospital-b"))


@pytest.fixture
def echo() -> EchoService:
    return EchoService()


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment without settings of ours, and a folder."""
    for name in [name for name in os.environ if name.startswith("CIPHERWARD_")]:
        monkeypatch.delenv(name)
    return tmp_path
