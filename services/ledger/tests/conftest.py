"""A ledger between a contract and an identity, served in this process over real sockets."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as tx_pb
from cipherward.contract.v1.contract_service_pb2_grpc import (
    ContractServiceStub,
    add_ContractServiceServicer_to_server,
)
from cipherward.identity.v1 import identity_service_pb2 as identity_pb
from cipherward.identity.v1.identity_service_pb2_grpc import (
    IdentityServiceServicer,
    IdentityServiceStub,
    add_IdentityServiceServicer_to_server,
)
from cipherward.ledger.v1.ledger_service_pb2_grpc import (
    add_LedgerServiceServicer_to_server,
)
from cipherward_anoncred.presentation import pseudonym_of
from cipherward_anoncred.schema import schema_of
from cipherward_anoncred.verification import Claim, verify_batch
from cipherward_chain.authorization import MemberSigner, Signer
from cipherward_chain.genesis import Genesis, Parameters
from cipherward_chain.solo import SoloProposer
from cipherward_chain.testing import TestKeys, make_genesis
from cipherward_chain.transactions import build_transaction, context_of
from cipherward_chain.wire import exact_bytes
from cipherward_kit.channels import open_channel
from cipherward_kit.drain import Drain
from cipherward_kit.errors import reason_of
from cipherward_kit.readiness import Readiness
from cipherward_kit.testing import Served, TestAlliance, promises_last, serve_in_process
from cipherward_ledger.application import CONDITION
from cipherward_ledger.assembly import Chain, Limits, Surroundings, open_ledger
from cipherward_ledger.clock import NANOSECONDS, Clock
from cipherward_ledger.mempool import Bounds
from cipherward_ledger.peers import MESSAGE_BYTES_MAX, Peers
from cipherward_ledger.service import DOMAIN
from cipherward_ledger.testing import ManualClock, RunningLedger, SmallContract, free_port
from cipherward_ledger.traces import TransactionTraces

MEMBER = "hospital-a"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    promises_last(items)


class VerifyingIdentity(IdentityServiceServicer):
    """Verifies presentations with the credential library, and counts the calls."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.waiting = 0
        self.gate = asyncio.Event()  # closed: calls wait
        self.gate.set()

    async def VerifyPresentations(self, request: Any, context: Any) -> Any:
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        self.batches.append(len(request.presentations))
        jobs = [(_claim(asked), asked.presentation.proof) for asked in request.presentations]
        verdicts = zip(request.presentations, verify_batch(jobs), strict=True)
        return identity_pb.VerifyPresentationsResponse(
            valid=[
                valid and pseudonym_of(asked.presentation.proof) == asked.presentation.pseudonym
                for asked, valid in verdicts
            ]
        )


def _claim(asked: identity_pb.PresentationToVerify) -> Claim:
    shown = asked.presentation
    return Claim(
        issuer_public_key=shown.issuer_public_key,
        header=shown.header,
        attribute_count=len(schema_of(shown.header).attributes),
        disclosed=tuple((one.index, one.value) for one in shown.disclosed),
        scope=shown.scope.encode(),
        context=asked.context,
    )


