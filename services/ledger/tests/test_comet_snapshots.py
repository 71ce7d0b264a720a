"""What the node is told of snapshots and chunks, whatever contract and others make of them."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from cipherward.comet.v1 import abci_pb2 as abci
from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward_chain.testing import make_genesis
from cipherward_kit.errors import ServiceError
from cipherward_kit.readiness import Readiness
from cipherward_kit.testing import eventually
from cipherward_ledger.application import CONDITION, ContractApplication
from cipherward_ledger.comet.snapshots import Snapshots
from cipherward_ledger.comet.state_headers import Beginning
from cipherward_ledger.comet.verified_headers import NoHeaderBelieved
from cipherward_ledger.history import Term
from cipherward_ledger.testing import SmallContract
from cipherward_ledger.testing_chain import Desk, open_desk
from cipherward_ledger.tip import Position

HEIGHT, ROOT = 20, bytes(range(32))
GENESIS, KEYS = make_genesis(members=4, engine="cometbft")


class Refused(ServiceError):
    """As contract refuses."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "SNAPSHOT_REFUSED"


class NothingOffered(ServiceError):
    """As contract answers after a restart."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "NO_SNAPSHOT_OFFERED"


class RestoringContract(SmallContract):
    """Takes two chunks and has a state then; refuses as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.offered = 0
        self.refusal: ServiceError | None = None
        self.root = b""  # of the restored state

    async def GetCommitted(self, request: Any, context: Any) -> Any:
        answer = await super().GetCommitted(request, context)
        answer.app_hash = self.root or answer.app_hash
        return answer

    async def ListSnapshots(self, request: Any, context: Any) -> Any:
        heights = (60, 40, 20)
        infos = [contract_pb.SnapshotInfo(height=one, format=1, chunks=2) for one in heights]
        return contract_pb.ListSnapshotsResponse(snapshots=infos)

    async def OfferSnapshot(self, request: Any, context: Any) -> Any:
        assert request.app_hash == ROOT
        self.offered += 1
        return contract_pb.OfferSnapshotResponse()

    async def ApplySnapshotChunk(self, request: Any, context: Any) -> Any:
        if self.refusal is not None:
            raise self.refusal
        return contract_pb.ApplySnapshotChunkResponse(complete=request.index == 1)


class CertifiedHeaders:
    """The header after HEIGHT certifies ROOT; no other is there."""

    async def beginning(self, height: int) -> Beginning:
        if height != HEIGHT:
            raise NoHeaderBelieved("height is not available")
        return Beginning(HEIGHT, ROOT, (Term(1, GENESIS.validators, None),))


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, GENESIS) as one:
        yield one


@pytest.fixture
async def made(
    make_world: Callable[[], Any], desk: Desk
) -> AsyncIterator[tuple[Snapshots, RestoringContract]]:
    restoring = RestoringContract()  # type: ignore[abstract]  # answers what the ledger asks
    world = dataclasses.replace(make_world(), contract=restoring)
    async with world.serve_contract(), world.channel(world.contract_port, "contract") as channel:
        application = ContractApplication(
            ContractServiceStub(channel), KEYS.document, world.clock, Readiness(CONDITION)
        )
        snapshots = Snapshots(application, desk.recorder, desk.store, desk.proven.tip)
        snapshots.sync(CertifiedHeaders())  # type: ignore[arg-type]  # as far as it is asked
        yield snapshots, world.contract


def offer(height: int = HEIGHT, root: bytes = ROOT) -> abci.RequestOfferSnapshot:
    snapshot = abci.Snapshot(height=height, format=1, chunks=2)
    return abci.RequestOfferSnapshot(snapshot=snapshot, app_hash=root)


def chunk(index: int, sender: str) -> abci.RequestApplySnapshotChunk:
    return abci.RequestApplySnapshotChunk(index=index, chunk=b"pairs", sender=sender)


async def test_recording_begins_after_the_state_before_the_node_hears_of_it(
    made: tuple[Snapshots, RestoringContract], desk: Desk
) -> None:
    snapshots, _ = made
    assert (await snapshots.offer(offer())).result == abci.OFFER_RESULT_ACCEPT
    assert (await snapshots.apply(chunk(0, "b"))).result == abci.APPLY_RESULT_ACCEPT
    assert desk.recorder.height == 0
    assert (await snapshots.apply(chunk(1, "c"))).result == abci.APPLY_RESULT_ACCEPT
    assert desk.recorder.height == HEIGHT
    assert desk.recorder.first_height == 0


