"""The service as a process: it starts, serves, drains, and refuses to start with one clear line."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from grpc import aio

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward_chain.testing import make_genesis
from cipherward_chain.wire import NANOS
from cipherward_contract.testing import shipped_documents
from cipherward_kit.channels import open_channel
from cipherward_kit.testing import MEMBERS, TestAlliance, eventually

START_SECONDS = 30.0


class Process:
    """A contract service of hospital-a, started with settings in its environment."""

    def __init__(self, folder: Path, document: bytes | None = None, **more: str | int) -> None:
        self.alliance = TestAlliance(folder)
        certificates = {m: a.certificate_pem.decode() for m, a in self.alliance.authorities.items()}
        _, keys = make_genesis(templates=shipped_documents(), ca_certificates=certificates)
        self.document = keys.document if document is None else document
        (folder / "genesis.json").write_bytes(self.document)
        self.ready = folder / "ready.json"
        settings = self.alliance.settings(MEMBERS[0], "contract") | {"ready_file": self.ready}
        settings |= more
        self.environment = {
            **os.environ,
            **{f"CIPHERWARD_{name.upper()}": str(value) for name, value in settings.items()},
        }

    def start(self) -> subprocess.Popen[str]:
        self.ready.unlink(missing_ok=True)
        return subprocess.Popen(
            [sys.executable, "-m", "cipherward_contract"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    async def channel(self) -> aio.Channel:
        await eventually(self.ready.exists, seconds=START_SECONDS, what="the ready file")
        port = json.loads(self.ready.read_text())["listen"]
        return open_channel(
            f"127.0.0.1:{port}",
            identity=self.alliance.identity(MEMBERS[0], "ledger"),
            registry=self.alliance.registry,
            peer_member=MEMBERS[0],
            peer_service="contract",
        )


@pytest.mark.slow
async def test_a_killed_service_goes_on_where_it_had_committed(tmp_path: Path) -> None:
    process = Process(tmp_path)
    running = process.start()
    try:
        channel = await process.channel()
        stub = ContractServiceStub(channel)
        await stub.InitChain(pb.InitChainRequest(genesis=process.document), timeout=10)
        now = time.time_ns() // NANOS
        for height in (1, 2):
            block = pb.ExecuteBlockRequest(height=height)
            block.time.seconds = now + height
            await stub.ExecuteBlock(block, timeout=10)
            if height == 1:
                await stub.Commit(pb.CommitRequest(height=1), timeout=10)
        before = await stub.GetCommitted(pb.GetCommittedRequest(), timeout=10)
        await channel.close()
    finally:
        running.kill()
        running.communicate(timeout=10)
    running = process.start()
    try:
        channel = await process.channel()
        stub = ContractServiceStub(channel)
        assert await stub.GetCommitted(pb.GetCommittedRequest(), timeout=10) == before
        assert before.height == 1
        await channel.close()
        running.send_signal(signal.SIGTERM)
        _, errors = running.communicate(timeout=20)
        assert running.returncode == 0, errors
    finally:
        running.kill()
        running.communicate(timeout=10)


async def snapshot_heights(stub: ContractServiceStub) -> list[int]:
    listed = await stub.ListSnapshots(pb.ListSnapshotsRequest(), timeout=10)
    return [one.height for one in listed.snapshots]


async def commit_empty(stub: ContractServiceStub, height: int) -> None:
    block = pb.ExecuteBlockRequest(height=height)
    block.time.seconds = time.time_ns() // NANOS + height
    await stub.ExecuteBlock(block, timeout=10)
    await stub.Commit(pb.CommitRequest(height=height), timeout=10)


@pytest.mark.slow
async def test_a_service_makes_the_snapshots_that_its_settings_ask_for(tmp_path: Path) -> None:
    process = Process(tmp_path, snapshot_blocks=2, machine_version_max=1)
    running = process.start()
    try:
        channel = await process.channel()
        stub = ContractServiceStub(channel)
        await stub.InitChain(pb.InitChainRequest(genesis=process.document), timeout=10)
        made: set[int] = set()
        async with asyncio.timeout(START_SECONDS):
            height = 0
            while len(made) < 2:  # one that falls due while another is being written is left out
                height += 1
                await commit_empty(stub, height)
                made.update(await snapshot_heights(stub))
        assert all(one % 2 == 0 for one in made)
        await channel.close()
        running.send_signal(signal.SIGTERM)
        _, errors = running.communicate(timeout=20)
        assert running.returncode == 0, errors
    finally:
        running.kill()
        running.communicate(timeout=10)


@pytest.mark.slow
def test_a_genesis_file_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    process = Process(tmp_path, b"{}")
    ran = process.start()
    _, errors = ran.communicate(timeout=START_SECONDS)
    assert ran.returncode == 11
    lines = [line for line in errors.splitlines() if line.startswith("cipherward contract:")]
    assert len(lines) == 1
    assert "genesis.json is refused" in lines[0]
    assert "Traceback" not in errors
