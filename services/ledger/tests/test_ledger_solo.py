"""The solo engine: when blocks are made, and that a restart anywhere continues the same chain."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from typing import Any

import pytest

from cipherward_chain.comet import header_time_ns, parse_header
from cipherward_chain.light import LightClient
from cipherward_chain.testing import make_genesis
from cipherward_kit.testing import eventually
from cipherward_ledger.clock import NANOSECONDS
from cipherward_ledger.errors import GenesisDiffers, StoresDisagree


async def test_a_new_chain_has_a_fresh_proven_block_at_once(still_world: Any) -> None:
    world, manual = still_world
    async with world.ledger() as ledger:
        (block,) = await ledger.blocks(1, 1)
        newest = header_time_ns(parse_header(block.next_header))
        assert newest - manual.now_ns() <= NANOSECONDS // 100
        assert world.contract.applied == []


async def test_an_idle_chain_makes_an_empty_block_every_heartbeat(still_world: Any) -> None:
    world, manual = still_world
    async with world.ledger() as ledger:
        await ledger.blocks(1, 1)
        await eventually(lambda: world.contract.committed == 2)
        for height in (3, 4, 5):
            manual.advance(9.9)
            await asyncio.sleep(0)
            manual.advance(0.2)
            await eventually(lambda height=height: world.contract.committed == height)
        blocks = await ledger.blocks(1, 4)
    client = LightClient(world.genesis.trust_root())
    verified = [client.accept(block) for block in blocks]
    assert all(not block.transactions for block in verified)
    assert len({block.app_hash for block in verified}) == 1
    assert 10 <= (verified[3].time_ns - verified[2].time_ns) / NANOSECONDS <= 10.2


async def test_a_block_with_transactions_is_proven_at_once_without_a_heartbeat(
    still_world: Any,
) -> None:
    world, _ = still_world
    async with world.ledger() as ledger:
        await ledger.ready()
        await ledger.receipt(await ledger.submit(world.transaction()))
        await eventually(lambda: world.contract.committed == 4)
        await asyncio.sleep(0)
        assert (await ledger.status()).height == 4


async def test_block_times_increase_when_the_clock_is_set_back(still_world: Any) -> None:
    world, manual = still_world
    async with world.ledger() as ledger:
        await ledger.ready()
        await ledger.receipt(await ledger.submit(world.transaction()))
        later = world.transaction(seconds=500)
        manual.advance(-60)
        await ledger.receipt(await ledger.submit(later))
        client = LightClient(world.genesis.trust_root())
        times = [client.accept(block).time_ns for block in await ledger.blocks(1, 5)]
        assert times == sorted(set(times))
        await manual.sleeps(10)  # block 6, which proves the fifth, is made: the heart's next beat
        manual.advance(10.1)
        await eventually(lambda: world.contract.committed == 7)


async def test_a_restart_continues_the_same_chain(world: Any) -> None:
    client = LightClient(world.genesis.trust_root())
    for _ in range(3):
        async with world.ledger() as ledger:
            await ledger.ready()
            await ledger.receipt(await ledger.submit(world.transaction()))
    async with world.ledger() as ledger:
        await ledger.ready()
        newest = (await ledger.status()).height
        for block in await ledger.blocks(1, newest - 1):
            client.accept(block)
    assert client.height == newest - 1
    assert len(world.contract.applied) == 3


async def test_a_block_that_was_stored_but_not_executed_is_executed_once_after_a_restart(
    world: Any,
) -> None:
    async with world.ledger() as ledger:
        await ledger.ready()
        world.contract.gate.clear()
        transaction_id = await ledger.submit(world.transaction())
        await eventually(lambda: stored_height(world) == 3)
    assert world.contract.applied == []
    world.contract.gate.set()
    async with world.ledger() as ledger:
        await ledger.receipt(transaction_id)
    assert world.contract.applied == [transaction_id]


def stored_height(world: Any) -> int:
    with sqlite3.connect(world.database) as connection:
        (height,) = connection.execute("SELECT MAX(height) FROM blocks").fetchone()
    connection.close()
    return int(height)


@pytest.mark.parametrize("times", [1, 4])
async def test_a_contract_that_forgets_an_executed_block_executes_it_again(
    world: Any, times: int
) -> None:
    async with world.ledger() as ledger:
        await ledger.ready()
        world.contract.forgets = times
        transaction_id = await ledger.submit(world.transaction())
        await ledger.receipt(transaction_id)
        assert ledger.around.readiness.ready
    assert world.contract.applied == [transaction_id]
    assert world.contract.executions.count(3) == 1 + times


async def test_headers_name_the_machine_version_that_contract_has_answered(world: Any) -> None:
    async with world.ledger() as ledger:
        await ledger.ready()
        world.contract.machine_version = 2  # as the block that follows it is told
        await ledger.receipt(await ledger.submit(world.transaction()))
    async with world.ledger() as ledger:  # also from what contract has kept
        await ledger.ready()
        blocks = await ledger.blocks(1, 4)
    versions = [parse_header(block.next_header).version.app for block in blocks]
    assert versions == [1, 1, 2, 2]


async def test_a_contract_of_another_height_stops_the_start(world: Any) -> None:
    async with world.ledger() as ledger:
        await ledger.ready()
        await ledger.receipt(await ledger.submit(world.transaction()))
    elsewhere = dataclasses.replace(world, folder=world.folder / "empty")
    elsewhere.folder.mkdir()
    await refuses_to_start(elsewhere, StoresDisagree)
    world.contract.committed -= 2
    await refuses_to_start(world, StoresDisagree)


async def test_a_contract_with_another_state_at_the_same_height_stops_the_start(
    world: Any,
) -> None:
    async with world.ledger() as ledger:
        await ledger.ready()
        await ledger.receipt(await ledger.submit(world.transaction()))
    world.contract.pairs[b"forged"] = b"value"
    await refuses_to_start(world, StoresDisagree)


async def test_another_genesis_stops_the_start(world: Any) -> None:
    async with world.ledger() as ledger:
        await ledger.ready()
    genesis, keys = make_genesis(time_ns=world.genesis.time_ns)
    changed = dataclasses.replace(world, genesis=genesis, keys=keys)
    await refuses_to_start(changed, GenesisDiffers)  # our own folder says so
    changed.folder = world.folder / "empty"
    changed.folder.mkdir()
    await refuses_to_start(changed, GenesisDiffers)  # contract says so


async def refuses_to_start(world: Any, expected: type[Exception]) -> None:
    async def start() -> None:
        async with world.ledger() as ledger:
            await ledger.ready()

    with pytest.raises((expected, ExceptionGroup)) as refused:
        await start()
    assert expected in set(kinds(refused.value))


def kinds(error: BaseException) -> list[type[BaseException]]:
    inner: tuple[BaseException, ...] = getattr(error, "exceptions", ())  # of a group
    return [kind for one in inner for kind in kinds(one)] if inner else [type(error)]
