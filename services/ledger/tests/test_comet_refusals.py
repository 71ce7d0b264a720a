"""What a node cannot start from, and the lock that the throughput profile has on strangers."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cipherward_chain.receipts import verify_receipt
from cipherward_kit.testing import eventually
from tests.servers.comet_alliance import CometAlliance, Member, connected
from tests.servers.comet_stranger import stranger
from tests.servers.need import need

pytestmark = pytest.mark.servers

MEMBER = "hospital-a"
NODE_REFUSED = 34  # exit status


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[CometAlliance]:
    need("cometbft")
    alliance = CometAlliance.make(tmp_path, 1)
    yield alliance
    alliance.stop_all()


async def refused(alliance: CometAlliance) -> str:
    """Return the sentence with which the ledger ends because its node refuses."""
    await eventually(lambda: alliance.ended(MEMBER, "ledger") is not None, seconds=60)
    said = (alliance.folder / f"{MEMBER}.ledger.log").read_text()
    assert alliance.ended(MEMBER, "ledger") == NODE_REFUSED, said[-2_000:]
    return said.splitlines()[-1]


async def test_a_port_that_is_taken_is_said(alone: CometAlliance) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", alone.ports[MEMBER]["p2p"]))
        taken.listen()
        alone.start_all()
        assert "address already in use" in await refused(alone)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CometAlliance]:
    need("cometbft")
    settings = {"consensus_profile": "throughput"}
    folder = tmp_path_factory.mktemp("two")
    alliance = CometAlliance.make(folder, 2, heartbeat_seconds=2, settings=settings)
    alliance.start_all()
    yield alliance
    alliance.stop_all()


@pytest.fixture
async def members(two: CometAlliance) -> AsyncIterator[dict[str, Member]]:
    async with connected(two) as found:
        for member in found.values():
            await member.reached(2)
        yield found


async def commit(member: Member) -> None:
    content = member.alliance.transaction(member.name)
    receipt = await member.receipt(await member.submit(content))
    verify_receipt(receipt, member.alliance.genesis.trust_root())


async def test_the_throughput_profile_commits(members: dict[str, Member]) -> None:
    for member in members.values():
        await commit(member)


async def test_the_filter_alone_keeps_a_stranger_out(
    members: dict[str, Member], two: CometAlliance, tmp_path: Path
) -> None:
    async with stranger(two, tmp_path) as node:
        logs = [two.folder / f"{name}.ledger.log" for name in members]
        # Whoever was dialled by the other has no slot left; the other asks its application.
        await eventually(lambda: any("peer_refused" in log.read_text() for log in logs), seconds=30)
        await eventually(lambda: node.refusals() >= len(members), seconds=30)
        assert await node.height() == 0
    for member in members.values():
        await commit(member)


async def test_a_node_that_has_lost_its_blocks_does_not_begin_another_chain(
    alone: CometAlliance,
) -> None:
    alone.start_all()
    async with connected(alone) as members:
        await commit(members[MEMBER])
    await asyncio.to_thread(alone.stop, MEMBER, "ledger")
    await asyncio.to_thread(shutil.rmtree, alone.data_dir(MEMBER, "ledger") / "node")
    alone.start(MEMBER, "ledger")
    assert "do not fit together" in await refused(alone)
