"""Hospitals with real identity services over real sockets, and the chain that they follow."""

from __future__ import annotations

import functools
import uuid
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.chain.v1.block_pb2 import ProvenBlock
from cipherward.identity.v1 import identity_service_pb2 as pb
from cipherward.identity.v1.identity_service_pb2_grpc import (
    IdentityServiceStub,
    add_IdentityServiceServicer_to_server,
)
from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward_anoncred.credential import Credential
from cipherward_anoncred.issuance import (
    HolderSecret,
    PendingRequest,
    request_first,
    request_same_secret,
)
from cipherward_anoncred.scheme import generate_issuer_key
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.genesis import Genesis, Issuer
from cipherward_chain.orders import Order
from cipherward_chain.results import TransactionResult
from cipherward_chain.testing import TestChain, TestKeys, make_genesis, seed_of
from cipherward_chain.transactions import build_transaction
from cipherward_chain.wire import NANOS
from cipherward_identity.config import IdentityConfig
from cipherward_identity.service import DOMAIN
from cipherward_identity.wiring import Outside, open_identity
from cipherward_kit.testing import (
    Served,
    TestAlliance,
    eventually,
    promises_last,
    serve_in_process,
)
from cipherward_member.block_source import BlockSource
from cipherward_member.registry import REGISTRY_FILE, MemberRegistry

MEMBERS = ("hospital-a", "hospital-b")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    promises_last(items)


@pytest.fixture(autouse=True)
def watched_loop() -> Iterator[BlockBuster]:
    """Nothing that this service calls may block the event loop."""
    with blockbuster_ctx("cipherward_identity") as watching:
        yield watching


@dataclass(slots=True)
class LocalClock:
    """The clock of a test's hospitals, in Unix seconds; it stands still until it is set."""

    seconds: float

    def __call__(self) -> float:
        return self.seconds


@dataclass(frozen=True, slots=True)
class Asked:
    """A holder's request, and what the wallet keeps to accept the answer."""

    offer: pb.BeginCredentialResponse
    request: pb.RequestCredentialRequest
    pending: PendingRequest

    def accept(self, grant: bytes) -> Credential:
        return self.pending.accept(grant, self.offer.public_key, tuple(self.offer.attributes))


@dataclass(frozen=True, slots=True)
class Hospital:
    """An identity service as others see it."""

    served: Served
    member: str

    def stub(self, member: str, service: str) -> IdentityServiceStub:
        return IdentityServiceStub(self.served.channel_as(member, service))

    @property
    def desk(self) -> IdentityServiceStub:
        return self.stub(self.member, "client")

    @property
    def ledger(self) -> IdentityServiceStub:
        return self.stub(self.member, "ledger")

    @property
    def holder(self) -> IdentityServiceStub:
        return IdentityServiceStub(self.served.holder_channel())

    async def admit(self, schema: str = "patient", request_id: str = "", **attributes: str) -> str:
        request = pb.AdmitHolderRequest(
            request_id=request_id or str(uuid.uuid4()), schema=schema, attributes=attributes
        )
        return (await self.desk.AdmitHolder(request)).admission_code

    async def begin(self, code: str) -> pb.BeginCredentialResponse:
        return await self.holder.BeginCredential(pb.BeginCredentialRequest(admission_code=code))

    async def ask(self, code: str, earlier: Credential | None = None) -> Asked:
        """Begin, and make the request; it is not sent."""
        offer = await self.begin(code)
        if earlier is None:
            octets, pending = request_first(
                HolderSecret.generate(),
                issuer=offer.issuer,
                header=offer.header,
                session=offer.session,
            )
        else:
            octets, pending = request_same_secret(
                earlier, issuer=offer.issuer, header=offer.header, session=offer.session
            )
        request = pb.RequestCredentialRequest(
            admission_code=code,
            session=offer.session,
            request=octets,
            earlier_public_key=earlier.public_key if earlier else b"",
            earlier_header=earlier.header if earlier else b"",
        )
        return Asked(offer, request, pending)

    async def enrol(
        self, earlier: Credential | None = None, schema: str = "patient", **attributes: str
    ) -> Credential:
        """All of issuance, for a new holder or one with an earlier credential."""
        asked = await self.ask(await self.admit(schema, **attributes), earlier)
        response = await self.holder.RequestCredential(asked.request)
        return asked.accept(response.grant)

    async def renew(self, identity: bytes) -> pb.RenewCredentialResponse:
        return await self.holder.RenewCredential(pb.RenewCredentialRequest(identity=identity))

    async def verify(self, *items: pb.PresentationToVerify) -> list[bool]:
        request = pb.VerifyPresentationsRequest(presentations=items)
        return list((await self.ledger.VerifyPresentations(request)).valid)


class WatchedFeed:
    """The chain as one hospital's feed, which knows how far the hospital has got."""

    def __init__(self, chain: TestChain) -> None:
        self._chain = chain
        self.carried_out = 0

    async def blocks_from(self, height: int) -> AsyncGenerator[ProvenBlock, None]:
        async with aclosing(self._chain.blocks_from(height)) as blocks:
            async for block in blocks:
                yield block
                self.carried_out = height  # whoever asks for the next one is done with this one
                height += 1


