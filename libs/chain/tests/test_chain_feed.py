"""The gRPC feed, against a ledger that ends, breaks and falls silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import grpc
import pytest
from grpc import aio

from cipherward.chain.v1 import block_pb2 as pb
from cipherward.ledger.v1 import ledger_service_pb2 as ledger
from cipherward_chain.feed import GrpcBlockFeed
from cipherward_chain.testing import TestChain

DEADLINE_SECONDS = 10  # of a whole test: a feed that does not come back fails it
IDLE_SECONDS = 0.3


class UnsteadyLedger:
    """Serves a chain's blocks; after each `portion` of them the call ends in the next of `ways`."""

    def __init__(self, chain: TestChain, ways: list[str], portion: int = 2) -> None:
        self._chain = chain
        self._ways = ways
        self._portion = portion
        self.asked: list[int] = []

    def serve_on(self, server: aio.Server) -> None:
        handler = grpc.unary_stream_rpc_method_handler(
            self._stream_blocks,
            request_deserializer=ledger.StreamBlocksRequest.FromString,
            response_serializer=ledger.StreamBlocksResponse.SerializeToString,
        )
        service = "cipherward.ledger.v1.LedgerService"
        handlers = grpc.method_handlers_generic_handler(service, {"StreamBlocks": handler})
        server.add_generic_rpc_handlers((handlers,))

    async def _stream_blocks(
        self, request: ledger.StreamBlocksRequest, context: aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[ledger.StreamBlocksResponse]:
        self.asked.append(request.from_height)
        way = self._ways.pop(0) if self._ways else "go on"
        sent = 0
        async with aclosing(self._chain.blocks_from(request.from_height)) as blocks:
            async for block in blocks:
                if sent == self._portion and way != "go on":
                    break
                yield ledger.StreamBlocksResponse(block=block)
                sent += 1
        if way == "break":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
        if way == "silence":
            await asyncio.Event().wait()


async def collected(ledger_service: UnsteadyLedger, count: int) -> list[pb.ProvenBlock]:
    """Read `count` blocks from height 1 through a feed over a real socket."""
    server = aio.server()
    ledger_service.serve_on(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    found: list[pb.ProvenBlock] = []
    try:
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            aio.insecure_channel(f"127.0.0.1:{port}") as channel,
            aclosing(GrpcBlockFeed(channel, IDLE_SECONDS).blocks_from(1)) as blocks,
        ):
            async for block in blocks:
                found.append(block)
                if len(found) == count:
                    break
    finally:
        await server.stop(0)
    return found


@pytest.fixture
def ten_blocks(chain: TestChain, transactions: Callable[[int], list[bytes]]) -> TestChain:
    for made in transactions(5):
        chain.append([made])
    chain.heartbeat()
    assert len(chain.blocks) == 10
    return chain


async def test_blocks_come_in_order(ten_blocks: TestChain) -> None:
    assert await collected(UnsteadyLedger(ten_blocks, []), 10) == ten_blocks.blocks


@pytest.mark.slow
@pytest.mark.parametrize("way", ["end", "break", "silence"])
async def test_a_stream_that_stops_is_resumed_where_it_stopped(
    ten_blocks: TestChain, way: str
) -> None:
    service = UnsteadyLedger(ten_blocks, [way] * 3)
    assert await collected(service, 10) == ten_blocks.blocks
    assert service.asked == [1, 3, 5, 7]


@pytest.mark.slow
async def test_a_ledger_that_comes_up_later_is_found(ten_blocks: TestChain) -> None:
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    port = server.add_insecure_port("127.0.0.1:0")
    async with asyncio.timeout(DEADLINE_SECONDS):
        await server.start()
        await server.stop(0)
        later = aio.server(options=[("grpc.so_reuseport", 0)])
        UnsteadyLedger(ten_blocks, []).serve_on(later)
        async with (
            aio.insecure_channel(f"127.0.0.1:{port}") as channel,
            aclosing(GrpcBlockFeed(channel, IDLE_SECONDS).blocks_from(3)) as blocks,
        ):
            first = asyncio.ensure_future(anext(blocks))
            await asyncio.wait([first], timeout=0.1)  # at least one attempt has failed
            assert not first.done()
            assert later.add_insecure_port(f"127.0.0.1:{port}") == port
            await later.start()
            try:
                assert await first == ten_blocks.blocks[2]
            finally:
                await later.stop(0)
