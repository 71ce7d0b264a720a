"""A chain whose one validator is a real node: blocks, receipts, heartbeats, and kills."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cipherward_chain.comet import parse_header
from cipherward_chain.light import LightClient
from cipherward_chain.receipts import verify_receipt
from cipherward_kit.testing import eventually
from tests.servers.comet_alliance import CometAlliance, Member, connected
from tests.servers.need import need

pytestmark = pytest.mark.servers

MEMBER = "hospital-a"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CometAlliance]:
    """A chain of one validator with a heartbeat of a second; its data folder has a long name."""
    need("cometbft")
    folder = tmp_path_factory.mktemp("a-folder-whose-name-alone-is-longer-than-any-socket-path" * 2)
    alliance = CometAlliance.make(folder, 1, heartbeat_seconds=1)
    alliance.start_all()
    yield alliance
    alliance.stop_all()


@pytest.fixture
async def member(alone: CometAlliance) -> AsyncIterator[Member]:
    async with connected(alone) as members:
        await members[MEMBER].reached(2)
        yield members[MEMBER]


def alive(pid: int | None) -> bool:
    return Path(f"/proc/{pid}").exists()


async def commit(member: Member) -> int:
    """Have a transaction committed and its receipt verified; return its block's height."""
    content = member.alliance.transaction()
    receipt = await member.receipt(await member.submit(content))
    verified = verify_receipt(receipt, member.alliance.genesis.trust_root())
    assert verified.transaction.raw == content
    assert verified.result.reason == ""
    return verified.height


async def test_a_committed_transaction_has_a_receipt_that_verifies(member: Member) -> None:
    first = await commit(member)
    assert await commit(member) > first


async def test_the_stream_is_accepted_by_the_light_client(member: Member) -> None:
    height = await commit(member)
    client = LightClient(member.alliance.genesis.trust_root())
    for block in await member.blocks(1, height):
        client.accept(block)


async def test_an_idle_chain_makes_a_block_every_heartbeat(member: Member) -> None:
    before = await member.height()
    await member.reached(before + 3)
    headers = [parse_header(block.header) for block in await member.blocks(before, 3)]
    assert not any((await member.blocks(before + 1, 1))[0].transactions)
    assert headers[0].app_hash == headers[2].app_hash
    status = await member.status()
    assert (status.engine, status.first_height, status.catching_up) == ("cometbft", 1, False)


async def test_a_killed_node_is_started_again_and_nothing_is_lost(member: Member) -> None:
    alone = member.alliance
    before = alone.node_pid(MEMBER)
    alone.kill_node(MEMBER)
    await commit(member)
    assert alone.node_pid(MEMBER) not in (None, before)


async def test_a_killed_contract_is_waited_for(member: Member) -> None:
    alone = member.alliance
    await asyncio.to_thread(alone.kill, MEMBER, "contract")
    alone.start(MEMBER, "contract")
    await commit(member)


async def test_a_killed_ledger_takes_its_node_along_and_goes_on_where_it_was(
    member: Member,
) -> None:
    alone = member.alliance
    content = alone.transaction()
    submitted = await member.submit(content)
    node = alone.node_pid(MEMBER)
    assert node is not None
    await asyncio.to_thread(alone.kill, MEMBER, "ledger")
    await eventually(lambda: not alive(node))
    alone.start(MEMBER, "ledger")
    await member.reached(2)
    receipt = await member.receipt(submitted)
    assert verify_receipt(receipt, alone.genesis.trust_root()).transaction.raw == content
    await commit(member)


@pytest.mark.parametrize("victim", ["contract", "ledger", "node"])
async def test_kills_under_load_lose_nothing_and_apply_nothing_twice(
    member: Member, victim: str
) -> None:
    alone = member.alliance
    contents = [alone.transaction() for _ in range(60)]
    ids: list[bytes] = []
    for at, content in enumerate(contents):
        ids.append(await member.submit(content))
        if at % 20 == 10:
            if victim == "node":
                await eventually(lambda: alone.node_pid(MEMBER) is not None)
                alone.kill_node(MEMBER)
            else:
                await asyncio.to_thread(alone.kill, MEMBER, victim)
                alone.start(MEMBER, victim)
    for one in ids:
        verify_receipt(await member.receipt(one), alone.genesis.trust_root())
    blocks = await member.blocks(1, (await member.status()).height - 1)
    committed = [raw for block in blocks for raw in block.transactions]
    assert all(committed.count(content) == 1 for content in contents)


async def test_a_stopped_ledger_ends_its_node_in_order(member: Member) -> None:
    alone = member.alliance
    node = alone.node_pid(MEMBER)
    began = time.monotonic()
    await asyncio.to_thread(alone.stop, MEMBER, "ledger")
    assert not alive(node)
    assert time.monotonic() - began < 8  # the node's own stop, or its three seconds
    alone.start(MEMBER, "ledger")
    await commit(member)


async def test_a_node_that_hangs_is_killed_and_replaced(member: Member) -> None:
    alone = member.alliance
    node = alone.node_pid(MEMBER)
    assert node is not None
    os.kill(node, signal.SIGSTOP)
    await asyncio.to_thread(alone.stop, MEMBER, "ledger")
    assert not alive(node)
    alone.start(MEMBER, "ledger")
    await commit(member)


async def test_lost_state_is_replayed_from_the_nodes_blocks(member: Member) -> None:
    alone = member.alliance
    height = await commit(member)
    state = await member.app_hash_at(height)
    for service in ("ledger", "contract"):
        await asyncio.to_thread(alone.stop, MEMBER, service)
    for file in alone.data_dir(MEMBER, "contract").glob("state.db*"):
        file.unlink()
    alone.start(MEMBER, "contract")
    alone.start(MEMBER, "ledger")
    await commit(member)
    assert await member.app_hash_at(height) == state


async def test_a_node_that_is_silent_for_a_while_is_waited_for(member: Member) -> None:
    """It neither loses blocks nor makes the ledger stop; what was submitted meanwhile follows."""
    alone = member.alliance
    node = alone.node_pid(MEMBER)
    assert node is not None
    os.kill(node, signal.SIGSTOP)
    submitted = await member.submit(alone.transaction())
    await asyncio.sleep(6)  # longer than a call to the node may take
    os.kill(node, signal.SIGCONT)
    verify_receipt(await member.receipt(submitted), alone.genesis.trust_root())
    assert alone.node_pid(MEMBER) == node