@pytest.mark.parametrize("lie", [offer(height=HEIGHT + 1), offer(root=bytes(32))])
async def test_a_height_or_root_that_is_not_certified_never_reaches_contract(
    made: tuple[Snapshots, RestoringContract], lie: abci.RequestOfferSnapshot
) -> None:
    snapshots, contract = made
    assert (await snapshots.offer(lie)).result == abci.OFFER_RESULT_REJECT
    assert contract.offered == 0


async def test_nothing_is_restored_unless_a_sync_is_on(
    made: tuple[Snapshots, RestoringContract],
) -> None:
    snapshots, contract = made
    snapshots.sync(None)
    assert (await snapshots.offer(offer())).result == abci.OFFER_RESULT_REJECT
    assert contract.offered == 0


async def test_a_wrong_chunk_is_fetched_again_from_somebody_else(
    made: tuple[Snapshots, RestoringContract],
) -> None:
    snapshots, contract = made
    await snapshots.offer(offer())
    contract.refusal = Refused("another chunk", part="chunk", index=1)
    answer = await snapshots.apply(chunk(1, "liar"))
    assert answer.result == abci.APPLY_RESULT_RETRY
    assert list(answer.refetch_chunks) == [1]
    assert list(answer.reject_senders) == ["liar"]
    contract.refusal = None
    assert (await snapshots.apply(chunk(1, "c"))).result == abci.APPLY_RESULT_ACCEPT


async def test_who_sent_a_made_up_state_is_asked_no_more(
    made: tuple[Snapshots, RestoringContract], desk: Desk
) -> None:
    snapshots, contract = made
    await snapshots.offer(offer())
    await snapshots.apply(chunk(0, "a"))
    contract.refusal = Refused("its root is not the certified one", part="snapshot")
    answer = await snapshots.apply(chunk(1, "b"))
    assert answer.result == abci.APPLY_RESULT_REJECT_SNAPSHOT
    assert list(answer.reject_senders) == ["a", "b"]
    assert desk.recorder.height == 0


async def test_a_contract_that_restarted_meanwhile_is_offered_the_snapshot_again(
    made: tuple[Snapshots, RestoringContract],
) -> None:
    snapshots, contract = made
    await snapshots.offer(offer())
    contract.refusal = NothingOffered("no snapshot is being restored")
    answer = await snapshots.apply(chunk(0, "a"))
    assert answer.result == abci.APPLY_RESULT_RETRY_SNAPSHOT


async def test_a_state_that_was_restored_before_a_kill_is_not_restored_again(
    made: tuple[Snapshots, RestoringContract], desk: Desk
) -> None:
    snapshots, contract = made
    await snapshots.offer(offer())
    contract.committed = HEIGHT
    refused = await snapshots.offer(offer())
    assert refused.result == abci.OFFER_RESULT_REJECT  # SmallContract's root is another
    contract.root = ROOT
    assert (await snapshots.offer(offer())).result == abci.OFFER_RESULT_ACCEPT
    assert contract.offered == 1
    assert desk.recorder.height == HEIGHT
    assert (await snapshots.apply(chunk(0, "a"))).result == abci.APPLY_RESULT_ACCEPT


async def test_a_snapshot_is_offered_once_two_headers_after_it_are_certified(
    made: tuple[Snapshots, RestoringContract], desk: Desk
) -> None:
    snapshots, _ = made
    desk.proven.tip.move(Position(41, GENESIS.time_ns, ROOT, None))
    assert [one.height for one in (await snapshots.list()).snapshots] == [20]
    desk.proven.tip.move(Position(62, GENESIS.time_ns, ROOT, None))
    assert [one.height for one in (await snapshots.list()).snapshots] == [60, 40, 20]
    async with asyncio.timeout(20):
        running = asyncio.create_task(snapshots.run())
        await eventually(lambda: desk.proven.tip.snapshot_height == 60)
        running.cancel()
    assert desk.store.keep_after == 40
