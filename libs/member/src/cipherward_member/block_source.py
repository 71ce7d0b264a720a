"""Where a member's service gets its blocks, as its settings say: the ledger's stream, or Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from grpc import aio

from cipherward.chain.v1 import block_pb2 as pb
from cipherward_chain.endpoints import Endpoints
from cipherward_chain.feed import BlockFeed, GrpcBlockFeed, ignored
from cipherward_chain.genesis import Genesis
from cipherward_chain.root_file import RootFile
from cipherward_member.beginning import read_trust_root
from cipherward_member.config import KafkaConfig
from cipherward_member.kafka_topic import topic_name
from cipherward_member.traced_blocks import TracedBlocks

# Is told of blocks that a feed steps over, and raises if they prove a fork: `Follower.stray`.
Stray: TypeAlias = Callable[[pb.ProvenBlock], None]


def _unwatched(_stray: Stray) -> None:
    """A stream steps over nothing."""


@dataclass(frozen=True, slots=True)
class BlockSource:
    """A feed of proven blocks, and the channel to the ledger behind it.

    channel: None where the feed itself has every block there is.
    watched_by: takes the follower's `stray`, for a feed that may hold other blocks than wanted.
    root: what is believed instead of the genesis by who begins without a place of its own.
    traces: those that the feed gives beside blocks.
    """

    feed: BlockFeed
    channel: aio.Channel | None = None
    watched_by: Callable[[Stray], None] = _unwatched
    root: RootFile | None = None
    traces: TracedBlocks = field(default_factory=TracedBlocks)


async def open_block_source(
    config: KafkaConfig, endpoints: Endpoints, genesis: Genesis, channel: aio.Channel
) -> BlockSource:
    """Return the source that `config.feed` names; it connects when it is followed.

    Args:
        config: which feed, and how Kafka is reached.
        endpoints: say whose topic is followed: that of the member whose ledger it uses.
        genesis: names the chain, and has its heartbeat.
        channel: to that ledger, as `open_ledger` returns it; the caller closes it.

    Raises:
        KafkaUnusable: a file that the settings name for Kafka cannot be used.
        TrustUnusable: the trust root that they name cannot be used.
    """
    root = None
    if config.trust_root_file is not None:
        root = await asyncio.to_thread(read_trust_root, config.trust_root_file, genesis)
    parameters = genesis.parameters
    home = endpoints.home(config.member)
    traces = TracedBlocks()
    traced = traces.told if home == config.member else ignored  # another member's are not ours
    stream = GrpcBlockFeed(channel, parameters.fresh_seconds, traced=traced)
    if config.feed == "grpc":
        return BlockSource(stream, channel, root=root, traces=traces)
    # Only here: the library takes 5 MB and 0.1 s of every process that imports it.
    from cipherward_member.kafka_connection import KafkaConnection
    from cipherward_member.kafka_feed import KafkaBlockFeed
    from cipherward_member.kafka_reader import open_reader

    connection = await asyncio.to_thread(KafkaConnection.read, config)
    topic = topic_name(genesis.chain_id, home)
    # A heartbeat more than the silence that ends rights.
    silence_seconds = parameters.fresh_seconds + parameters.heartbeat_seconds
    feed = KafkaBlockFeed(
        lambda: open_reader(connection, topic), stream, silence_seconds, traced=traced
    )
    return BlockSource(feed, channel, feed.watched_by, root, traces)
