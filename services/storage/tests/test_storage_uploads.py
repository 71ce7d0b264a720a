"""Uploads over real sockets: whole, interrupted, resumed, wrong and too large."""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from grpc import aio

from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward_chain.domains import custodian_part_commitment
from cipherward_kit.database import Database
from cipherward_kit.errors import error_info, reason_of
from cipherward_kit.testing import eventually
from cipherward_storage import bodies
from cipherward_storage.errors import DiskFull, RecordCorrupt
from cipherward_storage.records import PART_BYTES
from cipherward_storage.schema import SCHEMA
from cipherward_storage.spools import FileSpool, Place
from cipherward_storage.testing import header_of
from cipherward_storage.uploads import SYNC_BYTES, UPLOAD_PART_BYTES_MAX

if TYPE_CHECKING:
    from conftest import OpenWorld

    from cipherward_storage.testing import TestRecord
    from cipherward_storage.testing_world import World


async def refused(call: Any) -> tuple[str, str]:
    """Return code and reason of the refusal that `call` ends in."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, reason_of(caught.value)


async def upload(world: World, request_id: str) -> pb.GetUploadResponse:
    return await world.stub.GetUpload(pb.GetUploadRequest(request_id=request_id), timeout=10)


async def interrupt(world: World, record: TestRecord, request_id: str, parts: int) -> int:
    """Send some parts, then break the stream; return how many bytes are on disk."""
    call = world.stub.PutRecord(timeout=30)
    await call.write(pb.PutRecordRequest(header=record.header(request_id)))
    for part in record.parts()[:parts]:
        await call.write(pb.PutRecordRequest(part=part))
    sent = sum(len(part) for part in record.parts()[:parts])

    async def arrived() -> bool:
        return await world.bodies.stored_bytes() >= sent

    await eventually(arrived, what="the parts")
    call.cancel()

    async def kept() -> bool:
        return (await upload(world, request_id)).committed_bytes >= sent

    await eventually(kept, what="the sync")

    async def left() -> bool:  # what is kept is told before the stream has let go of it
        beyond = world.put(record, request_id=request_id, offset=sent + 1, parts=())
        return (await refused(beyond))[1] == "WRONG_OFFSET"

    await eventually(left, what="the end of the stream")
    return sent


async def test_a_record_is_stored_and_described(open_world: OpenWorld) -> None:
    async with open_world() as world:
        record, request_id = world.record(), str(uuid.uuid4())
        answer = await world.put(record, request_id=request_id)
        assert answer.ciphertext_digest == record.anchor.ciphertext_digest
        assert answer.custodian_slot_digest == record.slot_digest
        assert await world.bodies.only() == record.ciphertext
        state = await upload(world, request_id)
        assert (state.committed_bytes, state.complete) == (len(record.ciphertext), True)
        request = pb.DescribeRecordRequest(record_id=record.id)
        described = (await world.stub.DescribeRecord(request, timeout=10)).record
        assert described.state == pb.RECORD_STATE_STORED
        assert described.ciphertext_bytes == len(record.ciphertext)
        height = await world.anchored(record)
        described = (await world.stub.DescribeRecord(request, timeout=10)).record
        assert described.state == pb.RECORD_STATE_ANCHORED
        assert described.anchored_height == height


@pytest.mark.parametrize("size", [1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1])
@pytest.mark.parametrize("part", [4096 + 1, UPLOAD_PART_BYTES_MAX])
async def test_sizes_at_the_edges_of_parts_are_stored_whole(
    open_world: OpenWorld, size: int, part: int
) -> None:
    async with open_world() as world:
        record = world.record(size)
        await world.put(record, parts=record.parts(0, part))
        assert await world.bodies.only() == record.ciphertext


async def test_an_interrupted_upload_goes_on_where_it_stopped(open_world: OpenWorld) -> None:
    async with open_world() as world:
        record, request_id = world.record(), str(uuid.uuid4())
        kept = await interrupt(world, record, request_id, 2)
        assert await upload(world, request_id) == pb.GetUploadResponse(committed_bytes=kept)
        await world.stop()
        await world.start()
        await world.put(record, request_id=request_id, offset=kept)
        assert await world.bodies.only() == record.ciphertext


async def test_an_interrupted_upload_may_start_again(open_world: OpenWorld) -> None:
    async with open_world() as world:
        record, request_id = world.record(), str(uuid.uuid4())
        await interrupt(world, record, request_id, 2)
        await world.put(record, request_id=request_id)
        assert await world.bodies.only() == record.ciphertext


@pytest.mark.slow
async def test_a_long_upload_is_committed_as_it_goes(open_world: OpenWorld) -> None:
    async with open_world() as world:
        record, request_id = world.record(3 * SYNC_BYTES), str(uuid.uuid4())
        call = world.stub.PutRecord(timeout=30)
        await call.write(pb.PutRecordRequest(header=record.header(request_id)))
        parts = record.parts()
        for part in parts[:-1]:
            await call.write(pb.PutRecordRequest(part=part))

        async def committed() -> bool:
            return (await upload(world, request_id)).committed_bytes >= SYNC_BYTES

        await eventually(committed, what="a commit while the stream is open")
        await call.write(pb.PutRecordRequest(part=parts[-1]))
        await call.done_writing()
        assert (await call).ciphertext_digest == record.anchor.ciphertext_digest


async def test_a_wrong_offset_is_refused_with_the_right_one(open_world: OpenWorld) -> None:
    async with open_world() as world:
        record, request_id = world.record(), str(uuid.uuid4())
        kept = await interrupt(world, record, request_id, 2)
        with pytest.raises(aio.AioRpcError) as caught:
            await world.put(record, request_id=request_id, offset=kept - 1)
        info = error_info(caught.value)
        assert info is not None
        assert info.reason == "WRONG_OFFSET"
        assert info.metadata["committed_bytes"] == str(kept)
        fresh = world.put(world.record(), offset=1)  # an upload that never began starts at 0
        assert await refused(fresh) == ("FAILED_PRECONDITION", "WRONG_OFFSET")


async def test_another_header_under_the_same_request_id_is_refused(open_world: OpenWorld) -> None:
    async with open_world() as world:
        record, request_id = world.record(), str(uuid.uuid4())
        differs = ("FAILED_PRECONDITION", "UPLOAD_DIFFERS")
        kept = await interrupt(world, record, request_id, 1)
        other = world.record()
        assert await refused(world.put(other, request_id=request_id, offset=kept)) == differs
        await world.put(record, request_id=request_id, offset=kept)
        assert await refused(world.put(other, request_id=request_id)) == differs


async def test_a_corrupted_part_is_noticed_and_nothing_is_left(open_world: OpenWorld) -> None:
    async with open_world() as world:
        record, request_id = world.record(), str(uuid.uuid4())
        parts = record.parts()
        parts[1] = bytes([parts[1][0] ^ 1]) + parts[1][1:]
        call = world.put(record, request_id=request_id, parts=parts)
        assert await refused(call) == ("INVALID_ARGUMENT", "DIGEST_DIFFERS")
        assert await refused(upload(world, request_id)) == ("NOT_FOUND", "UPLOAD_UNKNOWN")
        assert await world.bodies.count() == 0
        await world.put(record, request_id=request_id)  # from the start it works


async def test_a_byte_that_changed_on_disk_before_the_resumption_is_noticed(
    open_world: OpenWorld,
) -> None:
    async with open_world() as world:
        record, request_id = world.record(), str(uuid.uuid4())
        kept = await interrupt(world, record, request_id, 2)
        changed = bytearray(record.ciphertext[:kept])
        changed[1000] ^= 1
        await world.bodies.overwrite(bytes(changed))
        call = world.put(record, request_id=request_id, offset=kept)
        assert await refused(call) == ("INVALID_ARGUMENT", "DIGEST_DIFFERS")


async def test_a_second_stream_of_one_upload_is_refused(open_world: OpenWorld) -> None:
    async with open_world() as world:
        record, request_id = world.record(), str(uuid.uuid4())
        call = world.stub.PutRecord(timeout=30)
        await call.write(pb.PutRecordRequest(header=record.header(request_id)))
        first, *others = record.parts()
        await call.write(pb.PutRecordRequest(part=first))
        await eventually(world.bodies.stored_bytes, what="the first part")
        second = world.put(record, request_id=request_id)
        assert await refused(second) == ("ABORTED", "UPLOAD_IN_PROGRESS")
        for part in others:
            await call.write(pb.PutRecordRequest(part=part))
        await call.done_writing()
        assert (await call).ciphertext_digest == record.anchor.ciphertext_digest


async def test_the_same_record_again_changes_nothing(open_world: OpenWorld) -> None:
    async with open_world() as world:
        record, request_id = world.record(), str(uuid.uuid4())
        first = await world.put(record, request_id=request_id)
        assert await world.put(record, request_id=request_id) == first  # the answer was lost
        assert await world.put(record) == first  # another request
        assert await world.bodies.count() == 1


async def test_another_record_under_the_same_id_is_refused(open_world: OpenWorld) -> None:
    async with open_world() as world:
        record = world.record()
        await world.put(record)
        part = os.urandom(32)
        commitment = custodian_part_commitment(record.id, part)
        other = world.record(record_id=record.id, custodian_part_commitment=commitment)
        other = replace(other, slot=world.slot(record.id, part))
        assert await refused(world.put(other)) == ("ALREADY_EXISTS", "RECORD_EXISTS")


async def test_of_two_uploads_of_one_record_one_is_kept(open_world: OpenWorld) -> None:
    async with open_world() as world:
        record = world.record()
        await asyncio.gather(world.put(record), world.put(record), return_exceptions=True)
        assert await world.bodies.only() == record.ciphertext


async def test_a_slot_that_could_not_release_is_refused(open_world: OpenWorld) -> None:
    async with open_world() as world:
        rejected = ("INVALID_ARGUMENT", "SLOT_REJECTED")
        record = world.record(100)
        for slot in (
            world.slot(record.id, os.urandom(32)),  # another key part
            world.slot(os.urandom(16), record.key_part),  # of another record
            world.slot(record.id, record.key_part, "hospital-b"),  # to another custodian
            record.slot[:-1],
            b"",
        ):
            assert await refused(world.put(replace(record, slot=slot))) == rejected


async def test_a_slot_of_the_members_that_is_not_this_records_is_refused(
    open_world: OpenWorld,
) -> None:
    async with open_world() as world:
        rejected = ("INVALID_ARGUMENT", "SLOT_REJECTED")
        record, other = world.record(100), world.record(100)
        copied = hashlib.sha256(other.alliance_slot).digest()
        flipped = bytes([record.alliance_slot[0] ^ 1]) + record.alliance_slot[1:]
        relabelled = world.record(100, record_id=record.id, alliance_slot_digest=copied)
        for wrong in (
            replace(record, alliance_slot=other.alliance_slot),  # not what the anchor names
            replace(record, alliance_slot=b""),
            replace(record, alliance_slot=flipped),
            # The anchor names a slot that was made for another record.
            replace(relabelled, alliance_slot=other.alliance_slot),
            replace(
                world.record(100, alliance_slot_digest=hashlib.sha256(bytes(160)).digest()),
                alliance_slot=bytes(160),
            ),
        ):
            assert await refused(world.put(wrong)) == rejected
        await world.put(record)


async def test_a_record_waits_for_the_block_that_brings_its_key(open_world: OpenWorld) -> None:
    async with open_world(applied=False) as world:
        unknown = ("FAILED_PRECONDITION", "RECORD_KEY_UNKNOWN")
        record = world.record(100)
        assert await refused(world.put(record)) == unknown
        await world.block(orders=[world.sharing_order()])
        await world.put(record)
        assert await refused(world.put(world.record(100, key_epoch=2))) == unknown


async def test_an_upload_out_of_form_is_refused(open_world: OpenWorld) -> None:
    async with open_world() as world:
        malformed = ("INVALID_ARGUMENT", "UPLOAD_MALFORMED")
        record, name = world.record(5000), str(uuid.uuid4())
        header = record.header(name)
        wrong_anchor = record.header(name)
        wrong_anchor.anchor = b"\xff"
        part = pb.PutRecordRequest(part=record.ciphertext)
        begin = pb.PutRecordRequest(header=header)
        for messages in (
            [],
            [part],
            [pb.PutRecordRequest()],
            [pb.PutRecordRequest(header=wrong_anchor)],
            [pb.PutRecordRequest(header=record.header("not-a-uuid"))],
            [begin, begin],
            [begin, pb.PutRecordRequest(part=b"")],
            [begin, part, pb.PutRecordRequest(part=b"more")],
        ):
            assert await refused(world.stub.PutRecord(iter(messages), timeout=10)) == malformed
        for wrong in (
            world.record(100, custodian="hospital-b"),
            world.record(100, suite=1, alliance_slot_digest=b"", key_epoch=0),
            world.record(100, suite=3),
        ):
            assert await refused(world.put(wrong)) == malformed
        big = world.record(3 * PART_BYTES)
        parts = big.parts(0, UPLOAD_PART_BYTES_MAX + 1)
        assert await refused(world.put(big, parts=parts)) == malformed


async def test_a_stream_that_ends_early_is_told_how_much_arrived(open_world: OpenWorld) -> None:
    async with open_world() as world:
        record, request_id = world.record(), str(uuid.uuid4())
        with pytest.raises(aio.AioRpcError) as caught:
            await world.put(record, request_id=request_id, parts=record.parts()[:1])
        info = error_info(caught.value)
        assert info is not None
        assert (info.reason, info.metadata["received_bytes"]) == (
            "UPLOAD_MALFORMED",
            str(PART_BYTES),
        )
        await world.put(record, request_id=request_id, offset=PART_BYTES)


async def test_a_record_that_is_too_large_is_refused(open_world: OpenWorld) -> None:
    async with open_world(record_bytes_max=1000) as world:
        await world.put(world.record(1000))
        call = world.put(world.record(1001))
        assert await refused(call) == ("INVALID_ARGUMENT", "RECORD_TOO_LARGE")


async def test_the_quota_counts_records_and_uploads_under_way(open_world: OpenWorld) -> None:
    async with open_world(quota_bytes=3 * PART_BYTES) as world:
        full = ("RESOURCE_EXHAUSTED", "DISK_FULL")
        record, request_id = world.record(2 * PART_BYTES), str(uuid.uuid4())
        await interrupt(world, record, request_id, 1)
        assert await refused(world.put(world.record(PART_BYTES + 1))) == full
        await world.stop()
        await world.start()
        assert await refused(world.put(world.record(PART_BYTES + 1))) == full
        await world.put(record, request_id=request_id, offset=PART_BYTES)
        assert await refused(world.put(world.record(PART_BYTES + 1))) == full
        await world.put(world.record(PART_BYTES))


async def test_uploads_leave_the_reserve_of_the_disk_free(open_embedded_world: OpenWorld) -> None:
    async with open_embedded_world(reserve_bytes=1 << 60) as world:
        call = world.put(world.record(1000))
        assert await refused(call) == ("RESOURCE_EXHAUSTED", "DISK_FULL")


async def test_a_disk_that_fills_up_meanwhile_is_said(tmp_path: Path) -> None:
    header = header_of(bytes(PART_BYTES))
    async with Database(tmp_path / "storage.sqlite", SCHEMA) as database:
        place = Place(database, bodies.Bodies(tmp_path), 1 << 40, lambda: 0)
        full = os.open("/dev/full", os.O_WRONLY)  # the kernel's own full disk
        spool = FileSpool(header, place, bodies.OpenBody("x", full, bodies.BodyDigest(), 0))
        with pytest.raises(DiskFull):
            await spool.append([b"one byte too many"])
        await spool.close()


async def test_a_client_that_falls_silent_is_let_go_and_may_go_on(open_world: OpenWorld) -> None:
    async with open_world(stall_seconds=0.2) as world:
        record, request_id = world.record(), str(uuid.uuid4())
        call = world.stub.PutRecord(timeout=30)
        await call.write(pb.PutRecordRequest(header=record.header(request_id)))
        await call.write(pb.PutRecordRequest(part=record.parts()[0]))
        assert await refused(call) == ("DEADLINE_EXCEEDED", "UPLOAD_STALLED")
        await world.put(record, request_id=request_id, offset=PART_BYTES)


async def test_an_upload_that_nobody_began_is_unknown(open_world: OpenWorld) -> None:
    async with open_world() as world:
        call = upload(world, str(uuid.uuid4()))
        assert await refused(call) == ("NOT_FOUND", "UPLOAD_UNKNOWN")


async def test_what_a_crash_left_over_goes_at_the_next_start(
    open_embedded_world: OpenWorld,
) -> None:
    async with open_embedded_world() as world:
        record, request_id = world.record(), str(uuid.uuid4())
        await interrupt(world, record, request_id, 1)
        (kept,) = [path for path in (world.folder / "bodies").rglob("*") if path.is_file()]
        await world.stop()
        orphan = world.folder / "bodies" / "ab" / ("ab" * 16)
        orphan.write_bytes(b"of an upload whose row was never written")
        await world.start()
        assert not orphan.exists()
        assert kept.exists()
        await world.stop()
        kept.unlink()  # a row whose file is gone is no upload
        await world.start()
        assert await refused(upload(world, request_id)) == ("NOT_FOUND", "UPLOAD_UNKNOWN")


async def test_records_are_listed_page_by_page(open_world: OpenWorld) -> None:
    async with open_world() as world:
        records = [world.record(100 + i) for i in range(5)]
        for record in records:
            await world.put(record)
        seen: list[bytes] = []
        token = ""
        while True:
            request = pb.ListRecordsRequest(page_size=2, page_token=token)
            page = await world.stub.ListRecords(request, timeout=10)
            seen += [r.record_id for r in page.records]
            token = page.next_page_token
            if not token:
                break
        assert seen == sorted(record.id for record in records)
        for request in (
            pb.ListRecordsRequest(page_token="xyz"),
            pb.ListRecordsRequest(page_token="00"),
            pb.ListRecordsRequest(page_size=1001),
        ):
            call = world.stub.ListRecords(request, timeout=10)
            assert await refused(call) == ("INVALID_ARGUMENT", "PAGE_TOKEN_MALFORMED")
        request = pb.DescribeRecordRequest(record_id=bytes(16))
        call = world.stub.DescribeRecord(request, timeout=10)
        assert await refused(call) == ("NOT_FOUND", "RECORD_UNKNOWN")


def split(octets: bytes, sizes: Iterable[int]) -> list[bytes]:
    parts: list[bytes] = []
    for size in sizes:
        parts.append(octets[:size])
        octets = octets[size:]
    return [*parts, octets] if octets else parts


@pytest.mark.parametrize(
    "sizes", [(1, 2, 3), (PART_BYTES,), (PART_BYTES - 1, 2), (2 * PART_BYTES,)]
)
def test_parts_are_recognised_however_their_bytes_came(
    tmp_path: Path, sizes: tuple[int, ...]
) -> None:
    octets = os.urandom(2 * PART_BYTES + 77)
    digest = bodies.BodyDigest()
    for part in split(octets, sizes):
        digest.update(part)
    whole, table = digest.finish()
    assert whole == hashlib.sha256(octets).digest()
    parts = [octets[i : i + PART_BYTES] for i in range(0, len(octets), PART_BYTES)]
    assert read_all(tmp_path, octets, table) == parts
    swapped = parts[1] + parts[0] + parts[2]  # each part is right, in the wrong place
    with pytest.raises(RecordCorrupt):
        read_all(tmp_path, swapped, table)
    with pytest.raises(RecordCorrupt):
        read_all(tmp_path, octets, table[:-1])


def read_all(folder: Path, octets: bytes, table: bytes) -> list[bytes]:
    """Write a body and read it part by part."""
    path = folder / "body"
    path.write_bytes(octets)
    with path.open("rb") as file:
        return [bodies.read_part(file.fileno(), table, len(octets), number) for number in range(3)]
