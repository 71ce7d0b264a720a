"""Fetching what an order released: the key from several members, and the ciphertext from one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

from grpc import aio

from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward_chain.authorization import Signer
from cipherward_chain.sealing import SealingKey
from cipherward_client.records.sealing import RecordOpener
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import ClientError, explained
from cipherward_client.sdk.ledger import Progress, ProvenAct, Submitter
from cipherward_client.sdk.release_orders import Release, release_read
from cipherward_client.sdk.releases import Evidence, KeyRelease
from cipherward_client.sdk.retries import Patience, is_passing
from cipherward_kit.errors import reason_of

DOWNLOAD_SECONDS = 600.0  # a record of 1 GiB over a line of 2 MiB/s
EVIDENCE_SECONDS = 10.0  # a wrong share is worth telling the others, not worth waiting for long


@dataclass(frozen=True, slots=True)
class Fault:
    """A member that signed a wrong part; `act` published it, or is None if that did not succeed."""

    member: str
    act: ProvenAct | None


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A record's content, and the members that were found to have signed something wrong."""

    content: bytes = field(repr=False)
    faults: Sequence[Fault]


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
            key: the one-time key that the parts are sealed to; it dies with this object.
        """
        self._alliance = alliance
        self._storage = alliance.storage_of(release.custodian)
        self._release = release
        self._signer = signer
        self._keys = KeyRelease(alliance, release, signer, key)
        self._progress = progress

    async def record(self) -> Downloaded:
        """Return the record; wrong parts of its key are published as evidence on the way.

        Raises:
            ClientError: see `KeyRelease.fetch`; or the custodian refused the ciphertext, or sent
                another than was anchored.
        """
        try:
            released = await self._keys.fetch()
        except ClientError:
            await self._publish()
            raise
        anchor = released.anchor
        opener = RecordOpener(self._alliance.chain_id, anchor, released.key)
        try:
            async with asyncio.TaskGroup() as group:
                publishing = group.create_task(self._publish())
                with ThreadPoolExecutor(1, thread_name_prefix="record") as thread:
                    await self._receive(opener, anchor.ciphertext_bytes, thread)
                    loop = asyncio.get_running_loop()
                    content = await loop.run_in_executor(thread, opener.content)
        except ExceptionGroup as failures:
            raise explained(failures) from failures
        return Downloaded(content, publishing.result())

    async def _publish(self) -> Sequence[Fault]:
        """Tell the alliance who signed something wrong, as far as that succeeds soon."""
        return [Fault(one.member, await self._published(one)) for one in self._keys.evidence]

    async def _published(self, evidence: Evidence) -> ProvenAct | None:
        try:
            return await Submitter(self._alliance).submit(
                [evidence.act()], self._signer, timeout_seconds=EVIDENCE_SECONDS
            )
        except ClientError:  # somebody else has published it, or the ledger is away
            return None

    async def _receive(self, opener: RecordOpener, length: int, thread: Executor) -> None:
        """Feed the opener, from as many streams as it takes; each goes on where one stopped."""
        patience = Patience(DOWNLOAD_SECONDS)
        loop = asyncio.get_running_loop()
        received = 0
        opening: asyncio.Future[None] | None = None
        while received < length:
            read = release_read(self._alliance, self._release, self._signer, "GetRecord")
            request = pb.GetRecordRequest(read=read, offset=received)
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
