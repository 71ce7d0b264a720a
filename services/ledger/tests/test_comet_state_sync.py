"""A member that has lost its ledger and contract is back from another's snapshot; lies are refused.

Four real nodes, an alliance for the whole module. Its snapshots are small, so what takes time here
is CometBFT's own search for them, five seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cipherward_chain.light import LightClient
from cipherward_chain.receipts import verify_receipt
from cipherward_kit.testing import MEMBERS, eventually
from tests.servers.comet_alliance import SERVICES, CometAlliance, Member, connected
from tests.servers.need import need

pytestmark = pytest.mark.servers

A, B, C, D = MEMBERS[:4]
SNAPSHOT_BLOCKS = 40
LONG_AGO = 130  # blocks: enough for a state sync, with a snapshot among the last
SYNC_SECONDS = 60.0


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CometAlliance]:
    need("cometbft")
    alliance = CometAlliance.make(tmp_path_factory.mktemp("sync"), 4)
    alliance.contract_settings = {"snapshot_blocks": SNAPSHOT_BLOCKS}
    alliance.start_all()
    yield alliance
    alliance.stop_all()


@pytest.fixture
async def members(four: CometAlliance) -> AsyncIterator[dict[str, Member]]:
    async with connected(four) as found:
        for member in found.values():
            await member.reached(2)
        await grow(found[A], LONG_AGO)
        yield found


async def grow(member: Member, height: int) -> bytes:
    """Have blocks made up to a height; return the id of the last transaction."""
    submitted = await member.submit(member.alliance.transaction())
    while await member.height() < height:
        submitted = await member.submit(member.alliance.transaction())
        await member.receipt(submitted)
    return submitted


async def wipe(member: Member) -> None:
    """Lose everything that the member's ledger and contract have, its keys apart."""
    alliance = member.alliance
    for service in SERVICES:
        await asyncio.to_thread(alliance.stop, member.name, service)
        await asyncio.to_thread(shutil.rmtree, alliance.data_dir(member.name, service))


async def back(member: Member, height: int) -> float:
    """Start a wiped member; return after how many seconds it stood at `height`."""
    began = time.monotonic()
    for service in SERVICES:
        await asyncio.to_thread(member.alliance.start, member.name, service)
    await member.reached(height, SYNC_SECONDS)
    return time.monotonic() - began


def said(member: Member, event: str, service: str = "ledger") -> int:
    """Return how often the log of a member's service says something."""
    log = (member.alliance.folder / f"{member.name}.{service}.log").read_text()
    return log.count(event)


async def test_a_wiped_member_is_back_from_a_snapshot_and_votes(
    members: dict[str, Member], four: CometAlliance
) -> None:
    lost = members[D]
    await wipe(lost)
    height = await members[A].height()
    seconds = await back(lost, height)
    assert seconds < SYNC_SECONDS
    assert said(lost, "state_restored") == 1
    status = await lost.status()
    assert status.first_height > SNAPSHOT_BLOCKS  # it has not fetched the old blocks
    assert status.snapshot_height in (0, *range(status.first_height - 1, status.height))

    # At the next height it may have voted before it was wiped, so that one is the others'.
    await grow(members[A], height + 2)
    # Three of four are a quorum only if it takes turns as the others do.
    await asyncio.to_thread(four.kill, C, "ledger")
    submitted = await grow(lost, await lost.height() + 12)
    verify_receipt(await lost.receipt(submitted), four.genesis.trust_root())
    await asyncio.to_thread(four.start, C, "ledger")
    top = min(await lost.height(), await members[A].height())
    assert await lost.app_hash_at(top) == await members[A].app_hash_at(top)


async def test_its_followers_get_the_blocks_before_the_snapshot_from_the_others(
    members: dict[str, Member], four: CometAlliance
) -> None:
    synced = members[D]
    status = await synced.status()
    assert status.served_from_height == 1 < status.first_height
    client = LightClient(four.genesis.trust_root())
    for block in await synced.blocks(1, status.first_height + 3):
        client.accept(block)
    assert client.height == status.first_height + 3


async def test_a_made_up_state_that_most_offer_is_refused_and_an_honest_one_taken(
    members: dict[str, Member], four: CometAlliance
) -> None:
    lost = members[D]
    await eventually(lambda: newest_snapshot(four, A) == newest_snapshot(four, B), seconds=30)
    await wipe(lost)
    height = await members[C].height()
    for member in (A, B, C):
        keep_one_snapshot(four, member)
    for member in (A, B):  # so that the node prefers it to the one of C
        lie_about_the_state(four, member)
    restored = said(lost, "state_restored")
    await back(lost, height)
    assert said(lost, "NOT_THE_CERTIFIED_STATE") == 1
    assert said(lost, "state_restored") == restored + 1
    top = min(await lost.height(), await members[C].height())
    assert await lost.app_hash_at(top) == await members[C].app_hash_at(top)


# Did not come back in time once in three runs, cause not found: a defect that soak shows, see the
# closing notes; not for CI until it is understood.
@pytest.mark.soak
async def test_a_ledger_killed_once_the_state_is_restored_goes_on_from_it(
    members: dict[str, Member], four: CometAlliance
) -> None:
    lost = members[D]
    for member in (A, B, C):  # what the test before has made of them
        shutil.rmtree(snapshots_of(four, member))
        snapshots_of(four, member).mkdir()
    made = said(members[A], "snapshot_made", "contract")
    await grow(members[A], await members[A].height() + SNAPSHOT_BLOCKS + 2)
    await eventually(lambda: said(members[A], "snapshot_made", "contract") > made, seconds=30)
    await wipe(lost)
    height = await members[A].height()
    restored = said(lost, "state_restored")
    for service in SERVICES:
        await asyncio.to_thread(four.start, D, service)
    await eventually(lambda: said(lost, "state_restored") > restored, seconds=SYNC_SECONDS)
    await asyncio.to_thread(four.kill, D, "ledger")
    await asyncio.to_thread(four.start, D, "ledger")
    await lost.reached(height, SYNC_SECONDS)
    assert (await lost.status()).first_height > SNAPSHOT_BLOCKS
    submitted = await grow(lost, height + 4)
    verify_receipt(await lost.receipt(submitted), four.genesis.trust_root())


def snapshots_of(alliance: CometAlliance, member: str) -> Path:
    return alliance.data_dir(member, "contract") / "snapshots"


def newest_snapshot(alliance: CometAlliance, member: str) -> int:
    return max(int(path.stem) for path in snapshots_of(alliance, member).glob("*.pairs"))


def keep_one_snapshot(alliance: CometAlliance, member: str) -> None:
    newest = newest_snapshot(alliance, member)
    for path in snapshots_of(alliance, member).iterdir():
        if path.stem != str(newest):
            path.unlink()


def lie_about_the_state(alliance: CometAlliance, member: str) -> None:
    """Serve another state under digests that fit it."""
    path = snapshots_of(alliance, member) / f"{newest_snapshot(alliance, member)}.pairs"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # of the last pair's value
    path.write_bytes(content)
    digests = path.with_suffix(".digests")
    assert len(digests.read_bytes()) == hashlib.sha256().digest_size  # one chunk
    digests.write_bytes(hashlib.sha256(content).digest())
