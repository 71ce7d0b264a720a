"""What a disk forgets is found though nobody asks for it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY

from cipherward_kit.testing import eventually
from cipherward_member.scrub import FILE_NAME, Scrub
from cipherward_storage.columns import ColumnName
from cipherward_storage.effects import BlockEffects
from cipherward_storage.place import Room, StoreOwner
from cipherward_storage.records import PART_BYTES, StoredRecord, digest_of
from cipherward_storage.shelves import (
    FIGURES,
    ColumnShelf,
    RecordShelf,
    SlotKeyShelf,
    show_stored,
)
from cipherward_storage.slot_keys import SlotKeys
from cipherward_storage.stores import open_stores
from cipherward_storage.testing import FileBodies, header_of

if TYPE_CHECKING:
    from conftest import OpenHome

    from cipherward_storage.store import RecordStore
    from cipherward_storage.stores import Stores

FAST = float(1 << 40)  # bytes a second
NOW = 1_800_000_000
DEADLINE = 10


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"cipherward_storage_{name}", labels) or 0


def scrub_of(home: Stores, folder: Path) -> Scrub:
    return Scrub(
        (RecordShelf(home.records), ColumnShelf(home.columns)),
        folder / FILE_NAME,
        FIGURES,
        bytes_a_second=FAST,
        clock=lambda: NOW,
        then=show_stored,
    )


@asynccontextmanager
async def scrubbing(home: Stores, folder: Path) -> AsyncGenerator[None]:
    running = asyncio.create_task(scrub_of(home, folder).run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


KEY, OTHER = b"k" * 16, b"o" * 16


def rot(folder: Path, change: str, *parameters: bytes) -> None:
    """Change rows behind the store's back."""
    with closing(sqlite3.connect(folder / "storage.sqlite")) as connection, connection:
        assert connection.execute(change, parameters).rowcount == 1


async def put_columns(home: Stores, data_key: bytes, *columns: bytes) -> None:
    for octets in columns:
        await home.columns.put(ColumnName(data_key, digest_of(octets)), octets)


async def put(records: RecordStore, sizes: Sequence[int]) -> None:
    for number, size in enumerate(sizes):
        content = bytes([number]) * size
        async with records.write(header_of(content, bytes([number]) * 16), 0) as spool:
            for at in range(0, size, PART_BYTES):
                await spool.append([content[at : at + PART_BYTES]])
            await spool.complete()


async def test_a_pass_tells_how_much_is_stored(open_home: OpenHome, tmp_path: Path) -> None:
    async with open_home() as home:
        await put(home.records, [10, 2000, PART_BYTES + 1])
        before = figure("scrub_pieces_total", kind="record", outcome="intact")
        await scrub_of(home, tmp_path).read_all()
    assert figure("records") == 3
    assert figure("stored_bytes") == PART_BYTES + 2011
    assert figure("scrub_corrupt", kind="record") == 0
    assert figure("scrub_completed_timestamp_seconds") == NOW
    assert figure("scrub_pieces_total", kind="record", outcome="intact") == before + 3


async def test_a_flipped_bit_is_found_and_goes_on_being_shown(tmp_path: Path) -> None:
    owner = StoreOwner("chain", "hospital-a", b"genesis")
    async with open_stores(tmp_path, owner, Room(PART_BYTES, 0), None, lambda: NOW) as home:
        await put(home.records, [2000])
        await FileBodies(tmp_path).overwrite(b"\0" * 1999 + b"\1")
        before = figure("scrub_pieces_total", kind="record", outcome="corrupt")
        scrub = scrub_of(home, tmp_path)
        await scrub.read_all()
        await scrub.read_all()
    assert figure("scrub_corrupt", kind="record") == 1
    assert figure("records") == 1
    assert figure("scrub_pieces_total", kind="record", outcome="corrupt") == before + 2


