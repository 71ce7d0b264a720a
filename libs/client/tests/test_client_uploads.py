"""The parts of an upload are protobuf's own messages."""

from __future__ import annotations

import pytest

from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward_client.sdk.uploads import framed_part


@pytest.mark.parametrize("length", [1, 127, 128, 16_383, 16_384, 1 << 20])
def test_a_framed_part_is_what_protobuf_writes(length: int) -> None:
    part = bytes(index % 251 for index in range(length))
    assert framed_part(part) == pb.PutRecordRequest(part=part).SerializeToString()
