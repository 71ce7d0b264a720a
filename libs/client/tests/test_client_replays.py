"""A replay reads the whole chain, and believes no block that does not follow from the genesis."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc.aio import Metadata

from cipherward.chain.v1 import block_pb2 as chain_pb
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.endpoints import Endpoint, Endpoints
from cipherward_chain.rejections import BlockRejected
from cipherward_chain.testing import make_genesis
from cipherward_chain.testing_quorum import QuorumChain, seeds_by_key
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.replays import FETCHED_AT_ONCE, blocks_until

HEIGHT = FETCHED_AT_ONCE * 2 + 3  # more than two rounds of questions


class Ledger:
    """A ledger that answers blocks from a chain in memory."""

    def __init__(self, chain: QuorumChain) -> None:
        self.chain = chain
        self.change: Callable[[chain_pb.ProvenBlock], None] = lambda block: None

    async def GetBlock(
        self,
        request: pb.GetBlockRequest,
        timeout: float,  # noqa: ASYNC109 (grpc's own name)
    ) -> pb.GetBlockResponse:
        if request.height > len(self.chain.blocks):
            raise aio.AioRpcError(grpc.StatusCode.NOT_FOUND, Metadata(), Metadata())
        block = chain_pb.ProvenBlock.FromString(
            self.chain.blocks[request.height - 1].SerializeToString()
        )
        self.change(block)
        return pb.GetBlockResponse(block=block)


class Connection(Alliance):
    """A connection to that ledger."""

    answering: Ledger

    def ledger_of(self, member: str) -> Any:
        return self.answering


@pytest.fixture
async def connection() -> AsyncGenerator[Connection]:
    genesis, keys = make_genesis(engine="cometbft")
    chain = QuorumChain(genesis, seeds_by_key(keys.validator_seeds))
    chain.grow(4)
    chain.decide([b"a transaction"])
    chain.grow(HEIGHT)
    endpoint = Endpoint("127.0.0.1:1", "", "127.0.0.1:2", "127.0.0.1:3")
    endpoints = Endpoints("test-chain", "hospital-a", {"hospital-a": {"ledger": endpoint}})
    async with AsyncExitStack() as stack:
        made = Connection(genesis, endpoints, None, "hospital-a", stack)
        made.answering = Ledger(chain)
        yield made


async def test_every_block_comes_in_order_and_verified(connection: Connection) -> None:
    found = [block async for block in blocks_until(connection, HEIGHT)]
    assert [block.height for block in found] == list(range(1, HEIGHT + 1))
    (filled,) = [block for block in found if block.transactions]
    assert (filled.height, filled.transactions) == (5, (b"a transaction",))
    assert len(filled.results) == 1


async def test_a_block_that_was_changed_on_the_way_ends_the_replay(connection: Connection) -> None:
    def other_transaction(block: chain_pb.ProvenBlock) -> None:
        block.transactions[:] = [b"another" for _ in block.transactions]

    def other_result(block: chain_pb.ProvenBlock) -> None:
        block.results[:] = [b"" for _ in block.results]

    def unsigned(block: chain_pb.ProvenBlock) -> None:
        block.next_commit = connection.answering.chain.blocks[0].next_commit

    for change in (other_transaction, other_result, unsigned):
        connection.answering.change = change
        with pytest.raises(BlockRejected):
            [block async for block in blocks_until(connection, HEIGHT)]


async def test_a_ledger_without_the_beginning_of_the_chain_cannot_be_replayed(
    connection: Connection,
) -> None:
    connection.answering.chain.blocks.clear()
    with pytest.raises(ClientError):
        [block async for block in blocks_until(connection, HEIGHT)]
