"""The registry, versions and state sync over real sockets, as a ledger uses them."""

from __future__ import annotations

from typing import Any, Protocol

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward_chain.authorization import Signer
from cipherward_contract.snapshots import Snapshots
from cipherward_contract.standing import MACHINE_VERSION
from cipherward_contract.testing import MEMBERS, TICK, Story, vote
from cipherward_contract.testing_registry import Newcomer, joined, removed, upgrade_voted
from cipherward_kit.errors import reason_of
from cipherward_kit.testing import Served

SECONDS = 10.0
CONTRACT = b"m" * 16


class Serving(Protocol):
    """The fixture of conftest.py."""

    story: Story
    served: Served
    snapshots: Snapshots

    def stub(self, member: str = ..., service: str = ...) -> ContractServiceStub: ...
    def read(self, signer: Signer, method: str, object_id: bytes) -> chain_pb.AuthorizedRead: ...


async def refused(call: Any) -> str:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return f"{caught.value.code().name}/{reason_of(caught.value)}"


async def test_the_registry_is_answered_to_the_members_own_services(serving: Serving) -> None:
    stub = serving.stub(service="storage")
    found = await stub.GetRegistry(pb.GetRegistryRequest(), timeout=SECONDS)
    genesis = serving.story.genesis
    assert found.height == 0
    assert [member.member_id for member in found.members] == list(MEMBERS)
    for member in found.members:
        expected = genesis.members[member.member_id]
        assert (member.name, member.index) == (expected.name, expected.index)
        assert member.public_key == expected.public_key
        assert member.custodian_public_key == expected.custodian_public_key
        assert member.ca_certificate == expected.ca_certificate
        assert member.consensus_public_key == expected.consensus_public_key
    assert [member.voting_power for member in found.members] == [10, 0, 0, 0]
    await joined(serving.story, Newcomer("hospital-e", "St. Elsewhere"), CONTRACT)
    await removed(serving.story, MEMBERS[1], b"o" * 16, [MEMBERS[0], *MEMBERS[2:]])
    await serving.story.applied(Newcomer("hospital-e").signer, vote(b"o" * 16, "remove", True))
    found = await stub.GetRegistry(pb.GetRegistryRequest(), timeout=SECONDS)
    assert found.height == serving.story.height
    assert [(one.member_id, one.index) for one in found.members] == [
        ("hospital-a", 0),
        ("hospital-c", 2),
        ("hospital-d", 3),
        ("hospital-e", 4),
    ]
    assert found.members[-1].name == "St. Elsewhere"
    other = serving.stub("hospital-b", "storage")
    call = other.GetRegistry(pb.GetRegistryRequest(), timeout=SECONDS)
    assert (await refused(call)).startswith("PERMISSION_DENIED/")


async def test_there_is_no_registry_before_the_chain_begins(serving_nothing_yet: Serving) -> None:
    stub = serving_nothing_yet.stub()
    call = stub.GetRegistry(pb.GetRegistryRequest(), timeout=SECONDS)
    assert await refused(call) == "FAILED_PRECONDITION/CHAIN_NOT_INITIALISED"


async def test_a_block_of_a_version_that_is_held_back_is_refused(
    serving_held_back: Serving,
) -> None:
    story, stub = serving_held_back.story, serving_held_back.stub()
    height = story.height + 20
    await upgrade_voted(story, 2, height, b"u" * 16)
    await one_block(stub, story)
    readiness = serving_held_back.served.readiness
    assert f"block {height} needs machine version 2" in readiness.missing()[MACHINE_VERSION]
    while story.height < height - 1:
        await story.block()
    committed = await stub.GetCommitted(pb.GetCommittedRequest(), timeout=SECONDS)
    assert committed.machine_version == 2  # of the next block
    request = pb.ExecuteBlockRequest(height=height, time=Timestamp(seconds=story.now))
    call = stub.ExecuteBlock(request, timeout=SECONDS)
    assert await refused(call) == "FAILED_PRECONDITION/MACHINE_VERSION_UNSUPPORTED"


async def one_block(stub: ContractServiceStub, story: Story) -> None:
    """Execute and commit an empty block over the wire."""
    story.height += 1
    request = pb.ExecuteBlockRequest(height=story.height, time=Timestamp(seconds=story.now))
    await stub.ExecuteBlock(request, timeout=SECONDS)
    await stub.Commit(pb.CommitRequest(height=story.height), timeout=SECONDS)
    story.now += 1


async def test_a_wiped_member_fetches_its_state_from_another(
    serving: Serving, serving_nothing_yet: Serving
) -> None:
    story, ahead, behind = serving.story, serving.stub(), serving_nothing_yet.stub()
    await story.applied(story.member(MEMBERS[0]), TICK)
    await one_block(ahead, story)  # of height 2, at which the service makes a snapshot
    await serving.snapshots.finished()
    listed = await ahead.ListSnapshots(pb.ListSnapshotsRequest(), timeout=SECONDS)
    (snapshot,) = listed.snapshots
    assert (snapshot.height, snapshot.format, snapshot.chunks) == (2, 1, 1)
    loading = pb.LoadSnapshotChunkRequest(height=2, format=1)
    chunk = (await ahead.LoadSnapshotChunk(loading, timeout=SECONDS)).chunk
    loading.index = 1
    call = ahead.LoadSnapshotChunk(loading, timeout=SECONDS)
    assert await refused(call) == "NOT_FOUND/SNAPSHOT_UNKNOWN"

    committed = await ahead.GetCommitted(pb.GetCommittedRequest(), timeout=SECONDS)
    applying = pb.ApplySnapshotChunkRequest(index=0, chunk=chunk)
    call = behind.ApplySnapshotChunk(applying, timeout=SECONDS)
    assert await refused(call) == "FAILED_PRECONDITION/NO_SNAPSHOT_OFFERED"
    offer = pb.OfferSnapshotRequest(snapshot=snapshot, app_hash=committed.app_hash)
    wrong = pb.OfferSnapshotRequest(snapshot=snapshot, app_hash=committed.app_hash)
    wrong.snapshot.chunks = 2
    call = behind.OfferSnapshot(wrong, timeout=SECONDS)
    assert await refused(call) == "INVALID_ARGUMENT/SNAPSHOT_REFUSED"
    await behind.OfferSnapshot(offer, timeout=SECONDS)
    applied = await behind.ApplySnapshotChunk(applying, timeout=SECONDS)
    assert applied.complete
    restored = await behind.GetCommitted(pb.GetCommittedRequest(), timeout=SECONDS)
    assert restored == committed
    call = behind.OfferSnapshot(offer, timeout=SECONDS)
    assert await refused(call) == "FAILED_PRECONDITION/STATE_NOT_EMPTY"


async def test_state_sync_is_for_the_own_ledger(serving: Serving) -> None:
    for member, service in (("hospital-b", "ledger"), ("hospital-a", "storage")):
        stub = serving.stub(member, service)
        for call in (
            stub.ListSnapshots(pb.ListSnapshotsRequest(), timeout=SECONDS),
            stub.LoadSnapshotChunk(pb.LoadSnapshotChunkRequest(), timeout=SECONDS),
            stub.OfferSnapshot(pb.OfferSnapshotRequest(), timeout=SECONDS),
            stub.ApplySnapshotChunk(pb.ApplySnapshotChunkRequest(), timeout=SECONDS),
        ):
            with pytest.raises(aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