class Ledger:
    """Where what the hospitals tell the chain waits for a block."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []

    async def submit(
        self,
        request: ledger_pb.SubmitBatchRequest,
        /,
        *,
        timeout: float,  # noqa: ASYNC109 - grpc's
    ) -> ledger_pb.SubmitBatchResponse:
        self.waiting += request.transactions
        verdicts = [ledger_pb.SubmitVerdict() for _ in request.transactions]
        return ledger_pb.SubmitBatchResponse(verdicts=verdicts)


@dataclass(slots=True)
class World:
    """An alliance of two hospitals, its chain, and the clock on their walls."""

    alliance: TestAlliance
    folder: Path
    genesis: Genesis
    chain: TestChain
    clock: LocalClock
    keys: TestKeys
    materials: dict[str, bytes] = field(repr=False)
    feeds: list[WatchedFeed] = field(default_factory=list[WatchedFeed])
    ledger: Ledger = field(default_factory=Ledger)

    async def beat(self, seconds: float = 0) -> None:
        """Let the chain, and the clock with it, move on by `seconds`, until all have seen it."""
        self.clock.seconds += seconds
        at = int(self.clock.seconds) * NANOS + self.chain.height * NANOS // 100
        self.chain.heartbeat(at)
        self.chain.heartbeat(at + NANOS // 1000)
        for feed in self.feeds:
            await eventually(functools.partial(self.is_up_to_date, feed))

    async def block(
        self,
        orders: Sequence[Order] = (),
        transactions: Sequence[bytes] = (),
        results: Sequence[TransactionResult] = (),
    ) -> None:
        """Make a block of transactions, and a tick, with these orders, until all have seen it."""
        at = int(self.clock.seconds) * NANOS + self.chain.height * NANOS // 100
        tick = build_transaction(
            [chain_pb.Act(tick=chain_pb.Tick())],
            chain_id=self.genesis.chain_id,
            expires_at=int(self.clock.seconds) + 60,
            signer=MemberSigner(MEMBERS[0], self.keys.member_seeds[MEMBERS[0]]),
        )
        done = [*results, TransactionResult()]
        self.chain.append([*transactions, tick], results=done, orders=orders, time_ns=at)
        for feed in self.feeds:
            await eventually(functools.partial(self.is_up_to_date, feed))

    def is_up_to_date(self, feed: WatchedFeed) -> bool:
        return feed.carried_out == len(self.chain.blocks)

    def config(self, member: str, **settings: Any) -> IdentityConfig:
        key_file = self.folder / f"{member}.key"
        key_file.write_bytes(self.materials[member])
        key_file.chmod(0o600)
        given = self.alliance.settings(member, "identity")
        given |= {"data_dir": self.folder / member, "issuer_key_file": key_file}
        given |= {"endpoints_file": self.folder / "alliance.json"}
        given |= {"member_key_file": self.member_key_file(member)}
        return IdentityConfig(**{**given, **settings})

    def member_key_file(self, member: str) -> Path:
        path = self.folder / f"{member}.member"
        path.write_bytes(self.keys.member_seeds[member])
        path.chmod(0o600)
        return path

    @asynccontextmanager
    async def hospital(
        self, member: str = MEMBERS[0], *, fresh: bool = True, **settings: Any
    ) -> AsyncGenerator[Hospital]:
        """Run a hospital's identity; leave and enter again for a restart on the same folder."""
        config, feed = self.config(member, **settings), WatchedFeed(self.chain)
        source = BlockSource(feed)
        registry = MemberRegistry(self.genesis, config.data_dir / REGISTRY_FILE)
        async with (
            open_identity(
                config,
                self.genesis,
                Outside(registry, source, self.ledger.submit),
                local=self.clock,
            ) as service,
            serve_in_process(
                lambda server: add_IdentityServiceServicer_to_server(service, server),
                domain=DOMAIN,
                alliance=self.alliance,
                service="identity",
                member=member,
            ) as served,
        ):
            if fresh:
                await eventually(functools.partial(self.is_up_to_date, feed))
            self.feeds.append(feed)
            try:
                yield Hospital(served, member)
            finally:
                self.feeds.remove(feed)


@pytest.fixture(scope="session")
def alliance(tmp_path_factory: pytest.TempPathFactory) -> TestAlliance:
    return TestAlliance(tmp_path_factory.mktemp("identity-alliance"), MEMBERS)


@pytest.fixture
async def world(alliance: TestAlliance, tmp_path: Path) -> World:
    materials = {member: seed_of(f"{member}/issuer") for member in MEMBERS}
    issuers = [
        Issuer(member, generate_issuer_key(material).public, ("patient", "staff"))
        for member, material in materials.items()
    ]
    certificates = {member: alliance.registry.authority_pem(member).decode() for member in MEMBERS}
    genesis, keys = make_genesis(len(MEMBERS), issuers=issuers, ca_certificates=certificates)
    clock = LocalClock(genesis.time_ns // NANOS + 1)
    chain = TestChain(genesis, keys)
    world = World(alliance, tmp_path, genesis, chain, clock, keys, materials)
    await world.beat()
    return world
