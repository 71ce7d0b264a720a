"""Streams that never end are opened again when their connection has had its time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpc import aio

from cipherward.chain.v1 import block_pb2
from cipherward.compute.v1 import compute_service_pb2 as compute_pb
from cipherward.compute.v1.compute_service_pb2_grpc import (
    ComputeServiceServicer,
    add_ComputeServiceServicer_to_server,
)
from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward.ledger.v1.ledger_service_pb2_grpc import (
    LedgerServiceServicer,
    add_LedgerServiceServicer_to_server,
)
from cipherward_chain.feed import GrpcBlockFeed
from cipherward_chain.testing import TestKeys, make_genesis
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.studies import watch_study
from cipherward_kit.connection_age import ConnectionAge
from cipherward_kit.testing import TestAlliance, serve_in_process

MEMBER = "hospital-a"
AGE = ConnectionAge(seconds=0.1, grace_seconds=0.1)
STEP_SECONDS = 0.05  # several in the life of one connection
STREAMS = 3  # opened one after the other, so that two were cut
DEADLINE_SECONDS = 20.0


class EndlessLedger(LedgerServiceServicer):
    """Streams blocks that have nothing but a number, from the height that is asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def StreamBlocks(
        self, request: ledger_pb.StreamBlocksRequest, context: Any
    ) -> AsyncIterator[ledger_pb.StreamBlocksResponse]:
        self.asked.append(request.from_height)
        height = request.from_height
        while True:
            block = block_pb2.ProvenBlock(header=str(height).encode())
            yield ledger_pb.StreamBlocksResponse(block=block)
            height += 1
            await asyncio.sleep(STEP_SECONDS)


class SlowCompute(ComputeServiceServicer):
    """Has one study, which ends when it has been watched by `STREAMS` streams."""

    def __init__(self) -> None:
        self.watched = 0
        self.steps = 0

    async def WatchStudy(
        self, request: compute_pb.WatchStudyRequest, context: Any
    ) -> AsyncIterator[compute_pb.WatchStudyResponse]:
        self.watched += 1
        while True:
            self.steps += 1
            study = compute_pb.Study(steps_done=self.steps, ended=self.watched == STREAMS)
            yield compute_pb.WatchStudyResponse(study=study)
            await asyncio.sleep(STEP_SECONDS)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> TestAlliance:
    return TestAlliance(tmp_path_factory.mktemp("members"))


@pytest.fixture(scope="module")
def keys(members: TestAlliance) -> TestKeys:
    certificates = {m: ca.certificate_pem.decode() for m, ca in members.authorities.items()}
    return make_genesis(ca_certificates=certificates)[1]


@asynccontextmanager
async def connected(
    members: TestAlliance,
    keys: TestKeys,
    folder: Path,
    service: str,
    register: Callable[[aio.Server], None],
) -> AsyncGenerator[Alliance]:
    """Serve one service whose connections end soon; yield its member's connection to it."""
    document = json.loads(keys.document)
    async with serve_in_process(
        register,
        domain=f"{service}.cipherward",
        alliance=members,
        service=service,
        member=MEMBER,
        age=AGE,
    ) as served:
        places = {service: {"listen": f"127.0.0.1:{served.ports.listen}"}}
        if service != "ledger":
            places["ledger"] = {"listen": "127.0.0.1:9"}
        endpoints = {
            "chain_id": document["chain_id"],
            "ledger_member": MEMBER,
            "endpoints": {MEMBER: places},
        }
        genesis_file, endpoints_file = folder / "genesis.json", folder / "alliance.json"
        genesis_file.write_bytes(keys.document)
        endpoints_file.write_text(json.dumps(endpoints))
        identity = members.identity(MEMBER, "client")
        opened = Alliance.open(endpoints_file, genesis_file, member_identity=identity)
        async with opened as alliance:
            yield alliance


@pytest.mark.slow
async def test_a_feed_of_blocks_loses_and_repeats_none(
    members: TestAlliance, keys: TestKeys, tmp_path: Path
) -> None:
    ledger = EndlessLedger()  # pyright: ignore[reportAbstractUsage] - nobody asks for more
    heights: list[int] = []
    async with (
        connected(
            members,
            keys,
            tmp_path,
            "ledger",
            lambda server: add_LedgerServiceServicer_to_server(ledger, server),
        ) as alliance,
        asyncio.timeout(DEADLINE_SECONDS),
    ):
        feed = GrpcBlockFeed(alliance.channel(MEMBER, "ledger"), DEADLINE_SECONDS)
        async with aclosing(feed.blocks_from(1)) as blocks:
            async for block in blocks:
                heights.append(int(block.header))
                if len(ledger.asked) == STREAMS:
                    break
    assert heights == list(range(1, len(heights) + 1))
    assert ledger.asked[-1] > 1


@pytest.mark.slow
async def test_a_study_is_watched_to_its_end(
    members: TestAlliance, keys: TestKeys, tmp_path: Path
) -> None:
    compute = SlowCompute()  # pyright: ignore[reportAbstractUsage] - nobody asks for more
    async with (
        connected(
            members,
            keys,
            tmp_path,
            "compute",
            lambda server: add_ComputeServiceServicer_to_server(compute, server),
        ) as alliance,
        asyncio.timeout(DEADLINE_SECONDS),
    ):
        hospital = Hospital.of(alliance, keys.member_seeds[MEMBER])
        seen = [progress async for progress in watch_study(alliance, hospital, bytes(32))]
    assert compute.watched == STREAMS
    assert seen[-1].ended
    assert [one.steps_done for one in seen] == sorted(one.steps_done for one in seen)
