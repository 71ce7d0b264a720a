"""The outbox: what was answered is never lost, and what expires is said to have."""

from __future__ import annotations

import dataclasses
import sqlite3
from typing import Any

from cipherward_kit.testing import eventually
from cipherward_ledger.mempool import Bounds
from cipherward_ledger.outbox import EXPIRY_SECONDS


async def test_what_was_admitted_survives_a_restart(world: Any) -> None:
    async with world.ledger() as ledger:
        await ledger.ready()
        world.contract.gate.clear()
        ids = [await ledger.submit(content) for content in world.transactions(5)]
    world.contract.gate.set()
    async with world.ledger() as ledger:
        for transaction_id in ids:
            await ledger.receipt(transaction_id)
    assert world.contract.applied == ids


async def test_a_block_takes_its_transactions_from_the_outbox_in_the_same_commit(
    world: Any, ledger: Any
) -> None:
    for verdict in await ledger.submit_batch(world.transactions(7)):
        await ledger.receipt(verdict.transaction_id)
    assert rows(world, "outbox") == 0
    assert rows(world, "transactions") == 7


async def nothing_waits(ledger: Any) -> None:
    async def check() -> bool:
        return (await ledger.status()).pending == 0

    await eventually(check)


def rows(world: Any, table: str) -> int:
    connection = sqlite3.connect(world.database)
    (count,) = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
    connection.close()
    return int(count)


async def test_what_expires_without_a_block_is_said_to_have_expired(
    still_world: Any, reason_of_call: Any
) -> None:
    world, manual = still_world
    expired = "FAILED_PRECONDITION/TRANSACTION_EXPIRED"
    async with world.ledger() as ledger:
        await ledger.ready()
        world.contract.gate.clear()
        first = await ledger.submit(world.transaction())
        await nothing_waits(ledger)  # it is in the block that stands
        lost = await ledger.submit(world.transaction(seconds=30))
        late = world.transaction(seconds=30)
        await manual.sleeps(EXPIRY_SECONDS)
        manual.advance(31)
        await eventually(lambda: rows(world, "expired") == 1)
        assert await reason_of_call(ledger.receipt(lost)) == expired
        assert await reason_of_call(ledger.submit(late)) == expired
        world.contract.gate.set()
        await ledger.receipt(first)
    async with world.ledger() as ledger:  # and it is remembered
        await ledger.ready()
        assert await reason_of_call(ledger.receipt(lost)) == expired
    assert world.contract.applied == [first]


async def test_a_committed_transaction_is_still_known_after_its_expiry(
    still_world: Any, reason_of_call: Any
) -> None:
    world, manual = still_world
    content = world.transaction(seconds=30)
    async with world.ledger() as ledger:
        await ledger.ready()
        transaction_id = await ledger.submit(content)
        await ledger.receipt(transaction_id)
        manual.advance(60)
        assert await ledger.submit(content) == transaction_id
        again = world.authorized_again(content, world.member("hospital-b"))
        assert (
            await reason_of_call(ledger.submit(again)) == "FAILED_PRECONDITION/TRANSACTION_EXPIRED"
        )
    assert world.contract.applied == [transaction_id]


async def test_what_expires_while_the_ledger_is_down_is_dropped_at_its_start(
    still_world: Any, reason_of_call: Any
) -> None:
    world, manual = still_world
    async with world.ledger() as ledger:
        await ledger.ready()
        world.contract.gate.clear()
        first = await ledger.submit(world.transaction())
        await nothing_waits(ledger)
        lost = await ledger.submit(world.transaction(seconds=30))
    manual.advance(60)
    world.contract.gate.set()
    async with world.ledger() as ledger:
        await ledger.receipt(first)
        expected = "FAILED_PRECONDITION/TRANSACTION_EXPIRED"
        assert await reason_of_call(ledger.receipt(lost)) == expected


async def test_a_changed_byte_in_the_outbox_never_reaches_a_block(
    world: Any, reason_of_call: Any
) -> None:
    async with world.ledger() as ledger:
        await ledger.ready()
        world.contract.gate.clear()
        first = await ledger.submit(world.transaction())
        await nothing_waits(ledger)
        broken = await ledger.submit(world.transaction())
        sound = await ledger.submit(world.transaction())
    connection = sqlite3.connect(world.database)
    one = (broken,)
    (content,) = connection.execute("SELECT content FROM outbox WHERE id = ?", one).fetchone()
    flipped = bytes((*content[:-1], content[-1] ^ 1))
    with connection:
        connection.execute("UPDATE outbox SET content = ? WHERE id = ?", (flipped, broken))
    connection.close()
    world.contract.gate.set()
    async with world.ledger() as ledger:
        await ledger.receipt(sound)
        assert await reason_of_call(ledger.receipt(broken)) == "NOT_FOUND/TRANSACTION_UNKNOWN"
    assert world.contract.applied == [first, sound]


async def test_room_is_given_back_when_blocks_take_what_waited(world: Any) -> None:
    small = dataclasses.replace(world, pending=Bounds(count=4, size=1024 * 1024))
    async with small.ledger() as ledger:
        await ledger.ready()
        for _ in range(5):
            verdicts = await ledger.submit_batch(small.transactions(4))
            for verdict in verdicts:
                await ledger.receipt(verdict.transaction_id)
    assert len(small.contract.applied) == 20
