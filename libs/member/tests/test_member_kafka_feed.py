"""Blocks out of a real topic into a real light client, whoever wrote to the topic."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest
from prometheus_client import REGISTRY

from cipherward.chain.v1 import block_pb2 as pb
from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.evidence import ChainForked
from cipherward_chain.follower import Follower
from cipherward_chain.light import VerifiedBlock
from cipherward_chain.testing import make_genesis
from cipherward_chain.testing_quorum import QuorumChain, seeds_by_key
from cipherward_kit.testing import eventually
from cipherward_member.kafka_connection import KafkaConnection
from cipherward_member.kafka_feed import KafkaBlockFeed, Patience
from cipherward_member.kafka_reader import KafkaAway, open_reader
from cipherward_member.kafka_topic import VALUE_BYTES_MAX, key_of
from tests.servers.blocks_topic import BlocksTopic, make_topic, topic_of
from tests.servers.kafka import KafkaServer

pytestmark = [pytest.mark.servers, pytest.mark.slow]

BLOCKS = 40
DEADLINE = 30.0  # of a wait; a detour of the product's own length would break it
SILENCE_SECONDS = 2.0
PATIENCE = Patience(detour_seconds=1.0, detour_seconds_max=4.0, credit_seconds=60.0)


class Ledger:
    """A ledger's own stream, which a test may hold back; it knows what was asked of it."""

    def __init__(self, chain: QuorumChain) -> None:
        self._chain = chain
        self.gave: list[int] = []
        self.open = asyncio.Event()
        self.open.set()

    async def blocks_from(self, height: int) -> AsyncGenerator[pb.ProvenBlock, None]:
        while True:
            await self.open.wait()
            if height <= len(self._chain.proven):
                self.gave.append(height)
                yield self._chain.proven[height - 1]
                height += 1
            else:
                await asyncio.sleep(0.01)


@dataclass
class Service:
    """What follows: the heights whose blocks it has carried out, in order."""

    ledger: Ledger
    feed: KafkaBlockFeed
    heights: list[int] = field(default_factory=list[int])

    async def handle(self, block: VerifiedBlock) -> None:
        self.heights.append(block.height)

    async def reaches(self, height: int) -> None:
        """Return when every block up to `height` was carried out, each once."""
        await eventually(lambda: self.heights[-1:] >= [height], seconds=DEADLINE)
        assert self.heights == list(range(self.heights[0], self.heights[-1] + 1))


@pytest.fixture
def chain() -> QuorumChain:
    genesis, keys = make_genesis(engine="cometbft")
    chain = QuorumChain(genesis, seeds_by_key(keys.validator_seeds))
    for number in range(BLOCKS + 1):
        chain.decide([f"transaction {number}".encode()])
    return chain


@pytest.fixture
def connection(kafka: KafkaServer) -> KafkaConnection:
    return KafkaConnection((kafka.bootstrap,), "plaintext")


@pytest.fixture
async def topic(connection: KafkaConnection) -> BlocksTopic:
    return await make_topic(connection)


@asynccontextmanager
async def following(
    chain: QuorumChain,
    topic: BlocksTopic,
    *,
    after: int = 0,
    silence_seconds: float = SILENCE_SECONDS,
    patience: Patience = PATIENCE,
) -> AsyncGenerator[Service]:
    """Follow the topic from behind block `after` while the context is open."""
    ledger = Ledger(chain)
    feed = KafkaBlockFeed(
        lambda: open_reader(topic.connection, topic.name), ledger, silence_seconds, patience
    )
    service = Service(ledger, feed)
    client = chain.light_client()
    for block in chain.proven[:after]:
        client.accept(block)
    follower = Follower(feed, client, service.handle)
    feed.watched_by(follower.stray)
    async with asyncio.TaskGroup() as group:
        run = group.create_task(follower.run())
        yield service
        run.cancel()


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"cipherward_feed_{name}", labels) or 0.0


async def test_blocks_of_the_topic_are_verified_and_the_ledger_is_left_alone(
    chain: QuorumChain, topic: BlocksTopic
) -> None:
    await topic.publish(chain.proven)
    async with following(chain, topic, silence_seconds=DEADLINE) as service:
        await service.reaches(BLOCKS)
        chain.decide([b"one more"])
        await topic.publish(chain.proven[BLOCKS:], BLOCKS + 1)
        await service.reaches(BLOCKS + 1)
        assert service.ledger.gave == []


