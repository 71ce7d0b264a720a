"""What every home of records keeps to: a new adapter is added to the fixture and nowhere else."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cipherward_member.reports import OrderKey, Outcome, PendingReport, Report
from cipherward_storage.effects import BlockEffects, Release
from cipherward_storage.errors import (
    DigestDiffers,
    DiskFull,
    OffsetOutOfRange,
    RecordExists,
    RecordUnknown,
    UploadDiffers,
    UploadInProgress,
    WrongOffset,
)
from cipherward_storage.records import PART_BYTES, AnchoredRecord, UploadHeader, digest_of
from cipherward_storage.store import RecordStore
from cipherward_storage.testing import header_of

if TYPE_CHECKING:
    from conftest import OpenHome

NOW = 1_800_000_000
QUOTA = 8 * PART_BYTES  # as the homes of conftest have it


async def put(store: RecordStore, header: UploadHeader, ciphertext: bytes) -> None:
    async with store.write(header, 0) as spool:
        await spool.append([ciphertext])
        await spool.complete()


async def get(store: RecordStore, record_id: bytes, offset: int = 0) -> bytes:
    return b"".join([part async for part in store.read(record_id, offset)])


def effects(height: int, **changes: Any) -> BlockEffects:
    return replace(BlockEffects(height, NOW, f"at {height}".encode()), **changes)


def release_of(order: OrderKey, grant: bytes = b"g", ends: int = NOW + 100) -> Release:
    return Release(order, b"r" * 16, b"anchor", grant, b"k" * 32, ends, os.urandom(40))


async def test_a_complete_record_is_there_after_a_restart(open_home: OpenHome) -> None:
    ciphertext = os.urandom(2 * PART_BYTES + 99)
    header = header_of(ciphertext)
    async with open_home() as home:
        assert await home.records.find(header.anchor.record_id) is None
        await put(home.records, header, ciphertext)
    async with open_home() as home:
        record = await home.records.find(header.anchor.record_id)
        assert record is not None
        assert (record.anchor, record.slot_digest, record.anchored_height) == (
            header.anchor,
            header.slot_digest,
            0,
        )
        assert (record.alliance_slot, record.kept) == (header.alliance_slot, header.kept)
        for offset in (0, 5, PART_BYTES, len(ciphertext)):
            assert await get(home.records, header.anchor.record_id, offset) == ciphertext[offset:]
        with pytest.raises(OffsetOutOfRange):
            await get(home.records, header.anchor.record_id, len(ciphertext) + 1)
        with pytest.raises(RecordUnknown):
            await get(home.records, os.urandom(16))
        state = await home.records.upload(header.request_id)
        assert state is not None
        assert (state.header, state.committed_bytes, state.complete) == (
            header,
            len(ciphertext),
            True,
        )


async def test_an_upload_keeps_what_it_has_when_it_is_left(open_home: OpenHome) -> None:
    ciphertext = os.urandom(3000)
    header = header_of(ciphertext)
    async with open_home() as home, home.records.write(header, 0) as spool:
        await spool.append([ciphertext[:1000], ciphertext[1000:2000]])
    async with open_home() as home:
        state = await home.records.upload(header.request_id)
        assert state is not None
        assert (state.committed_bytes, state.complete) == (2000, False)
        async with home.records.write(header, 2000) as spool:
            assert spool.received_bytes == 2000
            await spool.append([ciphertext[2000:]])
            assert spool.unsynced_bytes == 1000
            await spool.sync()
            assert spool.unsynced_bytes == 0
            await spool.complete()
        assert await get(home.records, header.anchor.record_id) == ciphertext


async def test_an_upload_is_opened_only_as_it_may_be(open_home: OpenHome) -> None:
    ciphertext = os.urandom(3000)
    header = header_of(ciphertext)
    async with open_home() as home:
        with pytest.raises(WrongOffset):
            async with home.records.write(header, 1):
                pass
        async with home.records.write(header, 0) as spool:
            await spool.append([ciphertext[:10]])
            with pytest.raises(UploadInProgress):
                async with home.records.write(header, 0):
                    pass
        with pytest.raises(WrongOffset):
            async with home.records.write(header, 9):
                pass
        other = replace(header_of(ciphertext), request_id=header.request_id)
        with pytest.raises(UploadDiffers):
            async with home.records.write(other, 10):
                pass


async def test_wrong_bytes_are_refused_and_forgotten(open_home: OpenHome) -> None:
    ciphertext = os.urandom(3000)
    header = header_of(ciphertext)
    async with open_home() as home:
        for wrong in (ciphertext[:-1], bytes(3000)):
            with pytest.raises(DigestDiffers):
                await put(home.records, header, wrong)
            assert await home.records.upload(header.request_id) is None
        await put(home.records, header, ciphertext)


async def test_the_first_record_of_an_id_stays(open_home: OpenHome) -> None:
    first, second = os.urandom(100), os.urandom(100)
    header = header_of(first)
    rival = header_of(second, header.anchor.record_id)
    async with open_home() as home:
        async with home.records.write(rival, 0) as spool:
            await put(home.records, header, first)
            await spool.append([second])
            with pytest.raises(RecordExists):
                await spool.complete()
        assert await get(home.records, header.anchor.record_id) == first
        assert await home.records.upload(rival.request_id) is None


async def test_the_quota_holds_and_is_given_back(open_home: OpenHome) -> None:
    half = os.urandom(QUOTA // 2)
    headers = [header_of(half) for _ in range(3)]
    async with open_home() as home:
        await put(home.records, headers[0], half)
        with pytest.raises(DigestDiffers):
            await put(home.records, headers[1], bytes(len(half)))
        await put(home.records, headers[1], half)
        with pytest.raises(DiskFull):
            await put(home.records, headers[2], half)
        assert await home.records.upload(headers[2].request_id) is None
        assert await home.records.remove_expired(NOW + 1, 1) > 0
        await put(home.records, headers[2], half)


async def test_a_cancelled_writer_harms_no_other_file(open_home: OpenHome) -> None:
    ciphertext = os.urandom(PART_BYTES)
    async with open_home() as home:
        for _ in range(20):
            header = header_of(ciphertext)
            writing = asyncio.ensure_future(put(home.records, header, ciphertext))
            await asyncio.sleep(0)
            writing.cancel()
            await asyncio.wait((writing,))
            other = header_of(b"other")
            await put(home.records, other, b"other")
            assert await get(home.records, other.anchor.record_id) == b"other"
            await home.records.remove_expired(NOW + 1, 100)


async def test_records_come_in_pages_by_id(open_home: OpenHome) -> None:
    async with open_home() as home:
        headers = [header_of(b"x%d" % i) for i in range(5)]
        for i, header in enumerate(headers):
            await put(home.records, header, b"x%d" % i)
        ids = sorted(header.anchor.record_id for header in headers)
        page = await home.records.page(b"", 2)
        assert [r.anchor.record_id for r in page] == ids[:2]
        page = await home.records.page(ids[1], 10)
        assert [r.anchor.record_id for r in page] == ids[2:]


async def test_only_what_nobody_anchored_expires(open_home: OpenHome) -> None:
    headers = [header_of(b"ab"), header_of(b"cd"), header_of(b"ef")]
    async with open_home() as home:
        await put(home.records, headers[0], b"ab")
        await put(home.records, headers[1], b"cd")
        async with home.records.write(headers[2], 0) as spool:
            await spool.append([b"e"])
        anchored = AnchoredRecord(headers[0].anchor, headers[0].slot_digest, 7)
        await home.chain.apply(effects(7, anchored=(anchored,)))
        assert await home.records.remove_expired(NOW, 100) == 0  # not older than now
        async with home.records.write(headers[2], 1):
            while await home.records.remove_expired(NOW + 1, 1):
                pass
            assert await home.records.upload(headers[2].request_id) is not None  # it is open
        record = await home.records.find(headers[0].anchor.record_id)
        assert record is not None
        assert record.anchored_height == 7
        assert await home.records.find(headers[1].anchor.record_id) is None
        while await home.records.remove_expired(NOW + 1, 100):
            pass
        assert await home.records.upload(headers[2].request_id) is None
        assert await get(home.records, headers[0].anchor.record_id) == b"ab"


@pytest.mark.parametrize("what", ["anchor", "slot"])
async def test_an_anchor_of_something_else_anchors_nothing(open_home: OpenHome, what: str) -> None:
    header = header_of(b"ab")
    other = header_of(b"ab", header.anchor.record_id)
    async with open_home() as home:
        await put(home.records, header, b"ab")
        anchored = AnchoredRecord(
            other.anchor if what == "anchor" else header.anchor,
            other.slot_digest if what == "slot" else header.slot_digest,
            7,
        )
        await home.chain.apply(effects(7, anchored=(anchored,)))
        record = await home.records.find(header.anchor.record_id)
        assert record is not None
        assert record.anchored_height == 0


async def test_a_block_is_applied_once_and_survives_a_restart(open_home: OpenHome) -> None:
    order = OrderKey(5, 0)
    made = release_of(order)
    report = Report(order, Outcome.DONE, digest_of(made.sealed))
    async with open_home() as home:
        assert await home.chain.checkpoint() == b""
        await home.chain.apply(effects(5, releases=(made,), reports=(report,)))
    async with open_home() as home:
        again = release_of(order)  # sealed anew: other bytes
        await home.chain.apply(effects(5, releases=(again,), reports=(report,)))
        assert await home.chain.release(order) == made
        assert await home.chain.release(OrderKey(5, 1)) is None
        assert await home.chain.checkpoint() == b"at 5"
        assert await home.chain.reports.pending(10) == [PendingReport(report)]


async def test_a_grant_that_ended_ends_all_its_releases(open_home: OpenHome) -> None:
    mine = [release_of(OrderKey(1, 0)), release_of(OrderKey(1, 1)), release_of(OrderKey(2, 0))]
    other = release_of(OrderKey(1, 2), b"other")
    async with open_home() as home:
        await home.chain.apply(effects(1, releases=(mine[0], mine[1], other)))
        # Ordered and ended in one block: it is over.
        await home.chain.apply(effects(2, releases=(mine[2],), ended_grants=(b"g",)))
        for release in mine:
            ended = replace(release, revoked=True, sealed=b"")
            assert await home.chain.release(release.order) == ended
        assert await home.chain.release(other.order) == other


async def test_a_release_that_is_long_over_is_forgotten(open_home: OpenHome) -> None:
    made = release_of(OrderKey(1, 0), ends=NOW)
    day = 24 * 3600
    async with open_home() as home:
        await home.chain.apply(effects(1, releases=(made,)))
        await home.chain.apply(effects(2, time=NOW + day))
        assert await home.chain.release(made.order) == made
        await home.chain.apply(effects(3, time=NOW + day + 1))
        assert await home.chain.release(made.order) is None


async def test_reports_are_pending_until_a_block_settles_them(open_home: OpenHome) -> None:
    reports = [Report(OrderKey(1, i), Outcome.FAILED, b"") for i in range(3)]
    async with open_home() as home:
        await home.chain.apply(effects(1, reports=tuple(reports)))
        pending = await home.chain.reports.pending(2)
        assert [p.report for p in pending] == reports[:2]
        sent = [
            replace(p, transaction=b"tx", transaction_id=b"id%d" % i, expires=NOW)
            for i, p in enumerate(pending)
        ]
        await home.chain.reports.save(sent)
        assert list(await home.chain.reports.pending(2)) == sent
        await home.chain.apply(effects(2, settled=(b"id0", b"unknown"), rebuilt=(b"id1",)))
        assert await home.chain.reports.pending(10) == [
            PendingReport(reports[1]),
            PendingReport(reports[2]),
        ]
        await home.chain.reports.save(sent[:1])  # a block took it meanwhile: it stays gone
        assert len(await home.chain.reports.pending(10)) == 2
