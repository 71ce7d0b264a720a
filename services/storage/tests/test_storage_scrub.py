"""What a disk forgets is found though nobody asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY

from cipherward_kit.testing import eventually
from cipherward_storage.place import Room, StoreOwner
from cipherward_storage.records import PART_BYTES, StoredRecord
from cipherward_storage.scrub import FILE_NAME, Scrub
from cipherward_storage.stores import open_stores
from cipherward_storage.testing import FileBodies, header_of

if TYPE_CHECKING:
    from conftest import OpenHome

    from cipherward_storage.store import RecordStore

FAST = float(1 << 40)  # bytes a second
NOW = 1_800_000_000
DEADLINE = 10


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"cipherward_storage_{name}", labels) or 0


def scrub_of(records: RecordStore, folder: Path) -> Scrub:
    return Scrub(records, folder / FILE_NAME, FAST, lambda: NOW)


@asynccontextmanager
async def scrubbing(records: RecordStore, folder: Path) -> AsyncGenerator[None]:
    running = asyncio.create_task(scrub_of(records, folder).run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


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
        before = figure("scrub_pieces_total", outcome="intact")
        await scrub_of(home.records, tmp_path).read_all()
    assert figure("records") == 3
    assert figure("stored_bytes") == PART_BYTES + 2011
    assert figure("scrub_corrupt") == 0
    assert figure("scrub_completed_timestamp_seconds") == NOW
    assert figure("scrub_pieces_total", outcome="intact") == before + 3


async def test_a_flipped_bit_is_found_and_goes_on_being_shown(tmp_path: Path) -> None:
    owner = StoreOwner("chain", "hospital-a")
    async with open_stores(tmp_path, owner, Room(PART_BYTES, 0), None, lambda: NOW) as home:
        await put(home.records, [2000])
        await FileBodies(tmp_path).overwrite(b"\0" * 1999 + b"\1")
        before = figure("scrub_pieces_total", outcome="corrupt")
        scrub = scrub_of(home.records, tmp_path)
        await scrub.read_all()
        await scrub.read_all()
    assert figure("scrub_corrupt") == 1
    assert figure("records") == 1
    assert figure("scrub_pieces_total", outcome="corrupt") == before + 2


async def test_a_restart_goes_on_where_the_pass_was(
    open_home: OpenHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cipherward_storage.scrub.NOTE_SECONDS", 0.0)
    monkeypatch.setattr("cipherward_storage.scrub.PAGE_RECORDS", 1)
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
            await scrub_of(home.records, tmp_path).run()
        before = figure("scrub_pieces_total", outcome="intact")
        async with scrubbing(home.records, tmp_path):
            await eventually(lambda: figure("records") == 3, seconds=DEADLINE)
    assert asked == [b"", *(bytes([number]) * 16 for number in (0, 1, 1, 2))]
    assert figure("scrub_pieces_total", outcome="intact") == before + 1
    assert figure("stored_bytes") == 60


async def test_a_damaged_note_begins_anew(open_home: OpenHome, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('{"after": "no hex"}')
    async with open_home() as home:
        await put(home.records, [10])
        before = figure("scrub_pieces_total", outcome="intact")
        async with scrubbing(home.records, tmp_path):
            await eventually(
                lambda: figure("scrub_pieces_total", outcome="intact") == before + 1,
                seconds=DEADLINE,
            )
