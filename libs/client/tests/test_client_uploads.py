"""Uploads: their parts are protobuf's own messages, and they wait for a storage that is behind."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward.storage.v1.storage_service_pb2_grpc import (
    StorageServiceServicer,
    add_StorageServiceServicer_to_server,
)
from cipherward_chain.testing import make_genesis
from cipherward_client.records.sealing import SealedRecord
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.uploads import KEY_UNKNOWN, Upload, framed_part
from cipherward_kit.errors import ServiceError, reason_of
from cipherward_kit.testing import TestAlliance, serve_in_process

MEMBER = "hospital-a"
RECORD = SealedRecord(bytes(16), b"", b"", b"", [b"first", b"last"], 9)


@pytest.mark.parametrize("length", [1, 127, 128, 16_383, 16_384, 1 << 20])
def test_a_framed_part_is_what_protobuf_writes(length: int) -> None:
    part = bytes(index % 251 for index in range(length))
    assert framed_part(part) == pb.PutRecordRequest(part=part).SerializeToString()


class KeyUnheardOf(ServiceError):
    """As storage says it while it has not seen the block that brings the key."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = KEY_UNKNOWN


class Behind(StorageServiceServicer):
    """A storage that hears of the record key when it has been asked `times` times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.asked = 0
        self.kept: list[bytes] = []

    async def PutRecord(
        self, request_iterator: AsyncIterator[pb.PutRecordRequest], context: Any
    ) -> pb.PutRecordResponse:
        self.asked += 1
        if self.asked <= self.times:
            raise KeyUnheardOf("no such key is in force here")
        self.kept = [message.part async for message in request_iterator if message.part]
        return pb.PutRecordResponse()


Uploading = Callable[[Behind], Any]


@pytest.fixture
def uploading(tmp_path: Path) -> Uploading:
    """Return a function that serves a storage and yields an upload to it."""
    members = TestAlliance(tmp_path / "members")
    certificates = {m: ca.certificate_pem.decode() for m, ca in members.authorities.items()}
    genesis, keys = make_genesis(ca_certificates=certificates)
    genesis_file, endpoints_file = tmp_path / "genesis.json", tmp_path / "alliance.json"
    genesis_file.write_bytes(keys.document)

    @asynccontextmanager
    async def opened(storage: Behind) -> AsyncGenerator[Upload]:
        async with serve_in_process(
            lambda server: add_StorageServiceServicer_to_server(storage, server),
            domain="storage.cipherward",
            alliance=members,
            service="storage",
            member=MEMBER,
        ) as served:
            places = {"storage": {"listen": f"127.0.0.1:{served.ports.listen}"}}
            document = {
                "chain_id": genesis.chain_id,
                "ledger_member": MEMBER,
                "endpoints": {MEMBER: places},
            }
            endpoints_file.write_text(json.dumps(document))
            identity = members.identity(MEMBER, "client")
            connection = Alliance.open(endpoints_file, genesis_file, member_identity=identity)
            async with connection as alliance:
                yield Upload(Hospital.of(alliance, keys.member_seeds[MEMBER]), RECORD)

    return opened


async def test_an_upload_waits_until_the_storage_has_heard_of_the_key(uploading: Uploading) -> None:
    storage = Behind(times=2)  # pyright: ignore[reportAbstractUsage] - nobody asks for more
    async with uploading(storage) as upload:
        await upload.send()
    assert storage.asked == 3
    assert storage.kept == RECORD.parts


async def test_an_upload_under_a_key_that_never_comes_is_given_up(uploading: Uploading) -> None:
    storage = Behind(times=1_000)  # pyright: ignore[reportAbstractUsage] - nobody asks for more
    async with uploading(storage) as upload:
        with pytest.raises(aio.AioRpcError) as refused:
            await upload.send(behind_seconds=0.3)
    assert reason_of(refused.value) == KEY_UNKNOWN
    assert storage.asked > 1
