"""Where columns are kept: each member's own storage, under the digest of their octets.

A ciphertext goes to our own storage before anybody hears of its digest, and is fetched from its
member's storage by that digest: what comes is compared with it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

from grpc import aio

from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from cipherward_chain.batches import chunks_of
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.chunks import received
from cipherward_compute.failures import ColumnsAway, StorageFull
from cipherward_compute.peers import until_there
from cipherward_kit.errors import reason_of
from cipherward_member.peers import PeerChannels

COLUMN_UNKNOWN = "COLUMN_UNKNOWN"  # what a storage says of a column that it has not
DISK_FULL = "DISK_FULL"  # what it says when its quota or its disk is used up
CALL_SECONDS = 30.0  # some MB, on a slow line


class ColumnStore:
    """Puts our columns into our storage, and gets everybody's from theirs."""

    def __init__(self, member: str, storages: PeerChannels) -> None:
        """Describe the store.

        Args:
            member: this one.
            storages: opens channels to the members' storage services, ours among them.
        """
        self._member = member
        self._storages = storages

    async def put(self, data_key: bytes, octets: bytes) -> bytes:
        """Keep a column or a proof; return its digest. The same again changes nothing.

        Raises:
            StorageFull: our storage has no room for it.
            StepFailed: our storage refuses it.
        """
        digest = await asyncio.to_thread(lambda: hashlib.sha256(octets).digest())

        async def parts() -> AsyncIterator[pb.PutColumnRequest]:
            header = pb.PutColumnHeader(data_key=data_key, digest=digest, bytes=len(octets))
            yield pb.PutColumnRequest(header=header)
            for chunk in chunks_of(octets):
                yield pb.PutColumnRequest(part=chunk)

        async def put() -> bytes:
            stub = StorageServiceStub(await self._storages.to(self._member))
            try:
                await stub.PutColumn(parts(), timeout=CALL_SECONDS)
            except aio.AioRpcError as error:
                if reason_of(error) == DISK_FULL:  # unlike a busy one, waiting does not empty it
                    raise StorageFull("the storage of this member has no room left") from None
                raise
            return digest

        return await until_there(f"storage of {self._member}", put)

    async def get(
        self, member: str, data_key: bytes, digest: bytes, seconds: float | None = None
    ) -> bytes:
        """Return a column or a proof of a member.

        Args:
            seconds: how long to ask a storage that does not answer; None: as long as a step lasts.

        Raises:
            ColumnsAway: it has not answered in that time.
            PeerWrong: it has none of that digest, although it committed to it, or sends another.
            StepFailed: the member's storage refuses it.
        """
        request = pb.GetColumnRequest(data_key=data_key, digest=digest)

        async def get() -> bytes:
            stub = StorageServiceStub(await self._storages.to(member))
            try:
                _, octets = await received(member, stub.GetColumn(request, timeout=CALL_SECONDS))
            except aio.AioRpcError as error:
                if reason_of(error) == COLUMN_UNKNOWN:  # asking again would blame who asks
                    raise PeerWrong(member, "its storage has not what it committed to") from None
                raise
            return octets

        try:
            async with asyncio.timeout(seconds):
                octets = await until_there(f"storage of {member}", get)
        except TimeoutError:
            raise ColumnsAway(f"the storage of {member} does not answer") from None
        if await asyncio.to_thread(lambda: hashlib.sha256(octets).digest()) != digest:
            raise PeerWrong(member, "its storage has another column than it committed to")
        return octets
