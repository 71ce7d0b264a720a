"""What a stream that must be refused is worth, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import aio

from cipherward_client.canaries.asking import first_of, refused_read
from cipherward_client.canaries.spots import Outcome
from cipherward_kit.errors import DETAILS_KEY, ServiceError

SERVICE, METHOD = "cipherward.tests.Streams", "Get"
# Of the call to a server that says nothing: whatever is answered on a loopback comes sooner.
SILENT_SECONDS = 0.2
DEADLINE_SECONDS = 10.0  # of the others: a stream that does not come back fails the test


class Ended(ServiceError):
    """The release is over."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "RELEASE_ENDED"


async def answer(way: bytes, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[bytes]:
    """Answer in the way that is asked for."""
    if way == b"refuse":
        details = Ended("no").details("storage.cipherward")
        await context.abort(Ended.code, "no", trailing_metadata=((DETAILS_KEY, details),))
    if way == b"break":
        await context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
    if way == b"be silent":
        await asyncio.Event().wait()
    if way == b"give":
        yield b"a part"
        await asyncio.Event().wait()  # the rest is not waited for


@pytest.mark.parametrize(
    ("way", "seconds", "outcome"),
    [
        (b"refuse", DEADLINE_SECONDS, Outcome.REFUSED),
        (b"give", DEADLINE_SECONDS, Outcome.GIVEN),
        (b"end without a part", DEADLINE_SECONDS, Outcome.GIVEN),
        (b"break", DEADLINE_SECONDS, Outcome.UNKNOWN),
        (b"be silent", SILENT_SECONDS, Outcome.UNKNOWN),
    ],
)
async def test_a_stream_is_refused_gives_something_or_cannot_be_asked(
    way: bytes, seconds: float, outcome: Outcome
) -> None:
    server = aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_stream_rpc_method_handler(answer)
    handlers = grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler})
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            path = f"/{SERVICE}/{METHOD}"
            call: aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
            ask = refused_read(lambda: first_of(call(way, timeout=seconds)), (Ended.reason,))
            assert await ask() is outcome
    finally:
        await server.stop(None)
