"""The ledger's blocks in a real topic: each once and in order, whatever Kafka does meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from prometheus_client import REGISTRY

from cipherward.chain.v1 import block_pb2 as pb
from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward_chain.follower import Follower
from cipherward_chain.light import LightClient, VerifiedBlock
from cipherward_chain.testing import make_genesis
from cipherward_kit import tracing
from cipherward_kit.testing import eventually
from cipherward_kit.tracing import SpanContext
from cipherward_ledger.pruning import Retention
from cipherward_ledger.publishing.config import PublishingConfig
from cipherward_ledger.publishing.publisher import Publisher, open_publisher
from cipherward_ledger.testing_chain import DecidedChain, Desk, open_desk
from cipherward_ledger.traces import TransactionTraces
from cipherward_member.kafka_connection import KafkaConnection
from cipherward_member.kafka_feed import KafkaBlockFeed, Patience
from cipherward_member.kafka_reader import open_reader
from cipherward_member.kafka_topic import Message, key_of
from tests.servers import collector as otlp
from tests.servers.blocks_topic import BlocksTopic, make_topic, topic_of
from tests.servers.kafka import KafkaServer, running_kafka
from tests.servers.need import need

pytestmark = [pytest.mark.servers, pytest.mark.slow]

# Now: the broker deletes what is older than the topic's retention, by block time.
GENESIS, KEYS = make_genesis(members=4, engine="cometbft", time_ns=time.time_ns())
DEADLINE = 40.0
SILENCE_SECONDS = 3.0
PATIENCE = Patience(detour_seconds=1.0, detour_seconds_max=4.0, credit_seconds=60.0)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    need("kafka")
    with running_kafka(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture
def topic(kafka: KafkaServer) -> BlocksTopic:
    """A topic that nobody has made."""
    return topic_of(KafkaConnection((kafka.bootstrap,), "plaintext"))


@dataclass
class World:
    """A chain, the ledger that records it, and its topic."""

    chain: DecidedChain
    desk: Desk
    topic: BlocksTopic

    async def grow(self, blocks: int) -> None:
        """Decide and record blocks; every other one has a transaction."""
        for number in range(blocks):
            transactions = [self.chain.transaction()] if number % 2 else []
            await self.desk.record(self.chain.decide(transactions))

    @property
    def proven(self) -> int:
        return self.desk.proven.tip.position.proven_height

    @asynccontextmanager
    async def publishing(self, **settings: Any) -> AsyncGenerator[None]:
        config = PublishingConfig.model_construct(None, **settings)
        publisher = Publisher(self.desk.proven, self.topic.connection, self.topic.name, config)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(publisher.run())
            yield
            running.cancel()

    async def messages(self) -> list[Message]:
        """Return everything in the topic."""
        async with open_reader(self.topic.connection, self.topic.name) as reader:
            place, end = await reader.bounds()
            found: list[Message] = []
            while place < end:
                found += await reader.read_at(place, 1_000)
                place = found[-1].offset + 1
        return found

    async def heights(self) -> list[int | None]:
        return [message.height for message in await self.messages()]

    async def is_published(self) -> None:
        """Return when the topic has every proven block, as the ledger's own metric says."""
        await eventually(
            lambda: metric("cipherward_ledger_feed_height") == self.proven, seconds=DEADLINE
        )


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def world(tmp_path: Path, topic: BlocksTopic) -> AsyncGenerator[World]:
    async with open_desk(tmp_path, GENESIS) as desk:
        world = World(DecidedChain(GENESIS, KEYS), desk, topic)
        await world.grow(21)
        yield world


async def test_every_proven_block_is_published_once_and_new_ones_follow(world: World) -> None:
    async with world.publishing():
        await world.is_published()
        await world.grow(5)
        await world.is_published()
    messages = await world.messages()
    assert [message.height for message in messages] == list(range(1, 26))
    client = LightClient(GENESIS.trust_root())
    for message in messages:
        client.accept(pb.ProvenBlock.FromString(message.value))
    assert client.height == 25


