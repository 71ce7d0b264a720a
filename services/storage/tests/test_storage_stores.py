"""Which store is used, and what happens while it is away; most of it needs no server."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from grpc import aio
from pydantic import ValidationError

from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward_kit.errors import reason_of
from cipherward_kit.testing import eventually
from cipherward_storage.config import MONGO_RECORD_BYTES_MAX, StorageConfig
from cipherward_storage.errors import StoreAway, StoreUnusable
from cipherward_storage.instance import read_instance
from cipherward_storage.mongo.opening import open_mongo
from cipherward_storage.mongo.settings import MongoSettings
from cipherward_storage.place import StoreOwner
from cipherward_storage.records import PART_BYTES
from cipherward_storage.stores import STORE
from tests.servers.mongo import MongoServer, running_mongo
from tests.servers.need import need

if TYPE_CHECKING:
    from conftest import OpenWorld

    from cipherward_storage.testing import TestReader
    from cipherward_storage.testing_world import World

AWAY = ("UNAVAILABLE", "DEPENDENCY_AWAY")


async def refused(call: Any) -> tuple[str, str]:
    """Return code and reason of the refusal that `call` ends in."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, reason_of(caught.value)


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    uri_file = tmp_path / "mongo.uri"
    uri_file.write_text("mongodb://user:secret@db.example/\n")
    uri_file.chmod(0o600)
    for name in ("tls.pem", "tls.key"):
        (tmp_path / name).touch()
    return {
        "member": "hospital-a",
        "data_dir": tmp_path / "data",
        "genesis_file": tmp_path / "genesis.json",
        "endpoints_file": tmp_path / "alliance.json",
        "member_key_file": tmp_path / "member.key",
        "custodian_key_file": tmp_path / "custodian.key",
        "tls_certificate": tmp_path / "tls.pem",
        "tls_private_key": tmp_path / "tls.key",
        "store": "mongo",
        "mongo_uri_file": uri_file,
        "mongo_database": "hospital-a",
    }


def config_of(settings: dict[str, Any], **changes: Any) -> StorageConfig:
    values: dict[str, Any] = {**settings, **changes}
    return StorageConfig(**values)


def test_the_settings_lead_to_the_database(settings: dict[str, Any]) -> None:
    mongo = config_of(settings).mongo_settings()
    assert mongo is not None
    assert (mongo.uri, mongo.database) == ("mongodb://user:secret@db.example/", "hospital-a")
    assert "secret" not in repr(mongo)
    assert config_of(settings, store="embedded").mongo_settings() is None