@pytest.mark.parametrize("after", [1, 17, BLOCKS - 1, BLOCKS])
async def test_a_service_goes_on_behind_its_own_height(
    chain: QuorumChain, topic: BlocksTopic, after: int
) -> None:
    await topic.publish(chain.proven[:30])
    await topic.publish(chain.proven[25:], 26)  # a publisher that came back repeats some
    chain.decide()
    async with following(chain, topic, after=after, silence_seconds=DEADLINE) as service:
        await topic.publish(chain.proven[BLOCKS:], BLOCKS + 1)
        await service.reaches(BLOCKS + 1)
        assert service.heights[0] == after + 1
        assert service.ledger.gave == []


Pair: TypeAlias = tuple[bytes | None, bytes | None]  # key and value
Messages: TypeAlias = list[Pair]
Attack: TypeAlias = Callable[[QuorumChain, Messages], Messages]


def changed(message: Pair, change: Callable[[pb.ProvenBlock], None]) -> Pair:
    block = pb.ProvenBlock.FromString(message[1] or b"")
    change(block)
    return message[0], block.SerializeToString()


def forged_result(block: pb.ProvenBlock) -> None:
    block.results[0] += b"\x10\x01"


def forged_signature(block: pb.ProvenBlock) -> None:
    commit = comet.Commit.FromString(block.next_commit)
    commit.signatures[0].signature = bytes(64)
    block.next_commit = commit.SerializeToString()


def without_transactions(block: pb.ProvenBlock) -> None:
    del block.transactions[:]


def foreign_messages(chain: QuorumChain) -> Messages:
    """Return the same heights of a chain that has another name."""
    genesis, keys = make_genesis(engine="cometbft", chain_id="other-chain")
    other = QuorumChain(genesis, seeds_by_key(keys.validator_seeds))
    other.grow(len(chain.blocks))
    return [(key_of(h), b.SerializeToString()) for h, b in enumerate(other.proven, 1)]


