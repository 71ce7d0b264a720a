"""StorageService: the gRPC face. Protobuf is turned into the domain's values here and only here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from grpc import aio

from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward.storage.v1 import storage_service_pb2_grpc as pb_grpc
from cipherward_member.canaries import CanaryReports
from cipherward_storage.columns import ColumnName, Columns
from cipherward_storage.downloads import Downloads
from cipherward_storage.errors import (
    ColumnMalformed,
    PageTokenMalformed,
    RecordUnknown,
    ReleaseUnknown,
    UploadMalformed,
)
from cipherward_storage.readers import ReleaseReads
from cipherward_storage.records import (
    RECORD_ID_BYTES,
    Anchor,
    AnchorMalformed,
    StoredRecord,
    UploadOffer,
)
from cipherward_storage.standing import Standing
from cipherward_storage.store import RecordStore
from cipherward_storage.uploads import Uploads

DOMAIN = "storage.cipherward"  # of every refusal
# What makes its state grow; all else goes on when the disk is full down to its reserve.
GROWING = ("PutRecord", "PutColumn")
SERVICE = "/cipherward.storage.v1.StorageService"
GET_RECORD = f"{SERVICE}/GetRecord"
GET_RELEASED_KEY = f"{SERVICE}/GetReleasedKey"
GET_GUARDIAN_SHARE = f"{SERVICE}/GetGuardianShare"

PAGE_RECORDS, PAGE_RECORDS_MAX = 100, 1000  # as the proto says


@dataclass(frozen=True, slots=True)
class Jobs:
    """What the service does for its callers.

    reads, share_reads: of what the custodian and what the guardian made.
    """

    uploads: Uploads
    downloads: Downloads
    reads: ReleaseReads
    share_reads: ReleaseReads
    standing: Standing
    records: RecordStore
    canaries: CanaryReports
    columns: Columns


class StorageService(pb_grpc.StorageServiceServicer):
    """Serves the records of one custodian."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def PutRecord(
        self, request_iterator: AsyncIterator[pb.PutRecordRequest], context: Any
    ) -> pb.PutRecordResponse:
        """Take an upload."""
        first = await anext(request_iterator, None)
        if first is None or first.WhichOneof("step") != "header":
            raise UploadMalformed("the first message is not the header")
        offer = _offer(first.header)
        record = await self._jobs.uploads.receive(
            offer, first.header.offset, _parts(request_iterator)
        )
        return pb.PutRecordResponse(
            ciphertext_digest=record.anchor.ciphertext_digest,
            custodian_slot_digest=record.slot_digest,
        )

    async def GetUpload(self, request: pb.GetUploadRequest, context: Any) -> pb.GetUploadResponse:
        """Answer where to resume."""
        state = await self._jobs.uploads.progress(request.request_id)
        return pb.GetUploadResponse(committed_bytes=state.committed_bytes, complete=state.complete)

    async def GetRecord(  # pyright: ignore[reportIncompatibleMethodOverride] - grpc also takes a coroutine that writes; only so a reader that takes nothing can be cut
        self,
        request: pb.GetRecordRequest,
        context: aio.ServicerContext[pb.GetRecordRequest, pb.GetRecordResponse],
    ) -> None:
        """Send the released record's ciphertext."""
        release = await self._jobs.reads.release_of(request.read, GET_RECORD, RecordUnknown)

        async def write(part: bytes) -> None:
            await context.write(pb.GetRecordResponse(part=part))

        await self._jobs.downloads.send(release, request.offset, write)

    async def GetReleasedKey(
        self, request: pb.GetReleasedKeyRequest, context: Any
    ) -> pb.GetReleasedKeyResponse:
        """Answer the released key part: the stored bytes."""
        release = await self._jobs.reads.release_of(request.read, GET_RELEASED_KEY, ReleaseUnknown)
        self._jobs.standing.require(release)
        return pb.GetReleasedKeyResponse(
            sealed_part=release.sealed,
            anchor=release.anchor,
            alliance_slot=release.alliance_slot,
        )

    async def GetGuardianShare(
        self, request: pb.GetGuardianShareRequest, context: Any
    ) -> pb.GetGuardianShareResponse:
        """Answer this guardian's share: the stored bytes."""
        share = await self._jobs.share_reads.release_of(
            request.read, GET_GUARDIAN_SHARE, ReleaseUnknown
        )
        self._jobs.standing.require(share)
        return pb.GetGuardianShareResponse(sealed_part=share.sealed)

    async def GetAllianceSlot(
        self, request: pb.GetAllianceSlotRequest, context: Any
    ) -> pb.GetAllianceSlotResponse:
        """Answer the members' slot of a record to another member's storage."""
        record = await self._record(request.record_id)
        return pb.GetAllianceSlotResponse(
            alliance_slot=record.alliance_slot, anchor=record.anchor.octets
        )

    async def DescribeRecord(
        self, request: pb.DescribeRecordRequest, context: Any
    ) -> pb.DescribeRecordResponse:
        """Describe a record to the member's own services."""
        record = await self._record(request.record_id)
        return pb.DescribeRecordResponse(record=_description(record))

    async def ListRecords(
        self, request: pb.ListRecordsRequest, context: Any
    ) -> pb.ListRecordsResponse:
        """Answer a page of records."""
        if request.page_size > PAGE_RECORDS_MAX:
            raise PageTokenMalformed(f"a page has at most {PAGE_RECORDS_MAX} records")
        size = request.page_size or PAGE_RECORDS
        # One more than the page shows whether there is another.
        found = await self._jobs.records.page(_after(request.page_token), size + 1)
        page, more = found[:size], len(found) > size
        return pb.ListRecordsResponse(
            records=[_description(record) for record in page],
            next_page_token=page[-1].anchor.record_id.hex() if more else "",
        )

    async def PutColumn(
        self, request_iterator: AsyncIterator[pb.PutColumnRequest], context: Any
    ) -> pb.PutColumnResponse:
        """Take an encrypted column, or a proof."""
        first = await anext(request_iterator, None)
        if first is None or first.WhichOneof("step") != "header":
            raise ColumnMalformed("the first message is not the header")
        header = first.header
        name = ColumnName(header.data_key, header.digest)
        await self._jobs.columns.take(name, header.bytes, _column_parts(request_iterator))
        return pb.PutColumnResponse()

    async def GetColumn(
        self, request: pb.GetColumnRequest, context: Any
    ) -> AsyncIterator[pb.GetColumnResponse]:
        """Send an encrypted column, or a proof."""
        name = ColumnName(request.data_key, request.digest)
        async with aclosing(self._jobs.columns.send(name)) as chunks:
            async for chunk in chunks:
                yield pb.GetColumnResponse(chunk=chunk)

    async def ReportCanaries(
        self, request: pb.ReportCanariesRequest, context: Any
    ) -> pb.ReportCanariesResponse:
        """Take what the member's deny canaries found."""
        self._jobs.canaries.take(request.leaking)
        return pb.ReportCanariesResponse()

    async def _record(self, record_id: bytes) -> StoredRecord:
        record = await self._jobs.records.find(record_id)
        if record is None:
            raise RecordUnknown("there is no such record here")
        return record


