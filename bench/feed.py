"""The feed over a real Kafka: how late the last service is, and how fast a new one catches up.

Blocks are signed by four validators with real keys. For the delay the ledger's own recorder stores
them, its publisher sends them, and three followers (as many as a member has services that carry out
orders) verify them, all in this process: what counts is from the moment at which a block is proven
to its handler's call in the last of the three. For the catch-up one follower begins at height 0 of
a topic that has them all.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.results import Row, Spread, Target
from cipherward.chain.v1 import block_pb2 as pb
from cipherward_chain.follower import Follower
from cipherward_chain.genesis import Genesis
from cipherward_chain.light import LightClient, VerifiedBlock
from cipherward_chain.testing import TestKeys, make_genesis
from cipherward_ledger.publishing.config import PublishingConfig
from cipherward_ledger.publishing.publisher import Publisher
from cipherward_ledger.testing_chain import DecidedChain, Desk, open_desk
from cipherward_member.kafka_connection import KafkaConnection
from cipherward_member.kafka_feed import KafkaBlockFeed
from cipherward_member.kafka_reader import open_reader
from tests.servers.blocks_topic import BlocksTopic, topic_of
from tests.servers.kafka import running_kafka
from tests.servers.pins import missing

NAMES = DELAY, CATCH_UP = "feed-delay", "feed-catch-up"
SERVICES = 3  # identity, compute, storage
BLOCKS = 1_000  # of the catch-up; every other one has a transaction
RUNS = 5
LIVE_BLOCKS, LIVE_SECONDS = 200, 0.05  # of the delay, and between two of them
SILENCE_SECONDS = 60.0  # nothing may come from the ledger here
RUN_SECONDS = 120.0
TARGETS = Target(0.05, at_least=False), Target(500, at_least=True)


class LedgerAsked(Exception):
    """A follower left the topic: what is measured is not the topic's."""


class NoLedger:
    """Where the followers of a benchmark must not get their blocks."""

    async def blocks_from(self, height: int) -> AsyncGenerator[pb.ProvenBlock, None]:
        """Raise."""
        raise LedgerAsked(f"at height {height}")
        yield  # makes it a generator


@dataclass(slots=True)
class Service:
    """A follower, and when it was handed which block."""

    topic: BlocksTopic
    genesis: Genesis
    at: dict[int, float] = field(default_factory=dict[int, float])
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Follow the topic from height 0, for ever."""
        feed = KafkaBlockFeed(
            lambda: open_reader(self.topic.connection, self.topic.name), NoLedger(), SILENCE_SECONDS
        )
        await Follower(feed, LightClient(self.genesis.trust_root()), self._handle).run()

    async def _handle(self, block: VerifiedBlock) -> None:
        self.at[block.height] = time.perf_counter()
        self.moved.set()

    async def reach(self, height: int) -> float:
        """Return when block `height` was handed over."""
        while height not in self.at:
            self.moved.clear()
            await self.moved.wait()
        return self.at[height]


def measure() -> list[Row]:
    """Return both rows."""
    sentence = missing("kafka")
    if sentence is not None:
        raise SystemExit(f"the feed cannot be measured: {sentence}")
    with tempfile.TemporaryDirectory(prefix="cipherward-bench-") as made:
        folder = Path(made)
        with running_kafka(folder / "kafka") as server:
            connection = KafkaConnection((server.bootstrap,), "plaintext")
            return asyncio.run(_measure(folder, connection))


async def _measure(folder: Path, connection: KafkaConnection) -> list[Row]:
    # Now: the broker deletes what is older than the topic's retention, by block time.
    genesis, keys = make_genesis(members=4, engine="cometbft", time_ns=time.time_ns())
    topic = topic_of(connection)
    (folder / "ledger").mkdir()
    async with asyncio.timeout(RUN_SECONDS), open_desk(folder / "ledger", genesis) as desk:
        chain = await _chain(genesis, keys, desk)
        async with _running(Publisher(desk.proven, connection, topic.name, _config())):
            rates = [await _catch_up(topic, genesis) for _ in range(RUNS)]
            delays = await _delays(topic, chain, desk)
    return [
        Row(DELAY, statistics.median(delays), "s", Spread.deciles(delays, "blocks"), TARGETS[0]),
        Row(
            CATCH_UP,
            statistics.median(rates),
            "blocks/s",
            Spread.extremes(rates, "runs, 4 validators"),
            TARGETS[1],
        ),
    ]


def _config() -> PublishingConfig:
    """Return what the topic is made with: the defaults."""
    return PublishingConfig.model_construct(None)


@asynccontextmanager
async def _running(*work: Publisher | Service) -> AsyncGenerator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one.run()) for one in work]
        yield
        for task in tasks:
            task.cancel()


async def _chain(genesis: Genesis, keys: TestKeys, desk: Desk) -> DecidedChain:
    chain = DecidedChain(genesis, keys)
    for number in range(BLOCKS + 1):
        await desk.record(chain.decide([chain.transaction()] if number % 2 else []))
    return chain


async def _catch_up(topic: BlocksTopic, genesis: Genesis) -> float:
    """Return blocks verified a second, from the connection on."""
    service, began = Service(topic, genesis), time.perf_counter()
    async with _running(service):
        return BLOCKS / (await service.reach(BLOCKS) - began)


async def _delays(topic: BlocksTopic, chain: DecidedChain, desk: Desk) -> list[float]:
    services = [Service(topic, chain.genesis) for _ in range(SERVICES)]
    found: list[float] = []
    async with _running(*services):
        for service in services:
            await service.reach(BLOCKS)
        for _ in range(LIVE_BLOCKS):
            height = chain.blocks[-1].block.height + 1
            await desk.record(chain.decide([chain.transaction()]))
            await desk.record(chain.decide())  # its proof
            proven = time.perf_counter()
            found.append(max([await service.reach(height) for service in services]) - proven)
            await asyncio.sleep(LIVE_SECONDS)
    return found
