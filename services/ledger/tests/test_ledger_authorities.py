"""Whose services the ledger's server lets in: the registry's, as blocks change it."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward_kit.readiness import Readiness
from cipherward_kit.testing import MEMBERS, TestAlliance
from cipherward_kit.tls import PeerNotTrusted, TrustRegistry
from cipherward_ledger.application import CONDITION, ContractApplication
from cipherward_ledger.comet.execution import ToldBlock
from cipherward_ledger.testing import SmallContract
from cipherward_member.authorities import Authorities

A, B, C, D = MEMBERS


class Registering(SmallContract):
    """Has the registry that a test sets, and says of each block that it changed it."""

    listed: tuple[pb.RegisteredMember, ...] = ()
    listed_at: int = 0

    async def GetRegistry(self, request: Any, context: Any) -> Any:
        return pb.GetRegistryResponse(members=self.listed, height=self.listed_at)

    async def ExecuteBlock(self, request: Any, context: Any) -> Any:
        answer = await super().ExecuteBlock(request, context)
        answer.registry_changed = True
        return answer


@pytest.fixture
def certificates(tmp_path: Path) -> TestAlliance:
    return TestAlliance(tmp_path)


def authority(certificates: TestAlliance, member: str) -> bytes:
    return certificates.authorities[member].certificate_pem


def registered(certificates: TestAlliance, *members: str) -> tuple[pb.RegisteredMember, ...]:
    return tuple(
        pb.RegisteredMember(member_id=one, ca_certificate=authority(certificates, one).decode())
        for one in members
    )


def trusted(certificates: TestAlliance, registry: TrustRegistry) -> set[str]:
    """Return the members whose storage services the registry lets in."""
    found: set[str] = set()
    for member in MEMBERS:
        leaf = certificates.identity(member, "storage").certificate_pem
        name = f"spiffe://{member}/storage"
        try:
            found.add(registry.verify_peer(leaf, name).member)
        except PeerNotTrusted:
            continue
    return found


@asynccontextmanager
async def telling(
    world: Any, tell: Callable[[Mapping[str, str], int], None]
) -> AsyncGenerator[ContractApplication]:
    """Serve the world's contract, and tell what its registry says while the context is open."""
    async with (
        world.serve_contract(),
        world.channel(world.contract_port, "contract") as channel,
    ):
        stub, ready = ContractServiceStub(channel), Readiness(CONDITION)
        yield ContractApplication(stub, world.keys.document, world.clock, ready, tell)


async def test_a_removed_members_services_are_refused_and_an_admitted_ones_let_in(
    make_world: Any, certificates: TestAlliance
) -> None:
    contract = Registering()  # pyright: ignore[reportAbstractUsage] - no snapshot is asked for
    contract.listed = registered(certificates, A, B)
    trust = TrustRegistry({one: authority(certificates, one) for one in (A, B, C)})
    authorities = Authorities(trust, {A: authority(certificates, A)})
    world = dataclasses.replace(make_world(), contract=contract)
    async with telling(world, authorities.follow) as application:
        await application.start(0)
        assert trusted(certificates, trust) == {A, B}  # C was removed while the ledger was down
        contract.listed = registered(certificates, B, D)
        block = ToldBlock(1, world.clock.now_ns(), ())
        await application.execute(block)
        assert trusted(certificates, trust) == {A, B}  # decided, and not committed yet
        await application.commit(block)
        assert trusted(certificates, trust) == {A, B, D}  # its own counts whatever is registered


async def test_the_authorities_are_told_with_the_height_that_they_are_of(
    make_world: Any, certificates: TestAlliance
) -> None:
    contract = Registering()  # pyright: ignore[reportAbstractUsage] - no snapshot is asked for
    contract.listed, contract.listed_at = registered(certificates, A, B), 9
    told: list[tuple[Mapping[str, str], int]] = []
    world = dataclasses.replace(make_world(), contract=contract)

    def tell(authorities: Mapping[str, str], height: int) -> None:
        told.append((authorities, height))

    async with telling(world, tell) as application:
        await application.registry()
    assert told == [({one: authority(certificates, one).decode() for one in (A, B)}, 9)]