def _offer(header: pb.PutRecordHeader) -> UploadOffer:
    try:
        anchor = Anchor.parse(header.anchor)
    except AnchorMalformed as error:
        raise UploadMalformed(str(error)) from None
    return UploadOffer(header.request_id, anchor, header.custodian_slot, header.alliance_slot)


async def _parts(messages: AsyncIterator[pb.PutRecordRequest]) -> AsyncIterator[bytes]:
    async for message in messages:
        if message.WhichOneof("step") != "part":
            raise UploadMalformed("a message after the header is not a part")
        yield message.part


async def _column_parts(messages: AsyncIterator[pb.PutColumnRequest]) -> AsyncIterator[bytes]:
    async for message in messages:
        yield message.part


def _after(page_token: str) -> bytes:
    try:
        after = bytes.fromhex(page_token)
    except ValueError:
        raise PageTokenMalformed("the page token is not one of ours") from None
    if len(after) not in (0, RECORD_ID_BYTES) or after.hex() != page_token:
        raise PageTokenMalformed("the page token is not one of ours")
    return after


def _description(record: StoredRecord) -> pb.Record:
    anchored = record.anchored_height > 0
    return pb.Record(
        record_id=record.anchor.record_id,
        ciphertext_bytes=record.anchor.ciphertext_bytes,
        ciphertext_digest=record.anchor.ciphertext_digest,
        state=pb.RECORD_STATE_ANCHORED if anchored else pb.RECORD_STATE_STORED,
        anchored_height=record.anchored_height,
    )
