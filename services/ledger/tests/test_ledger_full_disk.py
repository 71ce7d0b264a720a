"""A store that cannot be written stops the ledger with one clear sentence, and loses nothing."""

from __future__ import annotations

import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cipherward_chain.light import LightClient
from cipherward_chain.receipts import verify_receipt
from cipherward_chain.testing import make_genesis
from cipherward_ledger.errors import StoreUnwritable
from cipherward_ledger.mempool import Entry
from cipherward_ledger.testing_chain import DecidedChain, Desk, open_desk

GENESIS, KEYS = make_genesis(members=4, engine="cometbft")


async def allow(desk: Desk, pages: int) -> None:
    """Bound the database to so many pages beyond what it has; 0 makes it as good as unbounded."""

    def bound(connection: Any) -> None:
        (used,) = connection.execute("PRAGMA page_count").fetchone()
        most = used + pages if pages else 1 << 30
        connection.execute(f"PRAGMA max_page_count = {most}").fetchone()

    await desk.database.read(bound)


async def test_a_block_that_does_not_fit_is_not_stored_and_is_recorded_when_there_is_room(
    tmp_path: Path,
) -> None:
    chain = DecidedChain(GENESIS, KEYS)
    async with open_desk(tmp_path, GENESIS) as desk:
        await desk.record(chain.decide([chain.transaction()]))
        large = chain.decide([chain.transaction(), bytes(500_000)])
        await allow(desk, 20)
        with pytest.raises(StoreUnwritable, match=r"SQLITE_FULL.*make room"):
            await desk.record(large)
        assert (desk.recorder.height, await desk.store.height()) == (1, 1)
        await allow(desk, 0)
        await desk.record(large, chain.decide())
    async with open_desk(tmp_path, GENESIS) as desk:
        client = LightClient(GENESIS.trust_root())
        for height in (1, 2):
            client.accept(await desk.proven.get(height))


async def test_who_waits_for_the_outbox_is_told_that_it_cannot_be_written(tmp_path: Path) -> None:
    entry = Entry(bytes(32), bytes(32), bytes(500_000), 1 << 62)
    with pytest.raises(ExceptionGroup) as stopped:  # noqa: PT012 - what stops it is in the middle
        async with open_desk(tmp_path, GENESIS) as desk:
            await allow(desk, 20)
            with pytest.raises(StoreUnwritable):
                await desk.outbox.submit([entry])
            assert len(desk.outbox.mempool) == 0
    assert stopped.group_contains(StoreUnwritable)


def written(database: Path) -> int:
    """Return the bytes of what was written since the file was last checkpointed."""
    return Path(f"{database}-wal").stat().st_size


@contextmanager
def no_file_beyond(size: int) -> Generator[None]:
    """Let no file of this process grow beyond `size` bytes: the next write there fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_the_embedded_engine_stops_and_goes_on_where_it_was(world: Any) -> None:
    answered: list[bytes] = []

    async def until_it_stops() -> None:
        async with world.ledger() as ledger:
            await ledger.ready()
            with no_file_beyond(written(world.database) + 100_000):
                while True:
                    answered.append(await ledger.submit(world.transaction()))

    with pytest.raises(ExceptionGroup) as stopped:
        await until_it_stops()
    assert stopped.group_contains(StoreUnwritable)
    assert answered
    async with world.ledger() as ledger:
        await ledger.ready()
        for transaction_id in answered:
            receipt = await ledger.receipt(transaction_id)
            assert verify_receipt(receipt, world.genesis.trust_root()).transaction.id
    assert set(answered) <= set(world.contract.applied)
    assert len(set(world.contract.applied)) == len(world.contract.applied)
