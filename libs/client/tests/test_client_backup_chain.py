"""The stores of a chain are copied and put back together, and only if they fit each other."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from cipherward_chain.comet import header_hash, parse_header
from cipherward_chain.testing import TestChain, make_genesis
from cipherward_client.backup import errors
from cipherward_client.backup.chain_view import CopiedChain, require_on
from cipherward_client.backup.copying import copy_chain, read_chain

BLOCKS = 5
LEDGER = """
    CREATE TABLE chain (only INTEGER PRIMARY KEY, genesis_digest BLOB);
    CREATE TABLE blocks (height INTEGER PRIMARY KEY, header BLOB);
"""
CONTRACT = "CREATE TABLE committed (height INTEGER, app_hash BLOB, genesis_digest BLOB);"


@dataclass(frozen=True)
class Stores:
    """A ledger's and a contract's database, and the chain that they are of."""

    contract: Path
    ledger: Path
    chain: TestChain
    headers: dict[int, bytes]

    def executed(self, height: int, root: bytes) -> None:
        """Let the state be that of a block."""
        with closing(sqlite3.connect(self.contract)) as connection:
            connection.execute("UPDATE committed SET height = ?, app_hash = ?", (height, root))
            connection.commit()

    def copied(self, to: Path) -> tuple[Path, Path]:
        """Copy both, and return the copies."""
        to.mkdir()
        copy_chain((self.contract, to / "contract"), (self.ledger, to / "ledger"))
        return to / "contract", to / "ledger"


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    """Stores that stand at block BLOCKS, which is not executed yet."""
    chain = TestChain(*make_genesis(1))
    for _ in range(BLOCKS + 2):  # the last one is not proven
        chain.heartbeat()
    blocks = asyncio.run(first_blocks(chain))
    contract, ledger = tmp_path / "state.db", tmp_path / "ledger.sqlite"
    digest = chain.genesis.digest
    with closing(sqlite3.connect(ledger)) as connection:
        connection.executescript(LEDGER)
        connection.execute("INSERT INTO chain VALUES (1, ?)", (digest,))
        connection.executemany("INSERT INTO blocks VALUES (?, ?)", blocks.items())
        connection.commit()
    root = parse_header(blocks[BLOCKS]).app_hash
    with closing(sqlite3.connect(contract)) as connection:
        connection.executescript(CONTRACT)
        connection.execute("INSERT INTO committed VALUES (?, ?, ?)", (BLOCKS - 1, root, digest))
        connection.commit()
    return Stores(contract, ledger, chain, blocks)


async def first_blocks(chain: TestChain) -> dict[int, bytes]:
    """Return the headers of the first BLOCKS blocks by height."""
    found: dict[int, bytes] = {}
    async for block in chain.blocks_from(1):
        header = parse_header(block.header)
        found[header.height] = block.header
        if header.height == BLOCKS:
            return found
    raise AssertionError("the chain ended")


def test_copies_stand_where_the_stores_stood(stores: Stores, tmp_path: Path) -> None:
    copy = read_chain(*stores.copied(tmp_path / "copy"))
    assert (copy.height, copy.executed, copy.fits) == (BLOCKS, BLOCKS - 1, True)
    assert copy.genesis == {stores.chain.genesis.digest}
    copy.require_root()
    assert copy.header_hash(2) == header_hash(parse_header(stores.headers[2]))
    assert copy.header_hash(BLOCKS + 1) is None


def test_a_state_that_is_not_its_blocks_is_refused(stores: Stores, tmp_path: Path) -> None:
    stores.executed(BLOCKS - 1, bytes(32))
    copy = read_chain(*stores.copied(tmp_path / "copy"))
    with pytest.raises(errors.StoreDamaged, match="root"):
        copy.require_root()


@pytest.mark.parametrize("height", [BLOCKS + 1, BLOCKS - 2])
def test_stores_that_do_not_fit_are_not_copied(stores: Stores, tmp_path: Path, height: int) -> None:
    stores.executed(height, bytes(32))
    with pytest.raises(errors.StoreChanging):
        stores.copied(tmp_path / "copy")
    assert not list((tmp_path / "copy").iterdir())


def test_an_empty_store_is_named(stores: Stores, tmp_path: Path) -> None:
    with closing(sqlite3.connect(stores.contract)) as connection:
        connection.execute("DELETE FROM committed")
        connection.commit()
    with pytest.raises(errors.StoreDamaged, match="empty"):
        stores.copied(tmp_path / "copy")


async def test_a_store_is_held_against_the_chain_that_comes_back_with_it(stores: Stores) -> None:
    view = CopiedChain(read_chain(stores.contract, stores.ledger))
    client = stores.chain.light_client()
    async for block in stores.chain.blocks_from(1):
        client.accept(block)
        if client.height == BLOCKS - 2:
            break
    place = client.checkpoint
    assert place is not None
    await require_on(view, place, "identity")
    async for block in stores.chain.blocks_from(client.height + 1):
        client.accept(block)
        if client.height == BLOCKS + 1:
            break
    assert client.checkpoint is not None
    with pytest.raises(errors.ArchiveNewer):
        await require_on(view, client.checkpoint, "identity")


async def test_a_block_that_the_copied_chain_does_not_keep_is_named(stores: Stores) -> None:
    with closing(sqlite3.connect(stores.ledger)) as connection:
        connection.execute("DELETE FROM blocks WHERE height < 4")
        connection.commit()
    view = CopiedChain(read_chain(stores.contract, stores.ledger))
    with pytest.raises(errors.ArchiveTooOld):
        await view.hash_at(3)