async def test_a_publisher_goes_on_where_the_topic_ends(world: World) -> None:
    for _ in range(3):
        async with world.publishing():
            await world.is_published()
        await world.grow(4)
    assert await world.heights() == list(range(1, 29))


async def test_junk_at_the_end_is_stepped_over_and_counted(world: World) -> None:
    """What counts is the newest message that is our own block; the rest may be anything."""
    async with world.publishing():
        await world.is_published()
    own = await world.messages()
    forged = pb.ProvenBlock.FromString(own[9].value)
    forged.header = pb.ProvenBlock.FromString(own[8].value).header
    junk: list[tuple[bytes | None, bytes | None]] = [
        (b"junk", b"junk"),
        (None, b"junk"),
        (key_of(20), forged.SerializeToString()),  # no block of ours
        (key_of(2**60), own[9].value),  # of a height that there is not
        (own[3].key, own[3].value),  # ours, and old
    ]
    await world.topic.write(*junk * 100)  # more than is looked at together
    before = metric("cipherward_ledger_feed_foreign_messages_total")
    await world.grow(3)
    async with world.publishing():
        await world.is_published()
    assert metric("cipherward_ledger_feed_foreign_messages_total") - before > 100
    published = await world.heights()
    assert published[-3:] == [21, 22, 23]
    assert published[20 + 500 :] in ([21, 22, 23], list(range(5, 24)))


async def test_the_topic_is_made_as_the_settings_say(world: World) -> None:
    async with world.publishing(kafka_compression="gzip", kafka_retention_hours=48):
        await world.is_published()
    admin: Any = AIOKafkaAdminClient(**world.topic.connection.arguments())
    await admin.start()
    try:
        resource = ConfigResource(ConfigResourceType.TOPIC, world.topic.name)
        answers = await admin.describe_configs([resource])
    finally:
        await admin.close()
    found = {entry[0]: entry[1] for entry in answers[0].resources[0][4]}
    assert found["compression.type"] == "gzip"
    assert found["retention.ms"] == str(48 * 3_600_000)
    assert found["max.message.bytes"] == str(8 * 1024 * 1024 + 64 * 1024)
    assert found["min.insync.replicas"] == "1"
    assert await world.heights() == list(range(1, 21))


async def test_a_block_that_the_topic_does_not_take_is_left_out(world: World) -> None:
    """Somebody made the topic before, for small messages: followers see a gap there."""
    narrow = await make_topic(world.topic.connection, **{"max.message.bytes": "3000"})
    world.topic = narrow
    await world.desk.record(world.chain.decide([world.chain.transaction() for _ in range(20)]))
    await world.grow(2)
    before = metric("cipherward_ledger_feed_refused_blocks_total")
    async with world.publishing():
        await world.is_published()
    assert metric("cipherward_ledger_feed_refused_blocks_total") == before + 1
    assert await world.heights() == [height for height in range(1, 24) if height != 22]


async def test_a_block_that_no_message_holds_is_left_out_and_those_after_it_follow(
    world: World,
) -> None:
    await world.desk.record(world.chain.decide([bytes(9 * 1024 * 1024)]))
    await world.grow(3)
    before = metric("cipherward_ledger_feed_refused_blocks_total")
    async with world.publishing():
        await world.is_published()
    assert metric("cipherward_ledger_feed_refused_blocks_total") == before + 1
    assert await world.heights() == [height for height in range(1, 25) if height != 22]


async def test_a_ledger_that_prunes_publishes_what_it_keeps(
    tmp_path: Path, topic: BlocksTopic
) -> None:
    async with open_desk(tmp_path, GENESIS, Retention(2, 1)) as desk:
        world = World(DecidedChain(GENESIS, KEYS), desk, topic)
        await world.grow(40)
        first = desk.recorder.first_height
        assert first > 20
        async with world.publishing():
            await world.is_published()
        assert await world.heights() == list(range(first, 40))


