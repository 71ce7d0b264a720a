"""kill -9 of `cipherward dev` and of each of its processes, under load, at random instants."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpc import aio

from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.sdk.ledger import Submitter
from cipherward_kit.channels import open_channel
from cipherward_kit.tls import Identity, TrustRegistry
from tests.soak.dev_alliance import DEV, DevAlliance, until
from tests.soak.load import BATCH, Load, under_load
from tests.soak.reexecution import reexecuted

SEED = 20_260_923
KILLS = 20
DEV_KILLS = 6  # the other 14: each service once
INSTANT_SECONDS = 2.0  # a kill comes within so long after everything was ready
PROGRESS_SECONDS = 120.0
AT_ONCE = 16
CALL_SECONDS = 10.0

pytestmark = pytest.mark.soak


@pytest.fixture
async def dev(tmp_path: Path) -> AsyncIterator[DevAlliance]:
    """A development alliance that is gone at the end, whatever happens."""
    made = DevAlliance(tmp_path)
    try:
        yield made
    finally:
        made.close()


async def test_twenty_kills_lose_nothing_apply_nothing_twice_and_leave_no_orphan(
    dev: DevAlliance, tmp_path: Path
) -> None:
    await dev.start()
    victims = [*sorted(dev.services()), *[DEV] * DEV_KILLS]
    assert len(victims) == KILLS
    choose = random.Random(SEED)  # noqa: S311 - victims and instants, so that a failure repeats
    choose.shuffle(victims)
    print(f"\nseed {SEED}")
    async with under_load(dev.folder, SEED) as load:
        for number, victim in enumerate(victims, 1):
            await progress(load)
            instant = choose.uniform(0, INSTANT_SECONDS)
            await asyncio.sleep(instant)  # the random instant is the test
            seconds = await dev.kill(victim)
            print(
                f"kill {number:2} {victim:20} after {instant:.2f} s, ready in {seconds:.1f} s; "
                f"acknowledged {len(load.acknowledged)} transactions, {len(load.records)} records"
            )
        await progress(load)
        load.stop.set()
        await everything_is_there(load)
        app_hash = await same_app_hash(dev.folder, load, tmp_path)
        await dev.kill(DEV)
        assert await same_app_hash(dev.folder, load, tmp_path / "again") == app_hash
    assert await asyncio.to_thread(dev.stop) == 0
    assert dev.left_over() == []
    print(
        f"{len(load.acknowledged)} transactions and {len(load.records)} records acknowledged, "
        f"{load.interrupted} calls interrupted; {len(load.chain.blocks)} blocks re-executed"
    )


async def progress(load: Load) -> None:
    """Wait until the load has gone on: a batch more is acknowledged and in the chain."""
    wanted = len(load.acknowledged) + BATCH
    await until(lambda: len(load.acknowledged) >= wanted, PROGRESS_SECONDS, "no transaction")


async def everything_is_there(load: Load) -> None:
    """Every acknowledged transaction is proven and applied once, every record opens."""
    chain = load.chain
    missing = load.acknowledged - set(chain.applied)
    await until(
        lambda: load.acknowledged <= set(chain.applied),
        PROGRESS_SECONDS,
        f"{len(missing)} acknowledged transactions are not in the chain",
    )
    assert not chain.twice
    assert all(chain.applied[name] for name in load.acknowledged)
    assert len(load.acknowledged) >= KILLS * BATCH
    assert len(load.records) >= KILLS
    places = asyncio.Semaphore(AT_ONCE)

    async def receipt(name: bytes) -> None:
        async with places:
            assert (await Submitter(load.alliance).receipt(name)).result.applied

    async def record(number: int) -> None:
        async with places:
            assert await load.reopened(load.records[number])

    async with asyncio.TaskGroup() as group:
        for name in load.acknowledged:
            group.create_task(receipt(name))
    async with asyncio.TaskGroup() as group:
        for number in range(len(load.records)):
            group.create_task(record(number))


async def same_app_hash(folder: AllianceFolder, load: Load, fresh: Path) -> bytes:
    """Chain, contract and an execution from the genesis agree; return the app hash of all."""
    async with contract_of(folder, load) as channel:
        async with asyncio.timeout(PROGRESS_SECONDS):
            committed, newest = await standing(load, channel)
    blocks = load.chain.blocks[:newest]
    assert blocks[-1].app_hash == committed.app_hash
    assert [block.height for block in blocks] == list(range(1, newest + 1))
    await asyncio.to_thread(fresh.mkdir, exist_ok=True)
    document = folder.genesis_file.read_bytes()
    assert await reexecuted(fresh, document, blocks) == committed.app_hash
    return committed.app_hash


async def standing(
    load: Load, channel: aio.Channel
) -> tuple[contract_pb.GetCommittedResponse, int]:
    """Return where contract stands when the newest proven block is the last that changed it.

    Reports of opened records still come in for a moment: only a chain that has come to rest has an
    unproven block that is empty, with the app hash of the one before.
    """
    stub, ledger = ContractServiceStub(channel), load.alliance.ledger
    while True:
        committed = await stub.GetCommitted(
            contract_pb.GetCommittedRequest(), timeout=CALL_SECONDS, wait_for_ready=True
        )
        status = await ledger.GetStatus(ledger_pb.GetStatusRequest(), timeout=CALL_SECONDS)
        newest = load.chain.blocks[-1]
        rests = committed.height == status.height == newest.height + 1 and not status.pending
        if rests and newest.app_hash == committed.app_hash:
            return committed, newest.height
        await asyncio.sleep(0.05)


def contract_of(folder: AllianceFolder, load: Load) -> aio.Channel:
    """Return a channel to contract as its ledger, which alone may ask where it stands."""
    member = load.alliance.endpoints.ledger_member
    members = load.alliance.genesis.members.values()
    return open_channel(
        load.alliance.endpoints.of(member, "contract").listen,
        identity=Identity.from_files(*folder.member(member).certificate("ledger")),
        registry=TrustRegistry({m.id: m.ca_certificate.encode() for m in members}),
        peer_member=member,
        peer_service="contract",
    )
