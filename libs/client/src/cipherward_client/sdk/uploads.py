"""Uploading a sealed record, and going on where an interrupted upload stopped."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any, cast

from grpc import aio

from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward_chain.wire import varint
from cipherward_client.records.chunks import CIPHERTEXT_CHUNK_BYTES
from cipherward_client.records.sealing import SealedRecord
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import Progress
from cipherward_client.sdk.retries import Patience, is_away, is_passing
from cipherward_kit.errors import reason_of

UPLOAD_SECONDS = 600.0  # a record of 1 GiB over a line of 2 MiB/s
ASK_SECONDS = 10.0
# Where the upload stands is asked, and it goes on from there.
RESUMED = frozenset(("UPLOAD_IN_PROGRESS", "UPLOAD_STALLED", "WRONG_OFFSET"))
# The author has the key from the chain, proven. A storage that follows is at most three heartbeats
# behind; beyond that it is not ready and says why.
KEY_UNKNOWN = "RECORD_KEY_UNKNOWN"
BEHIND_SECONDS = 30.0
PUT_RECORD = "/cipherward.storage.v1.StorageService/PutRecord"
LENGTH_DELIMITED = 2  # protobuf's wire type of bytes
PART_TAG = varint(pb.PutRecordRequest.PART_FIELD_NUMBER << 3 | LENGTH_DELIMITED)


def framed_part(part: bytes) -> bytes:
    """Return a serialised PutRecordRequest of a part.

    The same bytes as protobuf's own, in one copy: it takes 1.4 ms for a part of 1 MiB, as much as
    all the rest of sending it, because every copy is made in memory that the kernel zeroes first.
    """
    return b"".join((PART_TAG, varint(len(part)), part))


class Upload:
    """One upload to the hospital's own storage; `send` may be repeated until it succeeds."""

    def __init__(
        self, hospital: Hospital, record: SealedRecord, progress: Progress | None = None
    ) -> None:
        alliance = hospital.alliance
        self._storage = alliance.storage_of(hospital.member)
        # grpc has no types for a call whose messages are bytes already.
        self._put: Any = cast("Any", alliance.channel(hospital.member, "storage")).stream_unary(
            PUT_RECORD, response_deserializer=pb.PutRecordResponse.FromString
        )
        self._record = record
        self._request_id = str(uuid.uuid4())
        self._progress = progress

    async def send(self, *, behind_seconds: float = BEHIND_SECONDS) -> None:
        """Send until the storage has all of it on disk.

        Args:
            behind_seconds: how long the storage may need to hear of the record's key.

        Raises:
            AioRpcError: it was refused for good, or did not end in time.
        """
        patience, behind = Patience(UPLOAD_SECONDS), Patience(behind_seconds)
        offset = 0
        while True:
            try:
                await self._put(self._messages(offset), timeout=patience.left_seconds)
            except aio.AioRpcError as error:
                if reason_of(error) == KEY_UNKNOWN:  # and so nothing is kept there yet
                    await behind.pause(error)
                    continue
                # A line that breaks while a part is being sent is INTERNAL to grpc.aio.
                if not (is_passing(error) or is_away(error) or reason_of(error) in RESUMED):
                    raise
                await patience.pause(error)
                committed = await self._committed(patience)
                if committed is not None:
                    if committed > offset:
                        patience.progressed()
                    offset = committed
            else:
                return

    async def _committed(self, patience: Patience) -> int | None:
        """Return how much the storage has on disk; None when it does not answer."""
        request = pb.GetUploadRequest(request_id=self._request_id)
        try:
            seconds = min(ASK_SECONDS, patience.left_seconds)
            response = await self._storage.GetUpload(request, timeout=seconds)
        except aio.AioRpcError as error:
            if reason_of(error) == "UPLOAD_UNKNOWN":
                return 0
            if is_passing(error):
                return None
            raise
        return response.committed_bytes

    async def _messages(self, offset: int) -> AsyncIterator[bytes]:
        header = pb.PutRecordRequest(
            header=pb.PutRecordHeader(
                request_id=self._request_id,
                anchor=self._record.anchor,
                custodian_slot=self._record.slot,
                alliance_slot=self._record.alliance_slot,
                offset=offset,
            )
        )
        yield header.SerializeToString()
        number, within = divmod(offset, CIPHERTEXT_CHUNK_BYTES)
        sent, total = offset, self._record.ciphertext_bytes
        for part in self._record.parts[number:]:
            rest = part[within:] if within else part
            within = 0
            if not rest:
                continue
            yield framed_part(rest)
            sent += len(rest)
            if self._progress is not None:
                self._progress("upload", sent, total)
