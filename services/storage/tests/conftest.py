"""A storage of hospital-a between real sockets: genuine blocks come in, reports go out."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import uuid
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bson
import grpc
import pytest
from gridfs import GridFSBucket
from pymongo import MongoClient
from pymongo.database import Database

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward.ledger.v1.ledger_service_pb2_grpc import (
    LedgerServiceServicer,
    LedgerServiceStub,
    add_LedgerServiceServicer_to_server,
)
from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward.storage.v1.storage_service_pb2_grpc import (
    StorageServiceStub,
    add_StorageServiceServicer_to_server,
)
from cipherward_chain.acts import anchor_record
from cipherward_chain.authorization import MemberSigner, PseudonymSigner
from cipherward_chain.domains import custodian_part_commitment
from cipherward_chain.feed import GrpcBlockFeed
from cipherward_chain.genesis import Genesis
from cipherward_chain.orders import Order
from cipherward_chain.reads import build_read
from cipherward_chain.results import TransactionResult
from cipherward_chain.sealing import SealInfo, SealingKey, seal
from cipherward_chain.testing import GENESIS_TIME_NS, TestChain, TestKeys, make_genesis
from cipherward_chain.transactions import build_transaction, parse_transaction
from cipherward_chain.wire import exact_bytes
from cipherward_kit.readiness import Readiness
from cipherward_kit.testing import (
    Served,
    TestAlliance,
    eventually,
    promises_last,
    serve_in_process,
)
from cipherward_member.block_source import BlockSource
from cipherward_member.following import ChainProgress
from cipherward_member.registry import REGISTRY_FILE, MemberRegistry
from cipherward_storage.assembly import CHAIN, LedgerSide, Limits, open_storage
from cipherward_storage.mongo.settings import MongoSettings
from cipherward_storage.place import Room
from cipherward_storage.service import DOMAIN, GET_RECORD, GET_RELEASED_KEY
from cipherward_storage.setup import Custodian
from cipherward_storage.stores import STORE
from cipherward_storage.uploads import UploadBounds
from tests.servers.mongo import MongoServer, running_mongo
from tests.servers.need import need

MEMBER = "hospital-a"
SECOND = 1_000_000_000  # nanoseconds
HOUR = 3600
MEBIBYTE = 1024 * 1024
OP_MSG = 2013  # MongoDB's wire protocol
DRIVERS_OWN = frozenset(("hello", "ismaster", "isMaster", "ping", "endSessions"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    promises_last(items)


class Clock:
    """The one clock of a test: local, monotonic and block time go by it."""

    def __init__(self) -> None:
        self.now_ns = GENESIS_TIME_NS + HOUR * SECOND

    def __call__(self) -> int:
        return self.now_ns

    @property
    def seconds(self) -> int:
        return self.now_ns // SECOND

    def advance(self, seconds: float) -> None:
        self.now_ns += round(seconds * SECOND)


class ChainLedger(LedgerServiceServicer):
    """A second ledger: it streams a test chain's genuine blocks and keeps what is submitted."""

    def __init__(self, chain: TestChain) -> None:
        self.chain = chain
        self.submitted: list[bytes] = []
        self.refusal = ""  # what SubmitBatch answers
        self.away = False

    async def StreamBlocks(
        self, request: ledger_pb.StreamBlocksRequest, context: Any
    ) -> AsyncIterator[ledger_pb.StreamBlocksResponse]:
        async for block in self.chain.blocks_from(request.from_height):
            yield ledger_pb.StreamBlocksResponse(block=block)

    async def SubmitBatch(
        self, request: ledger_pb.SubmitBatchRequest, context: Any
    ) -> ledger_pb.SubmitBatchResponse:
        if self.away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        self.submitted.extend(request.transactions)
        return ledger_pb.SubmitBatchResponse(
            verdicts=[ledger_pb.SubmitVerdict(reason=self.refusal) for _ in request.transactions]
        )

    async def Submit(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def SubmitStream(self, request_iterator: Any, context: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] - never called here
        raise NotImplementedError

    async def GetReceipt(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def GetBlock(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def GetLightBlock(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def GetValidatorChanges(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def GetStatus(self, request: Any, context: Any) -> ledger_pb.GetStatusResponse:
        return ledger_pb.GetStatusResponse(height=self.chain.height, first_height=1)


@dataclass(frozen=True, slots=True)
class TestRecord:
    """A record as an author made it; the ciphertext is what storage sees of it."""

    __test__ = False  # pytest collects classes by this name's first word

    anchor: chain_pb.RecordAnchor
    ciphertext: bytes
    key_part: bytes
    slot: bytes

    @property
    def id(self) -> bytes:
        return self.anchor.record_id

    @property
    def octets(self) -> bytes:
        return exact_bytes(self.anchor)

    @property
    def anchor_digest(self) -> bytes:
        return hashlib.sha256(self.octets).digest()

    @property
    def slot_digest(self) -> bytes:
        return hashlib.sha256(self.slot).digest()

    def header(self, request_id: str, offset: int = 0) -> pb.PutRecordHeader:
        return pb.PutRecordHeader(
            request_id=request_id, anchor=self.octets, custodian_slot=self.slot, offset=offset
        )

    def parts(self, offset: int = 0, size: int = MEBIBYTE) -> list[bytes]:
        return [
            self.ciphertext[start : start + size]
            for start in range(offset, len(self.ciphertext), size)
        ]


def fresh_signer() -> PseudonymSigner:
    return PseudonymSigner(secrets.token_bytes(32))


@dataclass(frozen=True, slots=True)
class TestReader:
    """Who may open a record: the key that fetches and the one-time key that opens."""

    __test__ = False

    signer: PseudonymSigner = field(default_factory=fresh_signer)
    sealing: SealingKey = field(default_factory=SealingKey.generate)

    @property
    def public_key(self) -> bytes:
        return self.signer.public_key

    def opens(self, sealed: bytes, chain_id: str, record: TestRecord, order: Order) -> bytes:
        slot = f"release/{order.height}/{order.index}"
        return self.sealing.open(sealed, SealInfo(chain_id, record.id, slot, self.public_key))


class FileBodies:
    """What is stored of bodies in the embedded store, as a disk thief or a bad disk sees it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "bodies"

    async def stored_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._files())

    async def count(self) -> int:
        return len(self._files())

    async def only(self) -> bytes:
        (found,) = self._files()
        return found.read_bytes()

    async def overwrite(self, octets: bytes) -> None:
        (found,) = self._files()
        found.write_bytes(octets) if octets else found.unlink()

    def _files(self) -> list[Path]:
        return [path for path in self._folder.rglob("*") if path.is_file()]


class GridBodies:
    """The same in MongoDB, read by the driver's own GridFS."""

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


@dataclass(slots=True)
class World:
    """A chain, its ledger, and the storage of hospital-a, which can be stopped and started."""

    folder: Path
    genesis: Genesis
    keys: TestKeys
    chain: TestChain
    ledger: ChainLedger
    clock: Clock
    alliance: TestAlliance
    ledger_served: Served
    room: Room
    bounds: UploadBounds
    mongo: MongoSettings | None = None
    _stack: AsyncExitStack | None = None
    _served: Served | None = None
    _progress: ChainProgress | None = None
    readiness: Readiness = field(default_factory=lambda: Readiness(CHAIN, STORE))

    @property
    def bodies(self) -> FileBodies | GridBodies:
        """The stored ciphertext, past the service."""
        return FileBodies(self.folder) if self.mongo is None else GridBodies(self.mongo)

    @property
    def served(self) -> Served:
        assert self._served is not None, "storage is stopped"
        return self._served

    @property
    def progress(self) -> ChainProgress:
        assert self._progress is not None, "storage is stopped"
        return self._progress

    @property
    def stub(self) -> StorageServiceStub:
        """Storage as the member's own system sees it."""
        return StorageServiceStub(self.served.channel_as(MEMBER, "client"))

    @property
    def holder(self) -> StorageServiceStub:
        """Storage as a reader without a certificate sees it."""
        return StorageServiceStub(self.served.holder_channel())

    async def start(self) -> None:
        self.readiness = Readiness(CHAIN, STORE)
        channel = self.ledger_served.channel_as(MEMBER, "storage")
        source = BlockSource(GrpcBlockFeed(channel, 30.0))
        registry = MemberRegistry(self.genesis, self.folder / REGISTRY_FILE)
        ledger = LedgerSide(registry, source, LedgerServiceStub(channel).SubmitBatch)
        custodian = Custodian(
            self.genesis,
            MEMBER,
            self.keys.custodian_keys[MEMBER],
            MemberSigner(MEMBER, self.keys.member_seeds[MEMBER]),
        )
        progress = ChainProgress(self.genesis.parameters.fresh_seconds, self.clock, self.clock)
        async with AsyncExitStack() as stack:
            service = await stack.enter_async_context(
                open_storage(
                    self.folder,
                    custodian,
                    Limits(self.room, self.bounds, self.mongo),
                    ledger,
                    self.readiness,
                    progress,
                )
            )
            self._served = await stack.enter_async_context(
                serve_in_process(
                    lambda server: add_StorageServiceServicer_to_server(service, server),
                    domain=DOMAIN,
                    alliance=self.alliance,
                    service="storage",
                    member=MEMBER,
                    readiness=self.readiness,
                )
            )
            self._progress = progress
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    def record(self, size: int = 3 * MEBIBYTE + 12_345, **changes: Any) -> TestRecord:
        """Make a record for hospital-a; `changes` are fields of the anchor that shall differ."""
        record_id, key_part = secrets.token_bytes(16), secrets.token_bytes(32)
        ciphertext = secrets.token_bytes(size)
        anchor = chain_pb.RecordAnchor(
            record_id=record_id,
            ciphertext_digest=hashlib.sha256(ciphertext).digest(),
            ciphertext_bytes=size,
            suite=1,
            custodian_part_commitment=custodian_part_commitment(record_id, key_part),
            record_key_commitment=secrets.token_bytes(32),
            author=MEMBER,
            custodian=MEMBER,
            release_templates=["consent/1"],
        )
        for name, value in changes.items():
            setattr(anchor, name, value)
        slot = self.slot(anchor.record_id, key_part)
        return TestRecord(anchor, ciphertext, key_part, slot)

    def slot(self, record_id: bytes, key_part: bytes, custodian: str = MEMBER) -> bytes:
        public_key = self.keys.custodian_keys[custodian].public_key
        place = SealInfo(self.genesis.chain_id, record_id, "custodian", custodian.encode())
        return seal(key_part, public_key, place)

    def reader(self) -> TestReader:
        return TestReader()

    async def put(
        self,
        record: TestRecord,
        *,
        request_id: str | None = None,
        offset: int = 0,
        parts: Iterable[bytes] | None = None,
    ) -> pb.PutRecordResponse:
        name = request_id or str(uuid.uuid4())
        given = record.parts(offset) if parts is None else parts

        def messages() -> Iterator[pb.PutRecordRequest]:
            yield pb.PutRecordRequest(header=record.header(name, offset))
            for part in given:
                yield pb.PutRecordRequest(part=part)

        return await self.stub.PutRecord(messages(), timeout=30)

    def transaction(self, member: str, *acts: chain_pb.Act) -> bytes:
        return build_transaction(
            acts or (chain_pb.Act(tick=chain_pb.Tick()),),
            chain_id=self.genesis.chain_id,
            expires_at=self.clock.seconds + 300,
            signer=MemberSigner(member, self.keys.member_seeds[member]),
        )

    async def block(
        self,
        *transactions: bytes,
        orders: Iterable[Order] = (),
        results: list[TransactionResult] | None = None,
    ) -> int:
        """Make a block and wait until storage has applied it; return its height."""
        height = self.grow(*transactions, orders=orders, results=results)
        await self.applied(height)
        return height

    def grow(
        self,
        *transactions: bytes,
        orders: Iterable[Order] = (),
        results: list[TransactionResult] | None = None,
    ) -> int:
        """Make a block now, by the test's clock; return its height."""
        height = self.chain.next_height()
        self.clock.advance(0.001)  # block times increase
        self.chain.append(
            transactions or (self.transaction("hospital-d"),),
            orders=tuple(orders),
            results=results,
            time_ns=self.clock.now_ns,
        )
        # The proof block's time is 10 ms later.
        self.clock.advance(0.01)
        return height

    async def applied(self, height: int) -> None:
        assert await self.progress.reach(height, 10), f"block {height} was not applied"

    async def anchored(self, record: TestRecord) -> int:
        act = anchor_record(record.anchor, record.slot_digest)
        return await self.block(self.transaction(record.anchor.author, act))

    def release_order(
        self, record: TestRecord, reader: TestReader, index: int = 0, /, **changes: Any
    ) -> Order:
        arguments: dict[str, Any] = {
            "record": record.id,
            "custodian": MEMBER,
            "anchor_digest": record.anchor_digest,
            "slot_digest": record.slot_digest,
            "reader_key": reader.sealing.public_key,
            "reader": reader.public_key,
            "grant": b"G" * 16,
            "ends": self.clock.seconds + HOUR,
        }
        order = self.chain.order(index, "release_key", **{**arguments, **changes})
        return replace(order, template="consent", instance=order.arguments["grant"])

    def ending_orders(self, record: TestRecord, grant: bytes = b"G" * 16) -> list[Order]:
        """The orders of a revocation or an expiry."""
        arguments = {"record": record.id, "custodian": MEMBER, "grant": grant}
        return [
            self.chain.order(0, "revoke_key", **arguments),
            self.chain.order(1, "cut_transfers", **arguments),
        ]

    async def stored(self, size: int = 3 * MEBIBYTE + 12_345) -> TestRecord:
        """A record that is uploaded and anchored."""
        record = self.record(size)
        await self.put(record)
        await self.anchored(record)
        return record

    async def released(self, record: TestRecord, reader: TestReader, /, **changes: Any) -> Order:
        """Order a release and wait until it is carried out."""
        order = self.release_order(record, reader, **changes)
        await self.block(orders=[order])
        return order

    def read(
        self, method: str, record_id: bytes, order: Order | None, reader: TestReader
    ) -> chain_pb.AuthorizedRead:
        return build_read(
            method,
            record_id,
            chain_id=self.genesis.chain_id,
            signer=reader.signer,
            time_ns=self.clock.now_ns,
            order=None if order is None else (order.height, order.index),
        )

    async def key(
        self, record: TestRecord, order: Order, reader: TestReader
    ) -> pb.GetReleasedKeyResponse:
        read = self.read(GET_RELEASED_KEY, record.id, order, reader)
        return await self.holder.GetReleasedKey(pb.GetReleasedKeyRequest(read=read), timeout=10)

    def download(
        self, record: TestRecord, order: Order, reader: TestReader, offset: int = 0
    ) -> Any:
        read = self.read(GET_RECORD, record.id, order, reader)
        return self.holder.GetRecord(pb.GetRecordRequest(read=read, offset=offset), timeout=30)

    async def ciphertext(
        self, record: TestRecord, order: Order, reader: TestReader, offset: int = 0
    ) -> bytes:
        parts = [m.part async for m in self.download(record, order, reader, offset)]
        return b"".join(parts)

    async def reports(self, count: int) -> list[chain_pb.Report]:
        """Wait for so many submitted reports and return them."""
        await eventually(lambda: len(self.ledger.submitted) >= count, what="the reports")
        found = [parse_transaction(raw) for raw in self.ledger.submitted]
        assert all(t.authorization.member.member_id == MEMBER for t in found)
        return [act.report for t in found for act in t.body.acts]


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """One server for all tests that leave it running; each has databases of its own."""
    need("mongo")
    with running_mongo(tmp_path_factory.mktemp("mongo")) as server:
        yield server


class CuttingProxy:
    """Stands between a client and the server, and cuts the line at a chosen command.

    Commands are counted over all connections; the driver's own (hello, ping, endSessions) are not.
    """

    def __init__(self, server_port: int) -> None:
        self.port = 0  # known once it listens
        self.commands: list[str] = []
        self._server_port = server_port
        self._left: int | None = None  # commands until the cut
        self._loses_answer = False
        self._down = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._mute: set[asyncio.StreamWriter] = set()

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true"

    @property
    def down(self) -> bool:
        return self._down

    @property
    def open_lines(self) -> int:
        return len(self._writers)

    def cut_at(self, command: int, *, loses_answer: bool) -> None:
        """Cut all lines at the command with this number, from 0: before the server gets it, or
        before the client gets the answer."""
        self._left, self._loses_answer = command, loses_answer
        self.commands.clear()

    def cut(self) -> None:
        """Cut all lines, and take no new ones until `mend`."""
        self._down, self._left = True, None
        for writer in tuple(self._writers):
            writer.transport.abort()

    def mend(self) -> None:
        self._down, self._left = False, None
        self._mute.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._down:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._writers |= {writer, back}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._commands(reader, back, writer))
                group.create_task(self._answers(there, writer))
        finally:
            for one in (writer, back):
                self._writers.discard(one)
                one.transport.abort()

    async def _commands(
        self,
        reader: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
    ) -> None:
        try:
            while True:
                head = await reader.readexactly(16)
                body = await reader.readexactly(int.from_bytes(head[:4], "little") - 16)
                if self._is_last(head, body):
                    if not self._loses_answer:
                        self.cut()
                        return
                    self._mute.add(client)
                server.write(head + body)
                await server.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            server.transport.abort()

    async def _answers(self, there: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            while octets := await there.read(65536):
                if client in self._mute:  # the server has done it, and nobody will know
                    self.cut()
                    return
                client.write(octets)
                await client.drain()
        except ConnectionError:
            pass
        client.transport.abort()

    def _is_last(self, head: bytes, body: bytes) -> bool:
        if int.from_bytes(head[12:16], "little") != OP_MSG:
            return False
        document = body[5 : 5 + int.from_bytes(body[5:9], "little")]
        message: dict[str, Any] = bson.decode(document)  # pyright: ignore[reportUnknownMemberType] - bson leaves the codec's type open
        command = next(iter(message))
        if command in DRIVERS_OWN:
            return False
        self.commands.append(command)
        return self._left is not None and len(self.commands) > self._left


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


def mongo_settings(uri: str, **changes: Any) -> MongoSettings:
    """Settings of a database that nobody else has, at `uri`."""
    name = f"test-{secrets.token_hex(8)}"
    return replace(MongoSettings(uri, name, None, None, 8, 5.0), **changes)


OpenWorld = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> TestAlliance:
    return TestAlliance(tmp_path_factory.mktemp("alliance"))


@pytest.fixture(params=["embedded", pytest.param("mongo", marks=pytest.mark.servers)])
def open_world(
    request: pytest.FixtureRequest, tmp_path: Path, certificates: TestAlliance
) -> OpenWorld:
    """Open a world: a chain with one proven block, and a storage that has applied it."""
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
        applied: bool = True,
    ) -> AsyncGenerator[World]:
        genesis, keys = make_genesis()
        chain = TestChain(genesis, keys)
        ledger = ChainLedger(chain)
        folder = tmp_path / "storage"
        folder.mkdir(exist_ok=True)
        async with serve_in_process(
            lambda server: add_LedgerServiceServicer_to_server(ledger, server),
            domain="ledger.cipherward",
            alliance=certificates,
            service="ledger",
            member=MEMBER,
        ) as ledger_served:
            world = World(
                folder,
                genesis,
                keys,
                chain,
                ledger,
                Clock(),
                certificates,
                ledger_served,
                Room(quota_bytes, reserve_bytes),
                UploadBounds(record_bytes_max, stall_seconds),
                mongo,
            )
            await world.start()
            try:
                if applied:
                    await world.block()
                yield world
            finally:
                await world.stop()

    return opened


@pytest.fixture
def reader() -> TestReader:
    return TestReader()
