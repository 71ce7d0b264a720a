"""A storage of hospital-a between real sockets, over SQLite and over MongoDB."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from gridfs import GridFSBucket
from pymongo import MongoClient
from pymongo.database import Database

from cipherward_kit.testing import TestAlliance, eventually, promises_last
from cipherward_storage.assembly import SLOT_KEYS, SlotKeeping
from cipherward_storage.mongo.opening import open_mongo
from cipherward_storage.mongo.settings import MongoSettings
from cipherward_storage.mongo.testing import CuttingProxy, mongo_settings
from cipherward_storage.place import Room, StoreOwner
from cipherward_storage.records import PART_BYTES
from cipherward_storage.stores import Stores, open_stores
from cipherward_storage.testing import MEBIBYTE, FileBodies, TestReader
from cipherward_storage.testing_storage import WEEK, open_scene
from cipherward_storage.testing_world import World
from cipherward_storage.uploads import UploadBounds
from tests.servers.mongo import MongoServer, running_mongo
from tests.servers.need import need


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    promises_last(items)


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """One server for all tests that leave it running; each has databases of its own."""
    need("mongo")
    with running_mongo(tmp_path_factory.mktemp("mongo")) as server:
        yield server


@pytest.fixture
async def proxy(mongo_server: MongoServer) -> AsyncGenerator[CuttingProxy]:
    """A proxy before the shared server."""
    parsed = urlsplit(mongo_server.uri)
    assert parsed.port is not None
    made = CuttingProxy(parsed.port)
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as listening:
        made.port = listening.sockets[0].getsockname()[1]
        yield made
        made.cut()
        await eventually(lambda: not made.open_lines, what="the end of the proxy's lines")


HOME_NOW, HOME_QUOTA = 1_800_000_000, 8 * PART_BYTES
OpenHome = Callable[[], AbstractAsyncContextManager[Stores]]


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("mongo", marks=pytest.mark.servers),
        pytest.param("mongo without transactions", marks=pytest.mark.servers),
    ]
)
def open_home(request: pytest.FixtureRequest, tmp_path: Path) -> OpenHome:
    """Open the stores of the same place again and again, as after a restart."""
    owner = StoreOwner("chain", "hospital-a", b"genesis")
    if request.param == "sqlite":
        room = Room(HOME_QUOTA, 0)
        return lambda: open_stores(tmp_path, owner, room, None, lambda: HOME_NOW)
    server: MongoServer = request.getfixturevalue("mongo_server")
    settings = mongo_settings(server.uri, timeout_seconds=10.0)
    return lambda: open_mongo(
        settings,
        owner,
        "this-instance",
        HOME_QUOTA,
        lambda: HOME_NOW,
        transactions=request.param == "mongo",
    )


class GridBodies:
    """What is stored of bodies in MongoDB, read by the driver's own GridFS."""

    def __init__(self, settings: MongoSettings) -> None:
        self._settings = settings

    @contextmanager
    def _database(self) -> Generator[Database[dict[str, Any]]]:
        client = MongoClient[dict[str, Any]](self._settings.uri)
        with client:
            yield client[self._settings.database]

    async def stored_bytes(self) -> int:
        def work() -> int:
            with self._database() as database:
                return sum(len(chunk["data"]) for chunk in database["bodies.chunks"].find())

        return await asyncio.to_thread(work)

    async def count(self) -> int:
        def work() -> int:
            with self._database() as database:
                return len(database["bodies.chunks"].distinct("files_id"))

        return await asyncio.to_thread(work)

    async def only(self) -> bytes:
        def work() -> bytes:
            with self._database() as database:
                bucket = GridFSBucket(database, "bodies")
                (body,) = [file["_id"] for file in database["bodies.files"].find()]
                with bucket.open_download_stream(body) as stream:
                    return stream.read()

        return await asyncio.to_thread(work)

    async def overwrite(self, octets: bytes) -> None:
        def work() -> None:
            with self._database() as database:
                chunks = database["bodies.chunks"]
                for chunk in list(chunks.find({}, {"n": 1})):
                    part = octets[chunk["n"] * MEBIBYTE :][:MEBIBYTE]
                    if part:
                        chunks.update_one({"_id": chunk["_id"]}, {"$set": {"data": part}})
                    else:
                        chunks.delete_one({"_id": chunk["_id"]})

        await asyncio.to_thread(work)


OpenWorld = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> TestAlliance:
    return TestAlliance(tmp_path_factory.mktemp("alliance"))


@pytest.fixture(params=["embedded", pytest.param("mongo", marks=pytest.mark.servers)])
def open_world(
    request: pytest.FixtureRequest, tmp_path: Path, certificates: TestAlliance
) -> OpenWorld:
    """Open a world: a chain with one proven block that brings a record key into force, and a
    storage that has applied it."""
    if request.param == "embedded":
        return _opener(tmp_path, certificates, None)
    server: MongoServer = request.getfixturevalue("mongo_server")
    return _opener(tmp_path, certificates, mongo_settings(server.uri))


@pytest.fixture
def open_embedded_world(tmp_path: Path, certificates: TestAlliance) -> OpenWorld:
    """As `open_world`, for tests that look into the data folder."""
    return _opener(tmp_path, certificates, None)


@pytest.fixture
def open_world_over(tmp_path: Path, certificates: TestAlliance) -> Callable[..., OpenWorld]:
    """Return a function of a database's settings that makes an `open_world`."""

    def opener(mongo: MongoSettings) -> OpenWorld:
        return _opener(tmp_path, certificates, mongo)

    return opener


def _opener(tmp_path: Path, certificates: TestAlliance, mongo: MongoSettings | None) -> OpenWorld:
    @asynccontextmanager
    async def opened(
        *,
        quota_bytes: int = 1 << 40,
        reserve_bytes: int = 0,
        record_bytes_max: int = 1 << 30,
        stall_seconds: float = 30.0,
        renewal_seconds: float = WEEK,
        holds_share: bool = False,
        applied: bool = True,
    ) -> AsyncGenerator[World]:
        async with open_scene(certificates) as scene:
            folder = tmp_path / "storage"
            world = World(
                scene,
                folder,
                Room(quota_bytes, reserve_bytes),
                UploadBounds(record_bytes_max, stall_seconds),
                mongo,
                FileBodies(folder) if mongo is None else GridBodies(mongo),
                slots=SlotKeeping(folder / SLOT_KEYS, renewal_seconds),
            )
            if holds_share:
                await world.hold_share()
            await world.start()
            try:
                if applied:
                    await world.block(orders=[world.sharing_order()])
                yield world
            finally:
                await world.stop()

    return opened


@pytest.fixture
def reader() -> TestReader:
    return TestReader()
