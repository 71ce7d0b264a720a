"""Who may call what on which port, and what anyone may know of the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from grpc import aio

from cipherward.identity.v1 import identity_service_pb2 as pb
from cipherward_chain.wire import NANOS, timestamp_ns
from cipherward_kit.errors import reason_of

if TYPE_CHECKING:  # the fixtures' types; pytest itself brings the fixtures
    from services.identity.tests.conftest import World

ADMIT = pb.AdmitHolderRequest(request_id="e0f0a7a8-9c3f-4a39-9a54-2b6c30e7e1fa", schema="patient")


async def refusal_of(call: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await call  # pyright: ignore[reportGeneralTypeIssues] - an awaitable
    return caught.value.code(), reason_of(caught.value)


async def test_the_holder_port_serves_holders_only(world: World) -> None:
    async with world.hospital() as hospital:
        stub = hospital.holder
        for call in (
            stub.AdmitHolder(ADMIT),
            stub.StopRenewal(pb.StopRenewalRequest()),
            stub.VerifyPresentations(pb.VerifyPresentationsRequest()),
        ):
            refusal = await refusal_of(call)
            assert refusal == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_REFUSED")


async def test_another_members_services_admit_nobody(world: World) -> None:
    async with world.hospital("hospital-a") as hospital:
        stub = hospital.stub("hospital-b", "client")
        for call in (stub.AdmitHolder(ADMIT), stub.StopRenewal(pb.StopRenewalRequest())):
            refusal = await refusal_of(call)
            assert refusal == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_REFUSED")


async def test_anyone_may_list_the_members_and_issuers(world: World) -> None:
    async with world.hospital() as hospital:
        members = (await hospital.holder.ListMembers(pb.ListMembersRequest())).members
        issuers = (await hospital.holder.ListIssuers(pb.ListIssuersRequest())).issuers
    assert [(m.id, m.index) for m in members] == [("hospital-a", 0), ("hospital-b", 1)]
    for member in members:
        known = world.genesis.members[member.id]
        assert (member.name, member.public_key) == (known.name, known.public_key)
        assert member.custodian_public_key == known.custodian_public_key
    assert [(i.member, list(i.schemas)) for i in issuers] == [
        ("hospital-a", ["patient", "staff"]),
        ("hospital-b", ["patient", "staff"]),
    ]
    assert [i.public_key for i in issuers] == [i.public_key for i in world.genesis.issuers]


async def test_the_epoch_is_that_of_block_time(world: World) -> None:
    length = world.genesis.parameters.epoch_seconds
    async with world.hospital() as hospital:
        for number in (1, 2, 4):
            listed = await hospital.holder.ListIssuers(pb.ListIssuersRequest())
            ends_at = world.genesis.time_ns + number * length * NANOS
            assert (listed.epoch, timestamp_ns(listed.epoch_ends_at)) == (number, ends_at)
            await world.beat(length * number)  # to the second, then to the fourth


async def test_the_local_clock_alone_starts_no_epoch(world: World) -> None:
    async with world.hospital() as hospital:
        world.clock.seconds += world.genesis.parameters.epoch_seconds
        listed = await hospital.holder.ListIssuers(pb.ListIssuersRequest())
    assert listed.epoch == 1
