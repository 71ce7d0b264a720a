"""A storage that has no room for columns, or is away: said by name, and not asked for a day."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from cipherward.storage.v1 import storage_service_pb2_grpc as storage_grpc
from cipherward_compute.columns_store import ColumnStore
from cipherward_compute.failures import ColumnsAway, StorageFull
from cipherward_kit.errors import ServiceError
from cipherward_kit.testing import TestAlliance, serve_in_process
from cipherward_member.peers import PeerChannels, PeerUnknown


class NoRoom(ServiceError):
    """As storage says it."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "DISK_FULL"


class FullStorage(storage_grpc.StorageServiceServicer):
    """A storage whose quota is used up."""

    async def PutColumn(self, request_iterator: AsyncIterator[Any], context: Any) -> Any:
        async for _ in request_iterator:
            pass
        raise NoRoom("the quota of this storage is used up")


async def test_a_full_storage_ends_the_step_by_name(tmp_path: Path) -> None:
    storage = FullStorage()  # pyright: ignore[reportAbstractUsage] - nobody asks for more
    async with serve_in_process(
        lambda server: storage_grpc.add_StorageServiceServicer_to_server(storage, server),
        domain="storage.cipherward",
        alliance=TestAlliance(tmp_path),
        service="storage",
    ) as served:

        async def open_to(member: str) -> aio.Channel:
            return served.channel_as(member, "compute")

        async with PeerChannels(open_to) as storages:
            with pytest.raises(StorageFull, match="no room") as refused:
                await ColumnStore("hospital-a", storages).put(b"k" * 16, bytes(100))
            assert refused.value.reason == "STORAGE_FULL"


async def test_a_storage_that_is_away_is_named_in_time() -> None:
    async def nobody(member: str) -> aio.Channel:
        raise PeerUnknown(member)

    async with PeerChannels(nobody) as storages:
        with pytest.raises(ColumnsAway, match="hospital-b") as refused:
            await ColumnStore("hospital-a", storages).get("hospital-b", b"k" * 16, bytes(32), 0.05)
        assert refused.value.reason == "COLUMNS_AWAY"
