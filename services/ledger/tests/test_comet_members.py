"""Four members, each with its own ledger, contract and node: agreement, absence and strangers."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cipherward_chain.light import LightClient
from cipherward_chain.receipts import verify_receipt
from cipherward_chain.testing_state import MemoryState
from cipherward_kit.testing import eventually
from tests.servers.comet_alliance import CometAlliance, Member, connected
from tests.servers.comet_stranger import stranger
from tests.servers.need import need

pytestmark = pytest.mark.servers

HEARTBEAT_SECONDS = 2
A, B, C, D = "hospital-a", "hospital-b", "hospital-c", "hospital-d"
NODE_REFUSED = 34  # exit status


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CometAlliance]:
    need("cometbft")
    folder = tmp_path_factory.mktemp("four")
    alliance = CometAlliance.make(folder, 4, heartbeat_seconds=HEARTBEAT_SECONDS)
    alliance.start_all()
    yield alliance
    alliance.stop_all()


@pytest.fixture
async def members(four: CometAlliance) -> AsyncIterator[dict[str, Member]]:
    async with connected(four) as found:
        for member in found.values():
            await member.reached(2)
        yield found


async def commit(member: Member) -> int:
    """Have a transaction committed through a member's ledger; return its block's height."""
    content = member.alliance.transaction(member.name)
    receipt = await member.receipt(await member.submit(content))
    verified = verify_receipt(receipt, member.alliance.genesis.trust_root())
    assert verified.transaction.raw == content
    return verified.height


async def start(member: Member, *services: str) -> None:
    for service in services:
        member.alliance.start(member.name, service)


async def kill(member: Member, *services: str) -> None:
    for service in services:
        await asyncio.to_thread(member.alliance.kill, member.name, service)


async def agree(members: dict[str, Member]) -> None:
    """Commit through every ledger; then all have the same state."""
    height = max([await commit(member) for member in members.values()])
    for member in members.values():
        await member.reached(height + 1)
    assert len({await member.app_hash_at(height) for member in members.values()}) == 1


async def test_every_ledger_admits_and_all_agree(members: dict[str, Member]) -> None:
    await agree(members)


async def test_every_stream_is_accepted_by_the_light_client(members: dict[str, Member]) -> None:
    height = await commit(members[A])
    roots: set[bytes] = set()
    for member in members.values():
        client = LightClient(member.alliance.genesis.trust_root())
        await member.reached(height + 1)
        verified = [client.accept(block) for block in await member.blocks(1, height)]
        roots.add(verified[-1].header_hash)
    assert len(roots) == 1


async def test_one_of_four_away_is_not_missed_and_catches_up(members: dict[str, Member]) -> None:
    absent = members[D]
    await kill(absent, "ledger")
    height = await commit(members[A])
    await start(absent, "ledger")
    await absent.reached(height)
    await agree(members)


async def test_two_of_four_away_halt_the_chain_until_one_is_back(
    members: dict[str, Member],
) -> None:
    await kill(members[C], "ledger")
    await kill(members[D], "ledger")
    content = members[A].alliance.transaction()
    submitted = await members[A].submit(content)
    before = await members[A].height()
    await asyncio.sleep(2 * HEARTBEAT_SECONDS)
    assert await members[A].height() <= before + 1  # a block was perhaps on its way
    await start(members[C], "ledger")
    verify_receipt(await members[A].receipt(submitted), members[A].alliance.genesis.trust_root())
    await start(members[D], "ledger")
    await agree(members)


async def test_a_contract_that_is_away_stops_its_own_member_only(
    members: dict[str, Member],
) -> None:
    await kill(members[B], "contract")
    height = await commit(members[A])
    await start(members[B], "contract")
    await members[B].reached(height)
    await agree(members)


async def test_a_strangers_node_gets_no_block(
    members: dict[str, Member], four: CometAlliance, tmp_path: Path
) -> None:
    await commit(members[A])
    async with stranger(four, tmp_path) as node:
        await eventually(lambda: node.refusals() >= len(members), seconds=30)
        assert await node.height() == 0
    await agree(members)


async def test_a_corrupted_member_stops_alone_and_says_why(members: dict[str, Member]) -> None:
    broken = members[D]
    four = broken.alliance
    for service in ("ledger", "contract"):
        await asyncio.to_thread(four.stop, D, service)
    with sqlite3.connect(four.data_dir(D, "contract") / "state.db") as database:
        database.execute("DELETE FROM state WHERE key >= ? AND key < ?", (b"tx/", b"tx0"))
        pairs = dict(database.execute("SELECT key, value FROM state").fetchall())
        forged = MemoryState()
        forged.write(pairs)
        database.execute("UPDATE committed SET app_hash = ?", (forged.root(),))
    database.close()
    await start(broken, "contract", "ledger")
    await eventually(lambda: four.ended(D, "ledger") is not None, seconds=60)
    said = (four.folder / f"{D}.ledger.log").read_text()
    assert four.ended(D, "ledger") == NODE_REFUSED, said[-2_000:]
    assert "state.AppHash does not match AppHash" in said.splitlines()[-1]
    await commit(members[A])