@dataclass
class World:
    """One chain: its keys, its contract and identity, and the ledger that a test starts."""

    folder: Path
    alliance: TestAlliance
    genesis: Genesis
    keys: TestKeys
    contract: SmallContract = field(default_factory=SmallContract)
    identity: VerifyingIdentity = field(default_factory=VerifyingIdentity)
    clock: Clock = field(default_factory=Clock)
    pending: Bounds = field(default_factory=lambda: Bounds(2_000, 8 * 1024 * 1024))
    retain_blocks: int = 0
    contract_port: int = field(default_factory=free_port)
    identity_port: int = field(default_factory=free_port)

    @property
    def signer(self) -> Signer:
        return self.member(MEMBER)

    @property
    def database(self) -> Path:
        return self.folder / "ledger.sqlite"

    def transaction(
        self,
        *,
        acts: Sequence[tx_pb.Act] = (tx_pb.Act(tick=tx_pb.Tick()),),
        seconds: int = 300,
        signer: Signer | None = None,
        chain_id: str = "",
        nonce: bytes | None = None,
    ) -> bytes:
        """Return a transaction of the member, by default one that expires in five minutes."""
        return build_transaction(
            acts,
            chain_id=chain_id or self.genesis.chain_id,
            expires_at=self.clock.now_ns() // NANOSECONDS + seconds,
            signer=signer or self.signer,
            nonce=nonce,
        )

    def member(self, member: str) -> Signer:
        return MemberSigner(member, self.keys.member_seeds[member])

    def authorized_again(self, content: bytes, signer: Signer) -> bytes:
        """Return the same body under a fresh authorization by `signer`."""
        body = tx_pb.Transaction.FromString(content).body
        return exact_bytes(
            tx_pb.Transaction(body=body, authorization=signer.authorize(context_of(body)))
        )

    def spare_port(self) -> int:
        return free_port()

    def transactions(self, count: int) -> list[bytes]:
        return [self.transaction() for _ in range(count)]

    def serve_contract(self) -> AbstractAsyncContextManager[Served]:
        return serve_in_process(
            lambda server: add_ContractServiceServicer_to_server(self.contract, server),
            domain="contract.cipherward",
            alliance=self.alliance,
            service="contract",
            listen=f"127.0.0.1:{self.contract_port}",
            message_bytes_max=MESSAGE_BYTES_MAX,
        )

    def serve_identity(self) -> AbstractAsyncContextManager[Served]:
        return serve_in_process(
            lambda server: add_IdentityServiceServicer_to_server(self.identity, server),
            domain="identity.cipherward",
            alliance=self.alliance,
            service="identity",
            listen=f"127.0.0.1:{self.identity_port}",
        )

    def channel(self, port: int, service: str) -> aio.Channel:
        return open_channel(
            f"127.0.0.1:{port}",
            identity=self.alliance.identity(MEMBER, "ledger"),
            registry=self.alliance.registry,
            peer_member=MEMBER,
            peer_service=service,
            message_bytes_max=MESSAGE_BYTES_MAX,
        )

    @asynccontextmanager
    async def ledger(self) -> AsyncGenerator[RunningLedger]:
        """Run the ledger over its folder; contract and identity may or may not be there."""
        chain = Chain(
            self.genesis,
            self.keys.document,
            SoloProposer(self.genesis, self.keys.validator_seed),
            self.signer,
        )
        around = Surroundings(
            Readiness(CONDITION), Drain(), self.clock, traces=TransactionTraces(MEMBER)
        )
        limits = Limits(self.pending, 0.0, 200, self.retain_blocks)
        async with AsyncExitStack() as stack:
            contract = self.channel(self.contract_port, "contract")
            identity = self.channel(self.identity_port, "identity")
            await stack.enter_async_context(contract)
            await stack.enter_async_context(identity)
            peers = Peers(ContractServiceStub(contract), IdentityServiceStub(identity))
            service = await stack.enter_async_context(
                open_ledger(self.folder, chain, limits, peers, around)
            )
            served = await stack.enter_async_context(
                serve_in_process(
                    lambda server: add_LedgerServiceServicer_to_server(service, server),
                    domain=DOMAIN,
                    alliance=self.alliance,
                    service="ledger",
                    readiness=around.readiness,
                    drain=around.drain,
                )
            )
            yield RunningLedger(served, around, self.contract)


async def reason(call: Awaitable[Any]) -> str:
    """Return CODE/REASON with which a call is refused."""
    with pytest.raises(aio.AioRpcError) as refused:
        await call
    return f"{refused.value.code().name}/{reason_of(refused.value)}"


@pytest.fixture(scope="session")
def alliance(tmp_path_factory: pytest.TempPathFactory) -> TestAlliance:
    return TestAlliance(tmp_path_factory.mktemp("alliance"))


@pytest.fixture(scope="session")
def make_world(
    alliance: TestAlliance, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., World]:
    """Return a maker of worlds: each a chain of its own, whose heartbeat a test may set."""

    def make(heartbeat_seconds: int = 3_600) -> World:
        genesis, keys = make_genesis(
            parameters=Parameters(heartbeat_seconds=heartbeat_seconds),
            ca_certificates={
                member: ca.certificate_pem.decode() for member, ca in alliance.authorities.items()
            },
            time_ns=time.time_ns() // NANOSECONDS * NANOSECONDS,
        )
        return World(tmp_path_factory.mktemp("ledger"), alliance, genesis, keys)

    return make


@pytest.fixture
async def still_world(make_world: Callable[..., World]) -> AsyncIterator[tuple[World, ManualClock]]:
    """A chain with heartbeats of ten seconds, and the clock that its ledger reads."""
    one = make_world(heartbeat_seconds=10)
    manual = ManualClock(one.genesis.time_ns + NANOSECONDS)
    one = dataclasses.replace(one, clock=manual.clock())
    async with one.serve_contract(), one.serve_identity():
        yield one, manual


@pytest.fixture
async def world(make_world: Callable[..., World]) -> AsyncIterator[World]:
    """A chain whose contract and identity are served; the test starts the ledger."""
    one = make_world()
    async with one.serve_contract(), one.serve_identity():
        yield one


@pytest.fixture
async def ledger(world: World) -> AsyncIterator[RunningLedger]:
    """A ledger that runs, ready."""
    async with world.ledger() as running:
        await running.ready()
        yield running


@pytest.fixture
def reason_of_call() -> Callable[[Awaitable[Any]], Awaitable[str]]:
    return reason