@dataclass
class Consumer:
    """A service that follows the topic and keeps its place as it keeps its effects."""

    world: World
    effects: list[int]

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        feed = KafkaBlockFeed(
            lambda: open_reader(self.world.topic.connection, self.world.topic.name),
            self,
            SILENCE_SECONDS,
            PATIENCE,
        )
        client = LightClient(GENESIS.trust_root())
        for height in self.effects:  # the stored place
            client.accept(await self.world.desk.proven.get(height))
        follower = Follower(feed, client, self._handle)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(follower.run())
            yield
            task.cancel()

    async def _handle(self, block: VerifiedBlock) -> None:
        self.effects.append(block.height)

    async def blocks_from(self, height: int) -> AsyncGenerator[pb.ProvenBlock, None]:
        """The ledger's stream, as it is asked on a detour."""
        while True:
            await self.world.desk.proven.tip.proven(height)
            yield await self.world.desk.proven.get(height)
            height += 1

    async def is_even(self) -> None:
        """Return when everything proven was carried out; each block was, once and in order."""
        await eventually(lambda: self.effects[-1:] == [self.world.proven], seconds=DEADLINE)
        assert self.effects == list(range(1, self.world.proven + 1))


async def test_a_broker_killed_in_the_middle_loses_no_block_and_repeats_no_effect(
    world: World, tmp_path: Path
) -> None:
    """The chain goes on, the topic lags and says so; when the broker is back, all are even."""
    with running_kafka(tmp_path / "killed") as server:
        world.topic = topic_of(KafkaConnection((server.bootstrap,), "plaintext"))
        consumer = Consumer(world, [])
        async with world.publishing(), consumer.running():
            await consumer.is_even()
            await world.grow(5)
            await asyncio.to_thread(server.kill)
            await world.grow(20)
            assert metric("cipherward_ledger_feed_lag_blocks") >= 20
            await eventually(
                lambda: metric("cipherward_ledger_feed_connected") == 0, seconds=DEADLINE
            )
            await asyncio.to_thread(server.start)
            await consumer.is_even()
            await world.is_published()
            assert metric("cipherward_ledger_feed_lag_blocks") == 0
        published = await world.heights()
        assert set(published) == set(range(1, world.proven + 1))


async def test_a_consumer_that_is_killed_goes_on_behind_its_last_effect(world: World) -> None:
    consumer = Consumer(world, [])
    async with world.publishing():
        for _ in range(3):
            async with consumer.running():
                await consumer.is_even()
            await world.grow(7)


async def test_without_the_feed_kafka_nothing_is_published(world: World) -> None:
    config = PublishingConfig.model_construct(feed="grpc")
    assert await open_publisher(config, GENESIS.chain_id, world.desk.proven) is None


async def test_a_trace_stands_in_a_messages_header_and_reaches_who_follows(world: World) -> None:
    transaction = world.chain.transaction()
    async with otlp.recording("ledger", "hospital-a"):
        traces = world.desk.proven.traces = TransactionTraces("hospital-a", in_topic=True)
        with tracing.within(SpanContext(0xA1, 0xB2, sampled=True)):
            traces.admitted(hashlib.sha256(transaction).digest(), 0)
        await world.desk.record(world.chain.decide([transaction]))
        await world.grow(1)
        async with world.publishing():
            await world.is_published()
    (message,) = [one for one in await world.messages() if one.traces]
    beside = ledger_pb.BlockTraces.FromString(message.traces)
    (named,) = [SpanContext.from_traceparent(one.traceparent) for one in beside.traces]
    assert named is not None
    assert named.trace_id == 0xA1
    assert pb.ProvenBlock.FromString(message.value) == await world.desk.proven.get(22)
    told: dict[int, ledger_pb.BlockTraces] = {}
    feed = KafkaBlockFeed(
        lambda: open_reader(world.topic.connection, world.topic.name),
        Consumer(world, []),
        SILENCE_SECONDS,
        PATIENCE,
        traced=told.__setitem__,
    )
    async with asyncio.timeout(DEADLINE), aclosing(feed.blocks_from(22)) as blocks:
        assert (await anext(blocks)).transactions == [transaction]
    assert told == {22: beside}