ATTACKS: dict[str, Attack] = {
    "forged results": lambda chain, good: [*good[:9], changed(good[9], forged_result), *good[9:]],
    "forged signatures": lambda chain, good: [
        *good[:9],
        changed(good[9], forged_signature),
        *good[9:],
    ],
    "each block forged before it comes": lambda chain, good: [
        one for g in good for one in (changed(g, without_transactions), g)
    ],
    "truncated": lambda chain, good: [
        *good[:9],
        (good[9][0], (good[9][1] or b"")[:-7]),
        *good[10:],
    ],
    "reordered": lambda chain, good: [*good[:9], *reversed(good[9:])],
    "replayed": lambda chain, good: [*good[:20], *good[:20], *good[20:], *good[:5], *good],
    "each twice": lambda chain, good: [one for g in good for one in (g, g)],
    "gapped": lambda chain, good: [g for place, g in enumerate(good) if place % 3],
    "without the first ones": lambda chain, good: good[25:],
    "huge": lambda chain, good: [*good[:9], (key_of(10), bytes(VALUE_BYTES_MAX + 1)), *good[9:]],
    "of another chain": lambda chain, good: [*good[:9], *foreign_messages(chain)],
    "of the far future": lambda chain, good: [*good[:9], (key_of(2**62), good[9][1]), *good[9:]],
    "of height nothing": lambda chain, good: [*good[:9], (bytes(8), good[9][1]), *good[9:]],
    "without a key": lambda chain, good: [*good[:9], (None, good[9][1]), *good[9:]],
    "without a value": lambda chain, good: [*good[:9], (good[9][0], None), *good[9:]],
    "of another height than they claim": lambda chain, good: [
        *good[:9],
        *((key_of(h), good[(h * 7) % BLOCKS][1]) for h in range(10, BLOCKS + 1)),
    ],
    "junk and nothing else": lambda chain, good: [(b"junk", b"junk")] * 100,
    "none": lambda chain, good: [],
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_messages_that_are_wrong_cost_time_and_no_block(
    chain: QuorumChain, topic: BlocksTopic, attack: str
) -> None:
    good: Messages = [(key_of(h), b.SerializeToString()) for h, b in enumerate(chain.proven, 1)]
    await topic.write(*ATTACKS[attack](chain, good))
    async with following(chain, topic) as service:
        await service.reaches(BLOCKS)


async def test_a_batch_that_is_packed_in_another_way_costs_a_detour_at_most(
    chain: QuorumChain, topic: BlocksTopic
) -> None:
    """What a transaction aborts stays in the topic, and places without a message behind it."""
    await topic.publish(chain.proven[:20])
    async with topic.producer(transactional_id=topic.name) as producer:
        for _ in range(3):
            await producer.begin_transaction()
            await producer.send_and_wait(topic.name, value=b"junk", key=b"junk", partition=0)
            await producer.abort_transaction()
    async with topic.producer(compression_type="gzip") as producer:
        for height in range(21, BLOCKS + 1):
            value = chain.proven[height - 1].SerializeToString()
            await producer.send_and_wait(topic.name, value=value, key=key_of(height), partition=0)
    for after in (0, 19, 20, 21):
        async with following(chain, topic, after=after) as service:
            await service.reaches(BLOCKS)


async def test_after_a_detour_the_topic_is_read_again(
    chain: QuorumChain, topic: BlocksTopic
) -> None:
    await topic.publish(chain.proven[:10])
    await topic.write((b"junk", b"junk"))
    await topic.publish(chain.proven[10:], 11)
    async with following(chain, topic, silence_seconds=DEADLINE) as service:
        await service.reaches(BLOCKS)
        assert service.ledger.gave == list(range(11, BLOCKS + 1))
        await eventually(lambda: counted("on_topic") == 1, seconds=DEADLINE)
        for _ in range(3):  # which the ledger is asked for in vain
            chain.decide([b"more"])
        service.ledger.open.clear()
        await topic.publish(chain.proven[BLOCKS:], BLOCKS + 1)
        await service.reaches(BLOCKS + 3)


async def test_a_topic_that_lies_again_and_again_is_left_for_longer_each_time(
    chain: QuorumChain, topic: BlocksTopic
) -> None:
    await topic.publish(chain.proven)
    patience = Patience(0.1, 1.0, 60.0)
    before = counted("detours_total", reason="no block")
    async with following(chain, topic, patience=patience, silence_seconds=DEADLINE) as service:
        await service.reaches(BLOCKS)
        loop = asyncio.get_running_loop()
        took: list[float] = []
        for number in range(1, 6):
            await eventually(lambda: counted("on_topic") == 1, seconds=DEADLINE)
            await topic.write((b"junk", b"junk"))
            lied = before + number
            await eventually(lambda: counted("detours_total", reason="no block") == lied)  # noqa: B023
            began = loop.time()
            await eventually(lambda: counted("on_topic") == 1, seconds=DEADLINE)
            took.append(loop.time() - began)
        assert took[0] < took[4]
        assert 0.9 < took[4] < 3.0  # 1.6 s without its bound, and the topic is opened again


async def test_a_topic_that_is_withheld_ends_in_a_detour(
    chain: QuorumChain, topic: BlocksTopic
) -> None:
    await topic.publish(chain.proven[:10])
    before = counted("detours_total", reason="silent")
    async with following(chain, topic) as service:
        await service.reaches(BLOCKS)
    assert counted("detours_total", reason="silent") == before + 1


async def test_a_topic_that_is_behind_is_not_waited_for(
    chain: QuorumChain, topic: BlocksTopic
) -> None:
    await topic.publish(chain.proven[:10])
    async with following(chain, topic, after=20, silence_seconds=DEADLINE) as service:
        await service.reaches(BLOCKS)
        assert service.ledger.gave == list(range(21, BLOCKS + 1))


async def test_a_topic_that_is_not_there_yet_is_waited_for(
    chain: QuorumChain, connection: KafkaConnection
) -> None:
    topic = topic_of(connection)
    with pytest.raises(KafkaAway, match="no such topic"):
        async with open_reader(connection, topic.name):
            pass
    async with following(chain, topic) as service:
        await service.reaches(BLOCKS)  # from the ledger, once the silence has lasted


async def test_a_fork_in_the_topic_ends_the_following(
    chain: QuorumChain, topic: BlocksTopic
) -> None:
    """Of a block that was accepted another one comes, which the same validators have signed."""
    twin = chain.fork()
    chain.decide([b"told to some"])
    chain.grow(2)
    twin.decide([b"told to others"])
    twin.grow(2)
    await topic.publish(chain.proven)

    async def see_both() -> None:
        async with following(chain, topic, silence_seconds=DEADLINE) as service:
            await service.reaches(len(chain.proven))
            await topic.publish(twin.proven[BLOCKS:], BLOCKS + 1)
            await asyncio.sleep(DEADLINE)  # cancelled when the follower ends

    with pytest.raises(ExceptionGroup) as ended:
        await see_both()
    assert ended.group_contains(ChainForked)


async def test_what_is_rejected_is_not_read_again(chain: QuorumChain, topic: BlocksTopic) -> None:
    """Whoever consumes says no by asking again: the same height then comes from the ledger."""
    bad = changed((key_of(1), chain.proven[0].SerializeToString()), forged_result)
    await topic.write(bad)
    ledger = Ledger(chain)
    feed = KafkaBlockFeed(lambda: open_reader(topic.connection, topic.name), ledger, 10, PATIENCE)

    async def first() -> pb.ProvenBlock:
        async with aclosing(feed.blocks_from(1)) as blocks:
            return await anext(blocks)

    async with asyncio.timeout(DEADLINE):
        assert (await first()).SerializeToString() == bad[1]
        assert await first() == chain.proven[0]
    assert ledger.gave == [1]
