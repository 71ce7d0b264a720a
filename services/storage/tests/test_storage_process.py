"""The process itself: how it starts, refuses to start, is killed, and goes on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from grpc import aio

from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from cipherward_chain.checkpoint import Checkpoint
from cipherward_chain.testing import make_genesis
from cipherward_kit.channels import open_channel
from cipherward_kit.errors import reason_of
from cipherward_kit.testing import TestAlliance, eventually
from cipherward_member.alliance_files import read_endpoints
from cipherward_member.errors import (
    CheckpointUnusable,
    EndpointsUnusable,
    GenesisUnusable,
    KeyUnusable,
)
from cipherward_member.following import light_client
from cipherward_storage.config import StorageConfig
from cipherward_storage.mongo.settings import MongoSettings
from cipherward_storage.setup import read_custodian

if TYPE_CHECKING:
    from conftest import OpenWorld

    from cipherward_storage.testing_world import World

MEMBER = "hospital-a"


@dataclass
class Installation:
    """The files of one storage, and its process."""

    alliance: TestAlliance
    settings: dict[str, Any]
    process: asyncio.subprocess.Process | None = None
    ports: dict[str, int] = field(default_factory=dict[str, int])

    def keep_in(self, mongo: MongoSettings) -> None:
        """Let it keep its records there."""
        uri_file: Path = self.settings["data_dir"].with_name("mongo.uri")
        uri_file.write_text(mongo.uri)
        uri_file.chmod(0o600)
        self.settings |= {
            "store": "mongo",
            "mongo_uri_file": uri_file,
            "mongo_database": mongo.database,
        }

    async def start(self) -> None:
        ready: Path = self.settings["ready_file"]
        await asyncio.to_thread(ready.unlink, missing_ok=True)
        environment = {f"CIPHERWARD_{k.upper()}": str(v) for k, v in self.settings.items()}
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cipherward_storage",
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        process = self.process
        await eventually(
            lambda: ready.exists() or process.returncode is not None, seconds=30, what="the start"
        )
        if process.returncode is None:
            self.ports = json.loads(await asyncio.to_thread(ready.read_text))

    async def end(self, signum: int) -> tuple[int, str]:
        """Send a signal unless the process has ended; return exit status and stderr."""
        process, self.process = self.process, None
        assert process is not None
        if process.returncode is None:
            process.send_signal(signum)
        async with asyncio.timeout(20):
            _, stderr = await process.communicate()
        assert process.returncode is not None
        return process.returncode, stderr.decode()

    @asynccontextmanager
    async def stub(self) -> AsyncGenerator[StorageServiceStub]:
        async with open_channel(
            f"127.0.0.1:{self.ports['listen']}",
            identity=self.alliance.identity(MEMBER, "client"),
            registry=self.alliance.registry,
            peer_member=MEMBER,
            peer_service="storage",
        ) as channel:
            yield StorageServiceStub(channel)


def install(folder: Path, alliance: TestAlliance, ledger_port: int = 1) -> Installation:
    """Write all files of a storage of hospital-a."""
    folder.mkdir(parents=True, exist_ok=True)
    genesis, keys = make_genesis(
        ca_certificates={m: a.certificate_pem.decode() for m, a in alliance.authorities.items()},
    )
    settings = alliance.settings(MEMBER, "storage")
    settings |= {
        "data_dir": folder / "data",
        "genesis_file": folder / "genesis.json",
        "endpoints_file": folder / "alliance.json",
        "member_key_file": folder / "member.key",
        "custodian_key_file": folder / "custodian.key",
        "ready_file": folder / "ready.json",
        "parent_pid": os.getpid(),
    }
    endpoints = {
        "chain_id": genesis.chain_id,
        "ledger_member": MEMBER,
        "endpoints": {MEMBER: {"ledger": {"listen": f"127.0.0.1:{ledger_port}"}}},
    }
    settings["genesis_file"].write_bytes(keys.document)
    settings["endpoints_file"].write_text(json.dumps(endpoints))
    for name, secret in (
        ("member_key_file", keys.member_seeds[MEMBER]),
        ("custodian_key_file", keys.custodian_keys[MEMBER].secret_bytes()),
    ):
        settings[name].write_bytes(secret)
        settings[name].chmod(0o600)
    return Installation(alliance, settings)


@pytest.mark.slow
async def test_a_killed_storage_goes_on_with_the_upload_and_ends_cleanly_when_asked(
    open_world: OpenWorld, certificates: TestAlliance, tmp_path: Path
) -> None:
    async with open_world() as world:  # for its records: the process has the same keys
        installed = install(tmp_path / "process", certificates, world.ledger_served.ports.listen)
        bodies: Any = type(world.bodies)  # pyright: ignore[reportUnknownVariableType] - of two kinds
        if world.mongo is None:
            arrived = bodies(installed.settings["data_dir"]).stored_bytes
        else:
            own = replace(world.mongo, database=f"{world.mongo.database}-process")
            installed.keep_in(own)
            arrived = bodies(own).stored_bytes
        await installed.start()
        record, request_id = world.record(), str(uuid.uuid4())
        async with installed.stub() as stub:
            await eventually(lambda: knows_the_key(stub, world), what="the members' key")
            call = stub.PutRecord(timeout=30)
            await call.write(pb.PutRecordRequest(header=record.header(request_id)))
            for part in record.parts()[:2]:
                await call.write(pb.PutRecordRequest(part=part))
            await eventually(arrived, what="the first part")
            status, _ = await installed.end(signal.SIGKILL)
            assert status == -signal.SIGKILL
        await installed.start()
        async with installed.stub() as stub:
            kept = await committed(stub, request_id)
            await stub.PutRecord(messages(record, request_id, kept), timeout=30)
        status, _ = await installed.end(signal.SIGKILL)
        await installed.start()
        async with installed.stub() as stub:  # what was acknowledged is there
            request = pb.DescribeRecordRequest(record_id=record.id)
            described = (await stub.DescribeRecord(request, timeout=10)).record
            assert described.ciphertext_digest == record.anchor.ciphertext_digest
        status, stderr = await installed.end(signal.SIGTERM)
        assert (status, stderr) == (0, "")


async def knows_the_key(stub: StorageServiceStub, world: World) -> bool:
    """Tell whether the process has applied the block that brought the record key into force."""
    header = pb.PutRecordRequest(header=world.record(100).header(str(uuid.uuid4())))
    with pytest.raises(aio.AioRpcError) as caught:
        await stub.PutRecord(iter((header,)), timeout=10)
    return reason_of(caught.value) != "RECORD_KEY_UNKNOWN"


async def committed(stub: StorageServiceStub, request_id: str) -> int:
    """Return how much survived the kill."""
    listed = await stub.ListRecords(pb.ListRecordsRequest(), timeout=10)
    assert not listed.records  # half an upload is no record
    request = pb.GetUploadRequest(request_id=request_id)
    return (await stub.GetUpload(request, timeout=10)).committed_bytes


def messages(record: Any, request_id: str, offset: int) -> Any:
    """The messages of a whole upload from `offset` on."""
    yield pb.PutRecordRequest(header=record.header(request_id, offset))
    for part in record.parts(offset):
        yield pb.PutRecordRequest(part=part)


@pytest.mark.slow
async def test_a_process_that_cannot_start_says_why_in_one_line(
    certificates: TestAlliance, tmp_path: Path
) -> None:
    installed = install(tmp_path, certificates)
    installed.settings["custodian_key_file"].write_bytes(bytes(96))
    started = time.monotonic()
    await installed.start()
    status, stderr = await installed.end(signal.SIGKILL)
    assert status == KeyUnusable.exit_status
    assert len(stderr.strip().splitlines()) == 1
    assert "is not the custodian key of hospital-a" in stderr
    assert time.monotonic() - started < 20


def config_of(installed: Installation) -> StorageConfig:
    return StorageConfig(**installed.settings)


def test_every_file_is_checked_before_the_start(certificates: TestAlliance, tmp_path: Path) -> None:
    installed = install(tmp_path, certificates)
    config = config_of(installed)
    custodian = read_custodian(config)
    assert custodian.member == MEMBER
    chain_id = custodian.genesis.chain_id
    assert read_endpoints(config.endpoints_file, chain_id).ledger_member == MEMBER
    with pytest.raises(EndpointsUnusable, match="not another"):
        read_endpoints(config.endpoints_file, "another")
    for name, content, error in (
        ("member_key_file", bytes(32), KeyUnusable),
        ("member_key_file", bytes(31), KeyUnusable),
        ("custodian_key_file", bytes(95), KeyUnusable),
        ("genesis_file", b"{}", GenesisUnusable),
    ):
        path: Path = installed.settings[name]
        good = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(error):
            read_custodian(config)
        path.write_bytes(good)
    installed.settings["member_key_file"].chmod(0o644)
    with pytest.raises(KeyUnusable, match="chmod 600"):
        read_custodian(config)
    installed.settings["member_key_file"].unlink()
    with pytest.raises(KeyUnusable, match="cannot be read"):
        read_custodian(config)
    installed.settings["endpoints_file"].write_text("{}")
    with pytest.raises(EndpointsUnusable):
        read_endpoints(config.endpoints_file, chain_id)
    installed.settings["genesis_file"].unlink()
    with pytest.raises(GenesisUnusable, match="cannot be read"):
        read_custodian(config)


async def test_a_data_folder_goes_on_with_its_own_chain_only(open_world: OpenWorld) -> None:
    async with open_world() as world:
        checkpoint = stored_checkpoint(world)
        assert light_client(world.genesis, checkpoint).height > 0
        other, _ = make_genesis(members=5)
        with pytest.raises(CheckpointUnusable):
            light_client(other, checkpoint)
        with pytest.raises(CheckpointUnusable):
            light_client(world.genesis, checkpoint[:-1])


def stored_checkpoint(world: World) -> bytes:
    """Verify the chain's blocks as storage did, and return where that ends."""
    client = world.chain.light_client()
    for block in world.chain.blocks:
        client.accept(block)
    assert isinstance(client.checkpoint, Checkpoint)
    return client.checkpoint.to_bytes()


async def test_health_follows_the_chain(open_world: OpenWorld) -> None:
    async with open_world() as world:
        await eventually(lambda: world.readiness.ready, what="the readiness")
        world.clock.advance(world.genesis.parameters.fresh_seconds + 1)
        await eventually(lambda: not world.readiness.ready, what="the silence")
        await world.block()
        await eventually(lambda: world.readiness.ready, what="the readiness")
