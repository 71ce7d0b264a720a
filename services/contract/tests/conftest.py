from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.contract.v1.contract_service_pb2_grpc import (
    ContractServiceStub,
    add_ContractServiceServicer_to_server,
)
from cipherward_chain.authorization import Signer
from cipherward_chain.members import AuthoritiesSet
from cipherward_chain.reads import ReadGate, build_read
from cipherward_chain.wire import NANOS
from cipherward_contract.config import MESSAGE_BYTES_MAX
from cipherward_contract.drafting import WORKER_MODULE, Drafts
from cipherward_contract.machine_versions import NEWEST_VERSION
from cipherward_contract.proven_reading import ProvenReading
from cipherward_contract.reading import Reading
from cipherward_contract.restoring import Restoring
from cipherward_contract.service import METHOD, ContractService, Questions, StateSync
from cipherward_contract.snapshots import Snapshots
from cipherward_contract.standing import MACHINE_VERSION, Standing
from cipherward_contract.store import SCHEMA
from cipherward_contract.testing import Story, contract_genesis, open_story
from cipherward_kit.database import Database
from cipherward_kit.jobs import WorkerPool
from cipherward_kit.readiness import Readiness
from cipherward_kit.testing import Served, TestAlliance, promises_last, serve_in_process
from cipherward_kit.tls import TrustRegistry
from cipherward_member.authorities import Authorities
from cipherward_member.canaries import CANARIES, CanaryReports

AFTER_ALL_BLOCKS = 2**62


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    promises_last(items)


@pytest.fixture
async def story(tmp_path: Path) -> AsyncGenerator[Story]:
    """A chain of four members with the shipped templates, at height 0."""
    genesis, keys = contract_genesis()
    async with open_story(tmp_path, genesis, keys) as opened:
        yield opened


@dataclass(frozen=True, slots=True)
class ServedStory:
    """A story whose service is served on real sockets; the readers' clock is the story's."""

    story: Story
    served: Served
    snapshots: Snapshots

    def stub(self, member: str = "hospital-a", service: str = "ledger") -> ContractServiceStub:
        """Return a stub for a member's service."""
        return ContractServiceStub(self.served.channel_as(member, service))

    def holder(self) -> ContractServiceStub:
        """Return a stub for a holder, who has no certificate."""
        return ContractServiceStub(self.served.holder_channel())

    def read(self, signer: Signer, method: str, object_id: bytes) -> chain_pb.AuthorizedRead:
        """Return a read that is authorised now."""
        return build_read(
            METHOD + method,
            object_id,
            chain_id=self.story.genesis.chain_id,
            signer=signer,
            time_ns=self.story.now * NANOS,
        )


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncGenerator[ServedStory]:
    """A chain of four members at height 0, served by hospital-a."""
    async with serve(tmp_path, begin=True) as served:
        yield served


@pytest.fixture
async def serving_by_a_process(tmp_path: Path) -> AsyncGenerator[ServedStory]:
    """The service of hospital-a, whose drafts a process of its own looks at."""
    async with serve(tmp_path, begin=True, draft_workers=1) as served:
        yield served


@pytest.fixture
async def serving_nothing_yet(tmp_path: Path) -> AsyncGenerator[ServedStory]:
    """The service of hospital-a before InitChain."""
    folder = tmp_path / "nothing"
    folder.mkdir()
    async with serve(folder, begin=False) as served:
        yield served


@pytest.fixture
async def serving_held_back(tmp_path: Path) -> AsyncGenerator[ServedStory]:
    """The service of hospital-a, held back at machine version 1."""
    async with serve(tmp_path, begin=True, version_max=1) as served:
        yield served


@asynccontextmanager
async def serve(
    tmp_path: Path, *, begin: bool, version_max: int = NEWEST_VERSION, draft_workers: int = 0
) -> AsyncGenerator[ServedStory]:
    genesis, keys = contract_genesis()
    async with (
        open_story(tmp_path, genesis, keys, begin=begin, version_max=version_max) as opened,
        Database(tmp_path / "state.db", SCHEMA) as reads,
        Snapshots(tmp_path / "snapshots", tmp_path / "state.db", every=2) as snapshots,
        WorkerPool(draft_workers, 0, WORKER_MODULE) as pool,
    ):

        def clock() -> float:
            return float(opened.now)

        readiness = Readiness(MACHINE_VERSION, CANARIES)
        alliance = TestAlliance(tmp_path / "alliance")
        # Of real connections: the state's registry has one that no service has a certificate of.
        own = alliance.authorities["hospital-a"].certificate_pem.decode()
        proven = {"hospital-a": AuthoritiesSet("hospital-a", own, AFTER_ALL_BLOCKS)}
        authorities = Authorities(TrustRegistry({}), {}, proven)
        standing = Standing(
            opened.chain, readiness, snapshots, authorities, version_max=version_max
        )
        await standing.look()
        restoring = Restoring(opened.chain, opened.database, genesis.digest)
        service = ContractService(
            opened.chain,
            Questions(Reading(reads, clock), ProvenReading(opened.chain, clock), Drafts(pool)),
            ReadGate(genesis.chain_id, clock),
            StateSync(snapshots, restoring),
            standing,
            CanaryReports(readiness),
        )
        async with serve_in_process(
            lambda server: add_ContractServiceServicer_to_server(service, server),
            domain="contract.cipherward",
            alliance=alliance,
            service="contract",
            message_bytes_max=MESSAGE_BYTES_MAX,
            readiness=readiness,
        ) as served:
            yield ServedStory(opened, served, snapshots)