@pytest.mark.parametrize(
    "changes",
    [
        {"mongo_uri_file": None},
        {"mongo_database": None},
        {"mongo_database": "With.Dots"},
        {"record_bytes_max": MONGO_RECORD_BYTES_MAX + 1},
    ],
)
def test_half_a_database_is_refused(settings: dict[str, Any], changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config_of(settings, **changes)


def test_the_file_of_the_connection_string_is_its_owners_alone(settings: dict[str, Any]) -> None:
    config = config_of(settings)
    path: Path = settings["mongo_uri_file"]
    path.chmod(0o640)
    with pytest.raises(StoreUnusable, match="chmod 600"):
        config.mongo_settings()
    path.chmod(0o600)
    path.write_bytes(b"x" * 100_000)
    with pytest.raises(StoreUnusable, match="too long"):
        config.mongo_settings()
    path.unlink()
    with pytest.raises(StoreUnusable, match="cannot be read"):
        config.mongo_settings()


def test_production_refuses_one_disk_and_an_open_line(settings: dict[str, Any]) -> None:
    settings["mongo_uri_file"].write_text("mongodb://db.example/")
    faults = config_of(settings).faults()
    assert any(fault.startswith("mongo_ca_file: ") for fault in faults)
    assert any(fault.startswith("mongo_uri_file: has no account") for fault in faults)
    embedded = config_of(settings, store="embedded").faults()
    assert any(fault.startswith("store: embedded") for fault in embedded)
    settings["mongo_uri_file"].write_text("mongodb://user:secret@db.example/")
    alone = config_of(settings, mongo_ca_file=settings["tls_certificate"]).faults()
    assert any(fault.startswith("slot_keys_folder: is missing") for fault in alone)
    settings["slot_keys_folder"] = settings["data_dir"] / "shared"
    whole = config_of(settings, mongo_ca_file=settings["tls_certificate"]).faults()
    assert not any(word in fault for fault in whole for word in ("mongo", "store", "slot_keys"))


@pytest.mark.parametrize("uri", ["", "http://user:secret@db.example/", "mongodb://u:p:q@[/"])
async def test_a_wrong_connection_string_is_refused_and_never_shown(uri: str) -> None:
    wrong = MongoSettings(uri, "d", None, None, 4, 0.2)
    with pytest.raises(StoreUnusable) as caught:
        async with open_mongo(wrong, StoreOwner("c", "m", b"g"), "a", 1, lambda: 0):
            pass
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_an_instance_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    name = read_instance(tmp_path)
    assert read_instance(tmp_path) == name
    assert read_instance(tmp_path / "other") != name


@pytest.fixture
def nobody() -> str:
    """The URI of a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return f"mongodb://127.0.0.1:{port}/?directConnection=true"


async def test_a_store_that_is_away_is_said_to_callers_and_in_health(
    open_world_over: Callable[..., OpenWorld], nobody: str
) -> None:
    mongo = MongoSettings(nobody, "d", None, None, 4, 0.1)
    async with unapplied(open_world_over(mongo)) as world:
        assert "does not answer" in world.readiness.missing()[STORE]
        record, request_id = world.record(1000), str(uuid.uuid4())
        request = pb.GetUploadRequest(request_id=request_id)
        found = await asyncio.gather(
            refused(world.put(record)),
            refused(world.stub.GetUpload(request, timeout=5)),
            refused(world.stub.ListRecords(pb.ListRecordsRequest(), timeout=5)),
        )
    assert set(found) == {AWAY}


@asynccontextmanager
async def unapplied(opened: OpenWorld) -> AsyncGenerator[World]:
    """Open a world whose store is away: no block is applied."""
    async with opened(applied=False) as world:
        await eventually(
            lambda: world.readiness.missing().get(STORE, "starting") != "starting",
            what="the first look at the store",
        )
        yield world


@pytest.mark.servers
@pytest.mark.slow
async def test_a_database_that_is_killed_loses_nothing_and_all_goes_on(
    open_world_over: Callable[..., OpenWorld], tmp_path: Path, reader: TestReader
) -> None:
    need("mongo")
    with running_mongo(tmp_path / "mongo") as server:
        mongo = MongoSettings(server.uri, "killed", None, None, 8, 0.5)
        async with open_world_over(mongo)() as world:
            stored = await world.stored()
            await use_through_a_kill(world, server, stored, reader)


async def use_through_a_kill(
    world: World, server: MongoServer, stored: Any, reader: TestReader
) -> None:
    await eventually(lambda: world.readiness.ready, what="the readiness")
    record, request_id = world.record(), str(uuid.uuid4())
    call = world.stub.PutRecord(timeout=60)
    await call.write(pb.PutRecordRequest(header=record.header(request_id)))
    parts = record.parts()
    await call.write(pb.PutRecordRequest(part=parts[0]))
    await eventually(lambda: arrived(world, 4 * PART_BYTES), what="the first part")
    server.kill()
    order = world.release_order(stored, reader)
    height = world.grow(orders=[order])
    for part in parts[1:]:
        await call.write(pb.PutRecordRequest(part=part))
    await call.done_writing()
    assert await refused(call) == AWAY
    assert await refused(world.key(stored, order, reader)) == AWAY
    await eventually(lambda: not world.readiness.ready, what="the health")
    assert world.progress.height < height

    server.start()
    await eventually(lambda: world.readiness.ready, seconds=30, what="the readiness")
    await world.applied(height)  # the block that could not be kept was tried again
    answer = await world.key(stored, order, reader)
    opened = reader.key_part(answer.sealed_part, world.keys, stored, order)
    assert opened == stored.key_part
    assert await world.ciphertext(stored, order, reader) == stored.ciphertext
    state = await world.stub.GetUpload(pb.GetUploadRequest(request_id=request_id), timeout=10)
    await world.put(record, request_id=request_id, offset=state.committed_bytes)
    (report,) = await world.reports(1)
    assert report.order.height == order.height


async def arrived(world: World, wanted: int) -> bool:
    return await world.bodies.stored_bytes() >= wanted


@pytest.mark.servers
@pytest.mark.slow
async def test_a_database_that_comes_late_is_waited_for(
    open_world_over: Callable[..., OpenWorld], tmp_path: Path
) -> None:
    need("mongo")
    with running_mongo(tmp_path / "mongo") as server:
        server.kill()
        mongo = MongoSettings(server.uri, "late", None, None, 8, 0.3)
        async with unapplied(open_world_over(mongo)) as world:
            height = world.grow(orders=[world.sharing_order()])
            record = world.record(1000)
            assert await refused(world.put(record)) == AWAY
            server.start()
            await eventually(lambda: world.readiness.ready, seconds=30, what="the readiness")
            await world.applied(height)
            await world.put(record)
            assert await world.bodies.only() == record.ciphertext


async def test_what_is_away_is_one_error_whatever_the_port(nobody: str) -> None:
    mongo = MongoSettings(nobody, "d", None, None, 4, 0.1)
    async with open_mongo(mongo, StoreOwner("c", "m", b"g"), "a", 1, lambda: 0) as stores:
        records, chain = stores.records, stores.chain
        # All at once: each waits until the driver has looked for a server in vain.
        found = await asyncio.gather(
            records.find(b"r" * 16),
            records.page(b"", 10),
            records.upload("x"),
            records.remove_expired(1, 1),
            anext(records.read(b"r" * 16, 0)),
            chain.checkpoint(),
            chain.reports.pending(1),
            stores.facts.erased(b"r" * 16),
            stores.shares.pending(0, 1, ()),
            stores.ceremonies.running(),
            return_exceptions=True,
        )
    assert {type(one) for one in found} == {StoreAway}
    # Nothing of the driver's is shown.
    assert all(isinstance(one, StoreAway) and one.__suppress_context__ for one in found)
