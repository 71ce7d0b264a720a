"""A member's own ledger turns hostile: what it streams to the member's services, over TLS."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from cipherward.chain.v1 import block_pb2 as pb
from cipherward.comet.v1 import types_pb2 as comet
from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward_chain.comet import Validator, ValidatorSet
from cipherward_chain.feed import GrpcBlockFeed
from cipherward_chain.follower import Follower
from cipherward_chain.light import VerifiedBlock
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import BLOCK_NS, make_genesis, seed_of
from cipherward_chain.testing_quorum import QuorumChain, seeds_by_key
from cipherward_chain.wire import NANOS
from cipherward_kit.testing import MEMBERS, TestAlliance, eventually, serve_in_process
from cipherward_member.errors import ChainStale
from cipherward_member.following import ChainProgress
from cipherward_member.ledger_channel import BLOCK_MESSAGE_BYTES_MAX

pytestmark = pytest.mark.slow

BLOCKS = 12
LIE_AT = 5  # the first height that is lied about
IDLE_SECONDS = 0.3  # of a stream that is silent; three heartbeats in the product
ASKED_AGAIN = 2  # calls in which the lie was told; half a second goes by before each further one
DEADLINE = 30.0
FRESH_SECONDS = 30.0

Blocks = Sequence[pb.ProvenBlock]
Attack = Callable[[QuorumChain], Blocks]


def grown(chain_id: str = "test-chain", **changed: Any) -> QuorumChain:
    """Return a chain of four members; `changed` is how the blocks from LIE_AT on are decided."""
    genesis, keys = make_genesis(engine="cometbft", chain_id=chain_id)
    chain = QuorumChain(genesis, seeds_by_key(keys.validator_seeds))
    for number in range(1, BLOCKS + 2):
        lied = changed if number >= LIE_AT else {}
        chain.decide([f"transaction {number}".encode()], **lied)
    return chain


def with_lie(good: Blocks, change: Callable[[pb.ProvenBlock], None]) -> Blocks:
    """Return the blocks with one of them changed."""
    lied = pb.ProvenBlock()
    lied.CopyFrom(good[LIE_AT - 1])
    change(lied)
    return [*good[: LIE_AT - 1], lied, *good[LIE_AT:]]


def wrong_signature(block: pb.ProvenBlock) -> None:
    commit = comet.Commit.FromString(block.next_commit)
    commit.signatures[0].signature = bytes(64)
    block.next_commit = commit.SerializeToString()


def other_result(block: pb.ProvenBlock) -> None:
    block.results[0] += b"\x10\x01"


def no_transactions(block: pb.ProvenBlock) -> None:
    del block.transactions[:]


def no_orders(block: pb.ProvenBlock) -> None:
    block.ClearField("orders_proof")


def set_of_its_own(block: pb.ProvenBlock) -> None:
    alone = SigningKey(seed_of("liar")).public_key
    block.next_validators = ValidatorSet.of([Validator(alone, 10)]).to_bytes()


def too_large(block: pb.ProvenBlock) -> None:
    block.transactions.append(bytes(BLOCK_MESSAGE_BYTES_MAX + 1))


def two_of_four(chain: QuorumChain) -> Blocks:
    absent = frozenset(list(chain.seeds)[:2])
    return grown(absent=absent).proven


# With the reason why it is rejected; a stream that breaks or stands still has none.
ATTACKS: dict[str, tuple[str | None, Attack]] = {
    "a signature that is wrong": (
        "COMMIT_REJECTED",
        lambda chain: with_lie(chain.proven, wrong_signature),
    ),
    "the votes of two of four": ("COMMIT_REJECTED", two_of_four),
    "another result": ("RESULTS_DIFFER", lambda chain: with_lie(chain.proven, other_result)),
    "a block without its acts": (
        "DATA_DIFFERS",
        lambda chain: with_lie(chain.proven, no_transactions),
    ),
    "a block without its orders": (
        "ORDERS_REJECTED",
        lambda chain: with_lie(chain.proven, no_orders),
    ),
    "a set of validators of its own": (
        "VALIDATORS_DIFFER",
        lambda chain: with_lie(chain.proven, set_of_its_own),
    ),
    "a message that is too large": (None, lambda chain: with_lie(chain.proven, too_large)),
    "an empty message": (
        "BLOCK_MALFORMED",
        lambda chain: with_lie(chain.proven, pb.ProvenBlock.Clear),
    ),
    "a time that goes back": (
        "TIME_NOT_INCREASING",
        lambda chain: grown(after_ns=-2 * BLOCK_NS).proven,
    ),
    "another chain": ("CHAIN_DIFFERS", lambda chain: grown("other-chain").proven),
    "the wrong order": (
        "HEIGHT_UNEXPECTED",
        lambda chain: [
            *chain.proven[: LIE_AT - 1],
            *reversed(chain.proven[LIE_AT - 1 :]),
        ],
    ),
    "a block left out": (
        "HEIGHT_UNEXPECTED",
        lambda chain: [*chain.proven[: LIE_AT - 1], *chain.proven[LIE_AT:]],
    ),
    "old blocks again": (
        "HEIGHT_UNEXPECTED",
        lambda chain: [*chain.proven[: LIE_AT - 1], *chain.proven],
    ),
    "silence": (None, lambda chain: chain.proven[: LIE_AT - 1]),
}


@dataclass
class HostileLedger:
    """Streams what it is told to, whatever it is asked for."""

    shown: list[pb.ProvenBlock] = field(default_factory=list[pb.ProvenBlock])
    asked: int = 0

    def serve_on(self, server: aio.Server) -> None:
        """Add it to a server."""
        handler = grpc.unary_stream_rpc_method_handler(
            self._stream,
            request_deserializer=ledger_pb.StreamBlocksRequest.FromString,
            response_serializer=ledger_pb.StreamBlocksResponse.SerializeToString,
        )
        service = "cipherward.ledger.v1.LedgerService"
        handlers = grpc.method_handlers_generic_handler(service, {"StreamBlocks": handler})
        server.add_generic_rpc_handlers((handlers,))

    async def _stream(
        self, request: ledger_pb.StreamBlocksRequest, _context: aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[ledger_pb.StreamBlocksResponse]:
        # from the asked place of its list on; then it stays silent
        self.asked += 1
        for block in self.shown[request.from_height - 1 :]:
            yield ledger_pb.StreamBlocksResponse(block=block)
        await asyncio.Event().wait()


@pytest.fixture
def hostile() -> HostileLedger:
    return HostileLedger()


@pytest.fixture
async def channel(hostile: HostileLedger, tmp_path: Path) -> AsyncIterator[aio.Channel]:
    async with serve_in_process(
        hostile.serve_on,
        domain="ledger.cipherward",
        alliance=TestAlliance(tmp_path),
        service="ledger",
        message_bytes_max=2 * BLOCK_MESSAGE_BYTES_MAX,  # a liar's own bound binds nobody
    ) as served:
        served.message_bytes_max = BLOCK_MESSAGE_BYTES_MAX
        yield served.channel_as(MEMBERS[0], "storage")


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_service_carries_out_nothing_of_what_its_ledger_makes_up(
    hostile: HostileLedger, channel: aio.Channel, attack: str, caplog: pytest.LogCaptureFixture
) -> None:
    reason, lie = ATTACKS[attack]
    genuine = grown()
    hostile.shown = list(lie(genuine))
    done: list[VerifiedBlock] = []
    rejected = count()

    async def carry_out(block: VerifiedBlock) -> None:
        done.append(block)

    client = genuine.light_client()
    feed = GrpcBlockFeed(channel, IDLE_SECONDS)
    follower = Follower(feed, client, carry_out, rejected=lambda: next(rejected))
    async with asyncio.TaskGroup() as group:
        run = group.create_task(follower.run())
        await eventually(lambda: hostile.asked >= ASKED_AGAIN, seconds=DEADLINE)
        assert len(done) < LIE_AT
        hostile.shown = list(genuine.proven)  # the lie ends: nothing was lost by it
        await eventually(lambda: len(done) == BLOCKS, seconds=DEADLINE)
        run.cancel()
    assert [block.height for block in done] == list(range(1, BLOCKS + 1))
    hashes = [genuine.block_hash(height) for height in range(1, BLOCKS + 1)]
    assert [block.header_hash for block in done] == hashes
    logged = [vars(one)["reason"] for one in caplog.records if one.message == "block_rejected"]
    assert set(logged) == ({reason} if reason else set())
    assert next(rejected) == len(logged)


@pytest.mark.parametrize("hours", [1, -1], ids=["ahead", "behind"])
async def test_blocks_whose_time_is_not_now_give_no_right(
    hostile: HostileLedger, channel: aio.Channel, hours: int
) -> None:
    """More than two thirds have signed them: they count, and rights still end."""
    began_ns = time.time_ns() - 2 * 3_600 * NANOS
    genesis, keys = make_genesis(engine="cometbft", time_ns=began_ns)
    chain = QuorumChain(genesis, seeds_by_key(keys.validator_seeds))
    chain.grow(1)
    chain.decide(after_ns=(2 + hours) * 3_600 * NANOS)
    chain.grow(1)
    hostile.shown = list(chain.proven)
    progress = ChainProgress(FRESH_SECONDS)

    async def carry_out(block: VerifiedBlock) -> None:
        progress.saw(block.height, block.checkpoint.next_time_ns)

    follower = Follower(GrpcBlockFeed(channel, IDLE_SECONDS), chain.light_client(), carry_out)
    async with asyncio.TaskGroup() as group:
        run = group.create_task(follower.run())
        await eventually(lambda: progress.height == len(chain.proven), seconds=DEADLINE)
        assert not progress.fresh
        with pytest.raises(ChainStale):
            progress.require_fresh()
        run.cancel()
