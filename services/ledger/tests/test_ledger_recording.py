"""The recorder: decided blocks in order, once each, proven by the next; and what they are held to.

The blocks are signed by four validators with real keys, whose set changes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cipherward.chain.v1 import transaction_pb2 as tx_pb
from cipherward_chain.comet import ValidatorSet, parse_commit, parse_header
from cipherward_chain.light import LightClient, verify_commit
from cipherward_chain.receipts import verify_receipt
from cipherward_chain.testing import make_genesis
from cipherward_chain.wire import exact_bytes
from cipherward_kit.testing import eventually
from cipherward_ledger.clock import NANOSECONDS
from cipherward_ledger.errors import (
    BlockCorrupt,
    BlockPruned,
    BlockUnknown,
    NotYetProven,
    StoreCorrupt,
    StoresDisagree,
    TransactionExpired,
)
from cipherward_ledger.mempool import Entry
from cipherward_ledger.outbox import Standing
from cipherward_ledger.testing import ManualClock, id_of
from cipherward_ledger.testing_chain import Decided, DecidedChain, open_desk

GENESIS, KEYS = make_genesis(members=4, engine="cometbft")


@pytest.fixture
def chain() -> DecidedChain:
    return DecidedChain(GENESIS, KEYS)


@pytest.fixture
def changing(chain: DecidedChain) -> DecidedChain:
    """Thirteen blocks, a transaction in every other; a fifth validator comes, another one goes."""
    for height in range(1, 14):
        powers = {3: {"newcomer": 10}, 7: {"hospital-b/consensus": 0}}.get(height)
        chain.decide([chain.transaction()] if height % 2 else [], powers=powers, absent=1)
    return chain


def entry_of(content: bytes) -> Entry:
    digest = hashlib.sha256(content).digest()
    return Entry(id_of(content), digest, content, GENESIS.time_ns * 2)


async def test_every_receipt_across_two_changes_of_the_validators_verifies_from_the_genesis(
    changing: DecidedChain, tmp_path: Path
) -> None:
    async with open_desk(tmp_path, GENESIS) as desk:
        await desk.record(*changing.blocks)
    async with open_desk(tmp_path, GENESIS) as desk:  # from what is on disk
        changes: dict[int, int] = {}
        for decided in changing.blocks[:-1]:
            for content in decided.block.transactions:
                receipt = await desk.receipts.get(id_of(content), None)
                verified = verify_receipt(exact_bytes(receipt), GENESIS.trust_root())
                assert verified.transaction.raw == content
                assert verified.height == decided.block.height
                changes[verified.height] = len(receipt.validator_changes)
    # The set changes at 5 and at 9; the receipt of h is signed by the set of h + 1.
    assert changes == {1: 0, 3: 0, 5: 1, 7: 1, 9: 2, 11: 2}
    assert len(await desk.recorder.changes()) == 2


async def test_a_light_client_follows_what_is_served_from_memory_and_from_disk_alike(
    changing: DecidedChain, tmp_path: Path
) -> None:
    served: list[list[bytes]] = []
    for turn in range(2):
        async with open_desk(tmp_path, GENESIS) as desk:
            if not turn:
                await desk.record(*changing.blocks)
            client = LightClient(GENESIS.trust_root())
            blocks = [await desk.proven.get(height) for height in range(1, 13)]
            for block in blocks:
                client.accept(block)
            assert client.height == 12
            served.append([exact_bytes(block) for block in blocks])
    assert served[0] == served[1]


async def test_light_blocks_carry_the_set_that_signed_them(
    changing: DecidedChain, tmp_path: Path
) -> None:
    async with open_desk(tmp_path, GENESIS) as desk:
        with pytest.raises(BlockUnknown):
            await desk.proven.light(0)
        await desk.record(*changing.blocks)
        for height in (*range(1, 14), 0):  # 0 asks for the newest
            light = await desk.proven.light(height)
            header = parse_header(light.header)
            assert header.height == (height or 13)
            verify_commit(
                header, parse_commit(light.commit), ValidatorSet.from_bytes(light.validators)
            )
        with pytest.raises(BlockUnknown):
            await desk.proven.light(14)


async def test_a_block_is_proven_by_the_next_and_not_before(
    chain: DecidedChain, tmp_path: Path
) -> None:
    content = chain.transaction()
    first, second = chain.decide([content]), chain.decide()
    async with open_desk(tmp_path, GENESIS) as desk:
        await desk.record(first)
        assert (desk.recorder.height, desk.recorder.first_height) == (1, 1)
        assert desk.proven.tip.position.height == 1
        with pytest.raises(NotYetProven):
            await desk.receipts.get(id_of(content), None)
        with pytest.raises(BlockUnknown):
            await desk.proven.get(1)
        await desk.record(second)
        assert await desk.receipts.get(id_of(content), None)
        assert desk.recorder.retain_height == 0  # everything is kept


async def test_a_block_that_comes_again_is_ignored_and_a_gap_is_refused(
    changing: DecidedChain, tmp_path: Path
) -> None:
    async with open_desk(tmp_path, GENESIS) as desk:
        await desk.record(*changing.blocks[:4], *changing.blocks[2:5])
        assert desk.recorder.height == 5
        with pytest.raises(StoresDisagree, match="block 7 cannot be recorded after 5"):
            await desk.record(changing.blocks[6])
    async with open_desk(tmp_path, GENESIS) as desk:  # and after a restart
        assert desk.recorder.height == 5
        assert desk.proven.tip.position.app_hash == changing.blocks[4].executed.app_hash
        await desk.record(*changing.blocks)
        assert (desk.recorder.height, await desk.store.height()) == (13, 13)


def with_block(decided: Decided, **changes: Any) -> Decided:
    return dataclasses.replace(decided, block=dataclasses.replace(decided.block, **changes))


FAULTS: dict[str, Callable[[DecidedChain], Decided]] = {
    "another block's commit": lambda c: with_block(c.blocks[6], commit=c.blocks[5].block.commit),
    "a commit in another form": lambda c: with_block(
        c.blocks[6], commit=c.blocks[6].block.commit + b"\0"
    ),
    "a header of another height": lambda c: with_block(c.blocks[7], height=7),
    "a transaction too few": lambda c: with_block(c.blocks[6], transactions=()),
    "another set": lambda c: dataclasses.replace(c.blocks[6], validators=GENESIS.validators),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_block_that_every_follower_would_refuse_is_not_stored(
    changing: DecidedChain, tmp_path: Path, fault: str
) -> None:
    async with open_desk(tmp_path, GENESIS) as desk:
        await desk.record(*changing.blocks[:6])
        with pytest.raises(StoresDisagree, match="block 7"):
            await desk.record(FAULTS[fault](changing))
        assert (desk.recorder.height, await desk.store.height()) == (6, 6)
        await desk.record(*changing.blocks[6:])


async def test_a_block_on_another_state_or_another_past_is_not_stored(
    chain: DecidedChain, tmp_path: Path
) -> None:
    fork = DecidedChain(GENESIS, KEYS)
    for one in (chain, fork):
        one.decide()
    chain.decide([chain.transaction()])
    fork.decide([fork.transaction(), fork.transaction()])
    chain.decide()
    other = fork.decide()
    async with open_desk(tmp_path, GENESIS) as desk:
        await desk.record(*chain.blocks[:2])
        with pytest.raises(StoresDisagree, match="does not follow"):
            await desk.record(other)
        executed = chain.blocks[1].executed
        forged = type(executed).FromString(executed.SerializeToString())
        forged.results[0] = b"other"
    async with open_desk(tmp_path / "..", GENESIS) as desk:
        first, second = chain.blocks[0], dataclasses.replace(chain.blocks[1], executed=forged)
        await desk.record(first, second)
        with pytest.raises(StoresDisagree, match="other results"):
            await desk.record(chain.blocks[2])


async def test_what_a_recorded_block_holds_leaves_the_outbox_whoever_proposed_it(
    chain: DecidedChain, tmp_path: Path
) -> None:
    mine, twin, other = (chain.transaction() for _ in range(3))
    body = tx_pb.Transaction.FromString(twin).body
    again = exact_bytes(tx_pb.Transaction(body=body, authorization=b"another one"))
    async with open_desk(tmp_path, GENESIS) as desk:
        entries = [entry_of(content) for content in (mine, twin, other)]
        assert await desk.outbox.submit(entries) == [Standing.NEW] * 3
        await desk.record(chain.decide([mine, again]))
        assert [entry for _, entry in desk.outbox.mempool.after(0, 9)] == [entries[2]]
        assert await desk.outbox.submit(entries) == [Standing.KNOWN, Standing.OTHER, Standing.KNOWN]
        assert len(desk.outbox.mempool) == 1
    async with open_desk(tmp_path, GENESIS) as desk:
        assert await desk.outbox.restore(GENESIS.time_ns) == 1  # and is broadcast again
        assert [entry for _, entry in desk.outbox.mempool.after(0, 9)] == [entries[2]]


async def test_what_waits_expires_by_the_time_of_blocks_and_not_by_the_clock(
    chain: DecidedChain, tmp_path: Path
) -> None:
    manual = ManualClock(GENESIS.time_ns)
    content = chain.transaction(seconds=30)
    entry = dataclasses.replace(entry_of(content), expires_ns=GENESIS.time_ns + 30 * NANOSECONDS)
    async with open_desk(tmp_path, GENESIS) as desk:
        tip = desk.proven.tip
        await desk.record(chain.decide(seconds=10))
        await desk.outbox.submit([entry])
        expiry = desk.outbox.run_expiry(manual.clock(), lambda: tip.position.time_ns)
        running = asyncio.ensure_future(expiry)
        for _ in range(40):
            manual.advance(1)
            await desk.outbox.find(entry.id)  # the loop turns
        assert len(desk.outbox.mempool) == 1  # the next block may be as old as that at ten
        await desk.record(chain.decide(seconds=21))

        async def expired() -> bool:
            manual.advance(1)
            return (await desk.outbox.find(entry.id)).expired

        await eventually(expired)
        assert len(desk.outbox.mempool) == 0
        running.cancel()
        with pytest.raises(TransactionExpired):
            await desk.receipts.get(entry.id, None)


async def test_an_id_that_comes_in_a_later_block_too_is_found_where_it_came_first(
    chain: DecidedChain, tmp_path: Path
) -> None:
    content = chain.transaction()
    for contents in ([content], [], [chain.transaction(), content], []):
        chain.decide(contents)
    async with open_desk(tmp_path, GENESIS) as desk:
        await desk.record(*chain.blocks)
        receipt = await desk.receipts.get(id_of(content), None)
        assert verify_receipt(exact_bytes(receipt), GENESIS.trust_root()).height == 1


async def test_bytes_that_are_no_transaction_are_recorded_and_have_no_name(
    chain: DecidedChain, tmp_path: Path
) -> None:
    content = chain.transaction()
    async with open_desk(tmp_path, GENESIS) as desk:
        await desk.record(chain.decide([b"\xff\xff", content]), chain.decide())
        assert (await desk.receipts.get(id_of(content), None)).index == 1
        assert list((await desk.proven.get(1)).transactions) == [b"\xff\xff", content]


async def test_a_store_that_begins_after_a_synced_state_serves_receipts_with_all_changes(
    changing: DecidedChain, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("whole", "synced")]
    for folder in folders:
        folder.mkdir()
    async with open_desk(folders[0], GENESIS) as desk:
        await desk.record(*changing.blocks)
        changes = await desk.recorder.changes()
    async with open_desk(folders[1], GENESIS) as desk:
        await desk.recorder.begin_at(10, changes, changing.blocks[10].validators)
        assert (desk.recorder.height, desk.recorder.first_height) == (10, 0)
    async with open_desk(folders[1], GENESIS) as desk:  # the beginning is remembered
        assert desk.recorder.height == 10
        await desk.record(*changing.blocks)
        assert (desk.recorder.height, desk.recorder.first_height) == (13, 11)
        (content,) = changing.blocks[10].block.transactions
        receipt = await desk.receipts.get(id_of(content), None)
        assert verify_receipt(exact_bytes(receipt), GENESIS.trust_root()).height == 11
        for height in (1, 10):
            with pytest.raises(BlockPruned):
                await desk.proven.get(height)
        with pytest.raises(BlockPruned):
            await desk.proven.light(10)
        assert ValidatorSet.from_bytes((await desk.proven.light(8)).validators)  # it announced one


async def test_a_store_begins_only_empty_and_only_with_changes_that_were_signed(
    changing: DecidedChain, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("whole", "synced")]
    for folder in folders:
        folder.mkdir()
    async with open_desk(folders[0], GENESIS) as desk:
        await desk.record(*changing.blocks)
        changes = await desk.recorder.changes()
        with pytest.raises(StoresDisagree, match="blocks of its own"):
            await desk.recorder.begin_at(10, changes, changing.blocks[10].validators)
    validators = changing.blocks[10].validators
    async with open_desk(folders[1], GENESIS) as desk:
        for offered, height, claimed in (
            (changes[:1], 10, validators),  # one is left out
            (changes[1:], 10, validators),
            (changes[::-1], 10, validators),
            (changes, 7, validators),  # one is announced later
            (changes, 10, GENESIS.validators),
            ([], 10, validators),
        ):
            with pytest.raises(StoresDisagree):
                await desk.recorder.begin_at(height, offered, claimed)
        assert desk.recorder.height == 0
        await desk.record(*changing.blocks)  # nothing was noted


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("UPDATE validators SET header = zeroblob(9) WHERE first_height = 5", StoreCorrupt),
        ("UPDATE validators SET validators = X'00' WHERE first_height = 1", StoreCorrupt),
        ("UPDATE outcomes SET executed = X'00' WHERE height = 13", StoreCorrupt),
        ("UPDATE blocks SET body = X'0a0100' WHERE height = 13", StoreCorrupt),
        ("UPDATE blocks SET body = X'0a0100' WHERE height = 6", BlockCorrupt),
        ("DELETE FROM blocks WHERE height = 6", BlockCorrupt),
    ],
)
async def test_damage_is_noticed_at_the_start_or_when_it_is_read(
    changing: DecidedChain, tmp_path: Path, damage: str, expected: type[Exception]
) -> None:
    async with open_desk(tmp_path, GENESIS) as desk:
        await desk.record(*changing.blocks)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute(damage)
    connection.close()
    if expected is StoreCorrupt:
        with pytest.raises(StoreCorrupt, match="restore"):
            async with open_desk(tmp_path, GENESIS):
                pass
        return
    async with open_desk(tmp_path, GENESIS) as desk:
        with pytest.raises(BlockCorrupt):
            await desk.proven.get(6)
        assert await desk.proven.get(8)
