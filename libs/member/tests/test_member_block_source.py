"""The setting `FEED` decides where blocks come from; whose, the endpoints do."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from grpc import aio

from cipherward_chain.endpoints import Endpoints
from cipherward_chain.feed import GrpcBlockFeed
from cipherward_chain.root_file import RootFile
from cipherward_chain.testing import TestChain, make_genesis
from cipherward_kit.testing import TestAlliance
from cipherward_member.block_source import open_block_source
from cipherward_member.config import KafkaConfig
from cipherward_member.errors import TrustUnusable
from cipherward_member.kafka_connection import KafkaConnection, KafkaUnusable
from tests.servers.blocks_topic import make_topic
from tests.servers.kafka import KafkaServer

GENESIS, KEYS = make_genesis()
MEMBER = "hospital-b"
ADDRESS = {"listen": "127.0.0.1:9"}


def endpoints(*members_with_ledgers: str) -> Endpoints:
    services = {member: {"ledger": ADDRESS} for member in members_with_ledgers}
    document = {
        "chain_id": GENESIS.chain_id,
        "ledger_member": "hospital-a",
        "endpoints": {MEMBER: {"storage": ADDRESS}, **services},
    }
    return Endpoints.parse(json.dumps(document).encode())


def config(folder: Path, **given: Any) -> KafkaConfig:
    settings = TestAlliance(folder, [MEMBER]).settings(MEMBER, "storage")
    return KafkaConfig(**{**settings, **given})


async def test_the_embedded_feed_is_the_ledgers_stream(tmp_path: Path) -> None:
    settings = await asyncio.to_thread(config, tmp_path)
    async with aio.insecure_channel("127.0.0.1:9") as channel:
        source = await open_block_source(settings, endpoints("hospital-a"), GENESIS, channel)
    assert isinstance(source.feed, GrpcBlockFeed)
    assert source.channel is channel


async def test_a_file_for_kafka_that_cannot_be_used_is_noticed_at_once(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "feed": "kafka",
        "kafka_bootstrap": "127.0.0.1:9",
        "kafka_security": "ssl",
        "kafka_ca_file": tmp_path / "missing",
    }
    settings = await asyncio.to_thread(config, tmp_path, **given)
    async with aio.insecure_channel("127.0.0.1:9") as channel:
        with pytest.raises(KafkaUnusable):
            await open_block_source(settings, endpoints("hospital-a"), GENESIS, channel)


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.parametrize("ledgers", [["hospital-a"], ["hospital-a", MEMBER]])
async def test_a_service_reads_the_topic_of_the_ledger_that_it_uses(
    tmp_path: Path, kafka: KafkaServer, ledgers: list[str]
) -> None:
    """Under solo that is the alliance's only one, with consensus its own member's."""
    chain = TestChain(GENESIS, KEYS)
    chain.append([b"a transaction"])
    connection = KafkaConnection((kafka.bootstrap,), "plaintext")
    name = f"cipherward.{GENESIS.chain_id}.{ledgers[-1]}.blocks"
    await (await make_topic(connection, name)).publish(chain.blocks)
    given = {"feed": "kafka", "kafka_bootstrap": kafka.bootstrap}
    settings = await asyncio.to_thread(config, tmp_path, **given)
    async with aio.insecure_channel("127.0.0.1:9") as channel:
        source = await open_block_source(settings, endpoints(*ledgers), GENESIS, channel)
        async with asyncio.timeout(30), aclosing(source.feed.blocks_from(1)) as blocks:
            assert await anext(blocks) == chain.blocks[0]


async def test_a_root_file_of_the_settings_is_what_a_beginning_believes(tmp_path: Path) -> None:
    file = tmp_path / "root.json"
    file.write_bytes(RootFile.of_genesis(GENESIS).to_bytes())
    async with aio.insecure_channel("127.0.0.1:1") as channel:
        for settings, root in (
            (config(tmp_path, trust_root_file=file), RootFile.of_genesis(GENESIS)),
            (config(tmp_path), None),
        ):
            source = await open_block_source(settings, endpoints("hospital-a"), GENESIS, channel)
            assert source.root == root
        file.write_bytes(RootFile.of_genesis(make_genesis(members=5)[0]).to_bytes())
        with pytest.raises(TrustUnusable, match="another genesis"):
            await open_block_source(
                config(tmp_path, trust_root_file=file), endpoints("hospital-a"), GENESIS, channel
            )