async def test_a_restart_goes_on_where_the_pass_was(
    open_home: OpenHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cipherward_member.scrub.NOTE_SECONDS", 0.0)
    monkeypatch.setattr("cipherward_member.scrub.PAGE_PIECES", 1)
    async with open_home() as home:
        await put(home.records, [10, 20, 30])
        page, asked = home.records.page, list[bytes]()

        async def killed_at_the_third(after: bytes, limit: int) -> Sequence[StoredRecord]:
            asked.append(after)
            if len(asked) == 3:
                raise asyncio.CancelledError
            return await page(after, limit)

        monkeypatch.setattr(home.records, "page", killed_at_the_third)
        with pytest.raises(asyncio.CancelledError):
            await scrub_of(home, tmp_path).run()
        before = figure("scrub_pieces_total", kind="record", outcome="intact")
        async with scrubbing(home, tmp_path):
            await eventually(lambda: figure("records") == 3, seconds=DEADLINE)
    assert asked == [b"", *(bytes([number]) * 16 for number in (0, 1, 1, 2))]
    assert figure("scrub_pieces_total", kind="record", outcome="intact") == before + 1
    assert figure("stored_bytes") == 60


async def test_a_damaged_note_begins_anew(open_home: OpenHome, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('{"after": "no hex"}')
    async with open_home() as home:
        await put(home.records, [10])
        before = figure("scrub_pieces_total", kind="record", outcome="intact")
        async with scrubbing(home, tmp_path):
            await eventually(
                lambda: figure("scrub_pieces_total", kind="record", outcome="intact") == before + 1,
                seconds=DEADLINE,
            )


async def test_columns_are_read_page_by_page_but_not_those_of_a_key_that_is_over(
    open_home: OpenHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cipherward_member.scrub.PAGE_PIECES", 2)
    async with open_home() as home:
        await put_columns(home, KEY, *(bytes([n]) * 100 for n in range(5)))
        await put_columns(home, OTHER, b"over", bytes(100))
        await home.chain.apply(BlockEffects(5, NOW, b"at 5", retired_keys=(OTHER,)))
        before = figure("scrub_pieces_total", kind="column", outcome="intact")
        await scrub_of(home, tmp_path).read_all()
    assert figure("scrub_pieces_total", kind="column", outcome="intact") == before + 5
    assert figure("scrub_corrupt", kind="column") == 0


async def test_a_column_that_rots_is_found_though_no_study_asks_for_it(tmp_path: Path) -> None:
    owner = StoreOwner("chain", "hospital-a", b"genesis")
    async with open_stores(tmp_path, owner, Room(PART_BYTES, 0), None, lambda: NOW) as home:
        await put_columns(home, KEY, b"a" * 100, b"b" * 100)
        rot(tmp_path, "UPDATE columns SET part = zeroblob(100) WHERE part = ?", b"b" * 100)
        await scrub_of(home, tmp_path).read_all()
        assert figure("scrub_corrupt", kind="column") == 1
        await put_columns(home, KEY, b"b" * 100)  # put again, it is whole
        await scrub_of(home, tmp_path).read_all()
    assert figure("scrub_corrupt", kind="column") == 0


async def test_a_members_slot_that_rots_is_found_before_a_reader_needs_it(tmp_path: Path) -> None:
    owner = StoreOwner("chain", "hospital-a", b"genesis")
    async with open_stores(tmp_path, owner, Room(PART_BYTES, 0), None, lambda: NOW) as home:
        await put(home.records, [2000])
        rot(tmp_path, "UPDATE records SET alliance_slot = zeroblob(160)")
        await scrub_of(home, tmp_path).read_all()
    assert figure("scrub_corrupt", kind="record") == 1


async def test_a_slot_key_that_rots_is_found_while_the_process_still_opens_slots_with_it(
    tmp_path: Path,
) -> None:
    keys = SlotKeys(tmp_path / "slot-keys", lambda: NOW)
    keys.open()
    shelf = SlotKeyShelf(keys)
    scrub = Scrub((shelf,), tmp_path / FILE_NAME, FIGURES, bytes_a_second=FAST)
    await scrub.read_all()
    assert figure("scrub_corrupt", kind="slot_key") == 0
    known = keys.newest()
    path = tmp_path / "slot-keys" / "slot-key-0000000001"
    for rotten in (path.read_bytes()[:-1] + b"?", b"short", b""):
        path.write_bytes(rotten)
        await scrub.read_all()
        assert figure("scrub_corrupt", kind="slot_key") == 1
        assert keys.newest() == known
    keys.add()
    assert keys.destroy_below(2) == 1
    await scrub.read_all()
    assert figure("scrub_corrupt", kind="slot_key") == 0
    assert await shelf.page(b"", 9) == [(2).to_bytes(8, "big")]
