"""Fetching what an order released: the sealed key part, and the ciphertext."""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward_chain.acts import parse_anchor
from cipherward_chain.authorization import Signer
from cipherward_chain.reads import build_read
from cipherward_chain.sealing import SealingKey, release_place
from cipherward_chain.wire import NANOS
from cipherward_client.records.sealing import RecordOpener
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import CheckFailed
from cipherward_client.sdk.ledger import Progress
from cipherward_client.sdk.retries import Patience, is_passing
from cipherward_kit.errors import reason_of

SERVICE = "/cipherward.storage.v1.StorageService"
DOWNLOAD_SECONDS = 600.0  # a record of 1 GiB over a line of 2 MiB/s
# The custodian may be a block behind the ledger: the release is there in a moment.
NOT_YET = frozenset(("RELEASE_UNKNOWN", "RECORD_UNKNOWN"))
KEY_SECONDS = 15.0
# It carries an order out some milliseconds after the reader has the receipt: ask again soon.
KEY_PAUSE_SECONDS = 0.005


class AnchorDiffers(CheckFailed):
    """The custodian's anchor is not the one that the order names."""

    reason = "ANCHOR_DIFFERS"


@dataclass(frozen=True, slots=True)
class Release:
    """A release that an order made, as its proven arguments say; `reader` has signed for it."""

    record_id: bytes
    custodian: str
    anchor_digest: bytes
    order: tuple[int, int]
    reader: bytes


class Download:
    """Fetches one released record for the reader that the order names."""

    def __init__(
        self,
        alliance: Alliance,
        release: Release,
        signer: Signer,
        key: SealingKey,
        progress: Progress | None = None,
    ) -> None:
        """Describe it.

        Args:
            signer: has the reader's key.
            key: the one-time key that the part is sealed to; it dies with this object.
        """
        self._alliance = alliance
        self._storage = alliance.storage_of(release.custodian)
        self._release = release
        self._signer = signer
        self._key = key
        self._progress = progress

    async def content(self) -> bytes:
        """Return the record's content.

        Raises:
            AioRpcError: the custodian refused, or does not answer.
            AnchorDiffers, OpeningRejected, RecordError: what it sent is not what was anchored.
        """
        released = await self._released_key()
        if hashlib.sha256(released.anchor).digest() != self._release.anchor_digest:
            raise AnchorDiffers("the anchor is not the one in the order")
        anchor = parse_anchor(released.anchor)
        release = self._release
        place = release_place(
            self._alliance.chain_id, release.record_id, release.order, release.reader
        )
        part = self._key.open(released.sealed_part, place)
        opener = RecordOpener(self._alliance.chain_id, anchor, part)
        with ThreadPoolExecutor(1, thread_name_prefix="record") as thread:
            await self._receive(opener, anchor.ciphertext_bytes, thread)
            return await asyncio.get_running_loop().run_in_executor(thread, opener.content)

    async def _released_key(self) -> pb.GetReleasedKeyResponse:
        patience = Patience(KEY_SECONDS, pause_seconds=KEY_PAUSE_SECONDS)
        while True:
            request = pb.GetReleasedKeyRequest(read=self._read("GetReleasedKey"))
            try:
                return await self._storage.GetReleasedKey(request, timeout=patience.left_seconds)
            except aio.AioRpcError as error:
                if not is_passing(error) and reason_of(error) not in NOT_YET:
                    raise
                await patience.pause(error)

    async def _receive(self, opener: RecordOpener, length: int, thread: Executor) -> None:
        """Feed the opener, from as many streams as it takes; each goes on where one stopped."""
        patience = Patience(DOWNLOAD_SECONDS)
        loop = asyncio.get_running_loop()
        received = 0
        opening: asyncio.Future[None] | None = None
        while received < length:
            request = pb.GetRecordRequest(read=self._read("GetRecord"), offset=received)
            stream = self._storage.GetRecord(request, timeout=patience.left_seconds)
            try:
                async for response in stream:
                    if opening is not None:  # one part is opened while the next comes in
                        await opening
                    opening = loop.run_in_executor(thread, opener.feed, response.part)
                    # If the stream fails first, its failure is told and not this one's.
                    opening.add_done_callback(lambda done: done.cancelled() or done.exception())
                    received += len(response.part)
                    patience.progressed()
                    if self._progress is not None:
                        self._progress("download", min(received, length), length)
                    if received > length:  # longer than anchored: it cannot be the record
                        stream.cancel()
                        break
                else:
                    break  # the custodian has no more: whether that is enough, the opener says
            except aio.AioRpcError as error:
                if not is_passing(error) and reason_of(error) != "DOWNLOAD_STALLED":
                    raise
                await patience.pause(error)
        if opening is not None:
            await opening

    def _read(self, method: str) -> chain_pb.AuthorizedRead:
        """Return a fresh question: each is answered once."""
        return build_read(
            f"{SERVICE}/{method}",
            self._release.record_id,
            chain_id=self._alliance.chain_id,
            signer=self._signer,
            time_ns=int(self._alliance.now() * NANOS),
            order=self._release.order,
        )
